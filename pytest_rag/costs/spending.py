"""The ledger by day, month, model, evalset, stage or source; sums, means and a forecast."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Literal, get_args

from pytest_rag.costs.money import to_usd
from pytest_rag.costs.schema import QUARTER_MS
from pytest_rag.zones import begin_ms, next_month

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_rag.costs.ledger import Ledger

__all__ = [
    "BYS",
    "By",
    "Forecast",
    "Spending",
    "Spent",
    "first_day",
    "forecast",
    "spending",
    "spent_between",
]

By = Literal["day", "month", "model", "evalset", "stage", "source"]
BYS: tuple[By, ...] = get_args(By)

_TRAILING_DAYS = 28
_FEWEST_DAYS = 3
_DAY_MS = 86_400_000
_SUMS = (
    "SUM(calls), SUM(unknown), SUM(estimated), SUM(attempts), SUM(input_tokens), "
    "SUM(output_tokens), SUM(cost_nano)"
)


@dataclass(slots=True, kw_only=True)
class Spent:
    """Sums over calls.

    Attributes:
        calls: How many.
        unknown: Those whose cost is unknown; they are not in the cost.
        estimated: Those whose tokens were counted here.
        attempts: Those of runs that a later run of the same case took the place of.
        input_tokens: As far as they are known.
        output_tokens: Likewise.
        nano: The cost in nano-dollars.
    """

    calls: int = 0
    unknown: int = 0
    estimated: int = 0
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    nano: int = 0

    def add(self, other: Spent) -> None:
        """Add other sums to these."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @property
    def usd(self) -> float:
        """US dollars, as far as they are known."""
        return to_usd(self.nano)

    @property
    def mean_usd(self) -> float | None:
        """US dollars a call whose cost is known; None where there is none."""
        known = self.calls - self.unknown
        return to_usd(self.nano) / known if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What was spent in a time, in rows.

    Attributes:
        by: What a row is.
        rows: Sums by key: days and months in their order, others dearest first.
        total: Of all rows.
        zone: In which days and months begin.
        since: The first day, or None for the beginning.
        until: The last day, or None for now.
    """

    by: By
    rows: dict[str, Spent]
    total: Spent
    zone: tzinfo
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the month that runs will have cost: what is spent, and the daily mean for the rest.

    Attributes:
        month: Its first day.
        spent: So far.
        days: How many days back the mean goes.
        a_day_usd: Mean of a day among them; None where there are fewer than three.
        left_days: Days of the month that are left.
    """

    month: date
    spent: Spent = field(default_factory=Spent)
    days: float
    a_day_usd: float | None
    left_days: float

    @property
    def usd(self) -> float | None:
        """``spent + left_days x a_day``; None where too little is known."""
        return None if self.a_day_usd is None else self.spent.usd + self.left_days * self.a_day_usd


def spending(
    ledger: Ledger,
    by: By,
    *,
    zone: tzinfo,
    since: date | None = None,
    until: date | None = None,
) -> Spending:
    """Sum up the ledger.

    Args:
        ledger: The file.
        by: What a row is.
        zone: In which days and months begin.
        since: The first day that counts.
        until: The last day that counts.

    Raises:
        LedgerError: if the file cannot be read.
    """
    low, high = _bounds(zone, since, until)
    if by in ("day", "month"):
        rows = _by_time(ledger, by, zone, (low, high))
    else:
        rows = {key: sums for key, sums in _read(ledger, by, low, high)}  # noqa: C416 - typed
        rows = dict(sorted(rows.items(), key=lambda row: (-row[1].nano, row[0])))
    total = Spent()
    for sums in rows.values():
        total.add(sums)
    return Spending(by=by, rows=rows, total=total, zone=zone, since=since, until=until)


def spent_between(ledger: Ledger, zone: tzinfo, since: date, until: date) -> Spent:
    """Return the sums of the days from one to another, both counted."""
    low, high = _bounds(zone, since, until)
    found = [sums for _, sums in _read(ledger, "1", low, high)]
    return found[0] if found else Spent()


