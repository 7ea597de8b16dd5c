"""What the ledger holds, as lines for a terminal, CSV, JSON and one HTML page."""

from __future__ import annotations

import csv
import io
import json
from html import escape
from typing import TYPE_CHECKING, Any

from pytest_rag.report.layout import count, harmless, money, printable
from pytest_rag.zones import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_rag.costs.spending import Forecast, Spending, Spent

__all__ = ["as_csv", "as_html", "as_json", "lines"]

_COLUMNS = (
    "calls",
    "unknown_calls",
    "estimated_calls",
    "attempts",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "known_usd",
    "mean_usd",
)
_HEADS = ("calls", "tokens in", "tokens out", "cost", "mean a call")


# --- lines ------------------------------------------------------------------------------------


def lines(spent: Spending, ahead: Forecast) -> Iterator[str]:
    """Yield the table, what its sums leave out, and the forecast."""
    yield from map(printable, _lines(spent, ahead))


def _lines(spent: Spending, ahead: Forecast) -> Iterator[str]:
    yield f"costs by {spent.by} · {_time(spent)} · time zone {name_of(spent.zone)}"
    if not spent.rows:
        yield "  no call that costs money is known"
    else:
        total = ("total", *_cells(spent.total))
        rows = [(name, *_cells(sums)) for name, sums in spent.rows.items()]
        yield from _table([(spent.by, *_HEADS), *rows, total])
        yield from (f"  {note}" for note in _notes(spent.total))
    yield f"forecast: {_forecast(ahead)}"


def _time(spent: Spending) -> str:
    if spent.since is None and spent.until is None:
        return "from the first call until now"
    return f"from {spent.since or 'the first call'} until {spent.until or 'now'}"


def _cells(sums: Spent) -> tuple[str, ...]:
    mean = sums.mean_usd
    return (
        f"{sums.calls:,}",
        f"{sums.input_tokens:,}",
        f"{sums.output_tokens:,}",
        _cost(sums),
        "unknown" if mean is None else money(mean),
    )


def _cost(sums: Spent) -> str:
    """Write a cost: unknown where that of every call is, and the least it is where some are."""
    if sums.unknown and sums.unknown == sums.calls:
        return "unknown"
    return f"≥ {money(sums.usd)}" if sums.unknown else money(sums.usd)


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for name, *cells in rows:
        right = (f"{cell:>{wide}}" for cell, wide in zip(cells, widths[1:], strict=True))
        yield "  " + "   ".join([f"{name:<{widths[0]}}", *right])


def _notes(total: Spent) -> Iterator[str]:
    if total.unknown:
        yield f"the cost of {count(total.unknown, 'call')} is unknown and in no sum"
    if total.estimated:
        yield f"the tokens of {count(total.estimated, 'call')} were counted here (estimated)"
    if total.attempts:
        yield f"{count(total.attempts, 'call')} among them: of cases that were run again later"


def _forecast(ahead: Forecast) -> str:
    month, so_far = f"{ahead.month:%Y-%m}", _cost(ahead.spent)
    if ahead.usd is None or ahead.a_day_usd is None:
        return (
            f"none for {month}, since the ledger knows {ahead.days:.1f} days and 3 are needed; "
            f"{so_far} so far"
        )
    return (
        f"{money(ahead.usd)} for {month} = {so_far} so far + {ahead.left_days:.1f} days left x "
        f"{money(ahead.a_day_usd)} a day, the mean of the last {ahead.days:.1f} days"
    )


# --- for programs -----------------------------------------------------------------------------


def _values(sums: Spent) -> dict[str, Any]:
    """Return sums by column; the cost is None where a call's is unknown."""
    mean = sums.mean_usd
    return {
        "calls": sums.calls,
        "unknown_calls": sums.unknown,
        "estimated_calls": sums.estimated,
        "attempts": sums.attempts,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "cost_usd": None if sums.unknown else sums.usd,
        "known_usd": sums.usd,
        "mean_usd": None if mean is None else round(mean, 12),
    }


def as_json(spent: Spending, ahead: Forecast) -> str:
    """Return everything as one JSON object."""
    found = {
        "by": spent.by,
        "timezone": name_of(spent.zone),
        "since": spent.since.isoformat() if spent.since else None,
        "until": spent.until.isoformat() if spent.until else None,
        "rows": [{spent.by: name, **_values(sums)} for name, sums in spent.rows.items()],
        "total": _values(spent.total),
        "forecast": {
            "month": f"{ahead.month:%Y-%m}",
            "spent_usd": ahead.spent.usd,
            "unknown_calls": ahead.spent.unknown,
            "days": round(ahead.days, 3),
            "a_day_usd": ahead.a_day_usd,
            "left_days": round(ahead.left_days, 3),
            "usd": ahead.usd,
        },
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def as_csv(spent: Spending) -> str:
    """Return the rows as CSV; what is unknown is empty, and there is no row of the total."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((spent.by, *_COLUMNS))
    for name, sums in spent.rows.items():
        values = _values(sums)
        writer.writerow((harmless(name), *(values[column] for column in _COLUMNS)))
    return file.getvalue()


# --- the page ---------------------------------------------------------------------------------

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1a1a1a; background: #fff; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
td.bar { width: 25%; } td.bar div { background: #3b6ea5; height: .7rem; }
tfoot td { font-weight: 600; } p.note { color: #555; margin: .3rem 0; }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #161616; }
  th, td { border-color: #444; } p.note { color: #aaa; } }
"""


def as_html(spent: Spending, ahead: Forecast) -> str:
    """Return one page that needs nothing else: a table with bars, and the forecast."""
    most = max((sums.nano for sums in spent.rows.values()), default=0)
    rows = "\n".join(_row(name, sums, most) for name, sums in spent.rows.items())
    notes = "\n".join(f'<p class="note">{escape(note)}</p>' for note in _notes(spent.total))
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in (spent.by, *_HEADS))
    total = "".join(f"<td>{escape(cell)}</td>" for cell in ("total", *_cells(spent.total)))
    about = f"{_time(spent)}, time zone {name_of(spent.zone)}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Costs by {spent.by}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Costs by {spent.by}</h1>
<p>{escape(about)}</p>
<table>
<thead><tr>{heads}<th scope="col">share</th></tr></thead>
<tbody>
{rows}
</tbody>
<tfoot><tr>{total}<td></td></tr></tfoot>
</table>
{notes}
<p>Forecast: {escape(_forecast(ahead))}</p>
</body>
</html>
"""


def _row(name: str, sums: Spent, most: int) -> str:
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in (printable(name), *_cells(sums)))
    share = 100 * sums.nano / most if most else 0.0
    return f'<tr>{cells}<td class="bar"><div style="width: {share:.1f}%"></div></td></tr>'