def first_day(ledger: Ledger, zone: tzinfo) -> date | None:
    """Return the day of the first call; None for an empty ledger."""
    found = ledger.read("SELECT MIN(quarter) FROM quarters")
    if not found or found[0][0] is None:
        return None
    return datetime.fromtimestamp(found[0][0] * QUARTER_MS / 1000, zone).date()


def forecast(ledger: Ledger, zone: tzinfo, now: datetime | None = None) -> Forecast:
    """Return what the month will have cost by the mean of the last 28 days, or of fewer.

    Args:
        ledger: The file.
        zone: In which the month begins.
        now: The time of the forecast; this moment where it is left out.
    """
    now = (now or datetime.now(UTC)).astimezone(zone)
    month = now.date().replace(day=1)
    now_ms = round(now.timestamp() * 1000)
    low, high = begin_ms(month, zone), begin_ms(next_month(month), zone)
    days, a_day = _daily_mean(ledger, now_ms)
    sums = _sums_within(ledger, low // QUARTER_MS, now_ms // QUARTER_MS + 1)
    return Forecast(
        month=month, spent=sums, days=days, a_day_usd=a_day, left_days=(high - now_ms) / _DAY_MS
    )


def _daily_mean(ledger: Ledger, now_ms: int) -> tuple[float, float | None]:
    """Return how many days of the last 28 the ledger knows, and their mean."""
    found = ledger.read("SELECT MIN(quarter) FROM quarters")
    first = found[0][0] if found else None
    if first is None:
        return 0.0, None
    days = min(_TRAILING_DAYS, (now_ms - first * QUARTER_MS) / _DAY_MS)
    if days < _FEWEST_DAYS:
        return max(days, 0.0), None
    low = max(first, (now_ms - _TRAILING_DAYS * _DAY_MS) // QUARTER_MS)
    return days, _sums_within(ledger, low, now_ms // QUARTER_MS + 1).usd / days


def _sums_within(ledger: Ledger, low: int, high: int) -> Spent:
    found = [sums for _, sums in _read(ledger, "1", low, high)]
    return found[0] if found else Spent()


def _bounds(zone: tzinfo, since: date | None, until: date | None) -> tuple[int, int]:
    """Return the quarters of a time: the first, and the one behind the last."""
    low = 0 if since is None else begin_ms(since, zone) // QUARTER_MS
    if until is None or until.year == date.max.year:
        return low, 2**62
    return low, begin_ms(until + timedelta(days=1), zone) // QUARTER_MS


def _read(ledger: Ledger, key: str, low: int, high: int) -> list[tuple[Any, Spent]]:
    """Return sums by a column of ours; the key is never a person's word."""
    sql = f"SELECT {key}, {_SUMS} FROM quarters WHERE quarter >= ? AND quarter < ? GROUP BY {key}"  # noqa: S608
    return [(row[0], _spent(row[1:])) for row in ledger.read(sql, low, high)]


def _spent(values: Sequence[int]) -> Spent:
    return Spent(**dict(zip((f.name for f in fields(Spent)), values, strict=True)))


def _by_time(ledger: Ledger, by: By, zone: tzinfo, within: tuple[int, int]) -> dict[str, Spent]:
    found = _read(ledger, "quarter", *within)
    if not found:
        return {}
    starts = list(_starts(by, zone, found[0][0], found[-1][0]))
    edges = [edge for edge, _ in starts]
    rows: dict[str, Spent] = {}
    for quarter, sums in found:
        name = starts[bisect_right(edges, quarter) - 1][1]
        rows.setdefault(name, Spent()).add(sums)
    return rows


def _starts(by: By, zone: tzinfo, first: int, last: int) -> Iterator[tuple[int, str]]:
    """Yield the first quarter of every day or month of a time, with its name."""
    day = datetime.fromtimestamp(first * QUARTER_MS / 1000, zone).date()
    day = day.replace(day=1) if by == "month" else day
    while (edge := begin_ms(day, zone) // QUARTER_MS) <= last:
        yield edge, f"{day:%Y-%m}" if by == "month" else day.isoformat()
        day = next_month(day) if by == "month" else day + timedelta(days=1)
