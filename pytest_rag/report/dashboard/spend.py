"""What runs cost by day, month and model, what is ahead, and what a cache saved."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date
from math import fsum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_rag.records import Result
    from pytest_rag.report.dashboard.history import RunView

__all__ = ["Spend", "saved", "spend"]

_UNTOLD = "model not told"
_FEWEST_DAYS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Sums of US dollars over runs.

    Attributes:
        days: ``{day: {model: USD}}``, by the day a run began, oldest first.
        unknown: Runs of cases whose cost is unknown, which are in no sum.
        unknown_built: Calls of unknown cost that pipelines were built with.
        forecast: What the newest month will cost: known so far, and the mean a day since the first
            run for the days left; None where the runs span fewer than three days.
    """

    days: Mapping[str, Mapping[str, float]]
    unknown: int
    unknown_built: int
    forecast: float | None

    @property
    def total(self) -> float:
        """All that is known."""
        return fsum(usd for models in self.days.values() for usd in models.values())

    def by(self, length: int) -> dict[str, float]:
        """Return sums by the first characters of the date: 7 for months, 10 for days."""
        found: dict[str, list[float]] = {}
        for day, models in self.days.items():
            found.setdefault(day[:length], []).extend(models.values())
        return {name: fsum(some) for name, some in found.items()}

    def by_model(self) -> dict[str, float]:
        """Return sums by model, the dearest first."""
        found: dict[str, list[float]] = {}
        for models in self.days.values():
            for model, usd in models.items():
                found.setdefault(model, []).append(usd)
        sums = {model: fsum(some) for model, some in found.items()}
        return dict(sorted(sums.items(), key=lambda pair: (-pair[1], pair[0])))


def spend(runs: Iterable[RunView]) -> Spend:
    """Sum up what runs cost, the building of their pipelines included."""
    days: dict[str, dict[str, list[float]]] = {}
    unknown = unknown_built = 0
    for run in sorted(runs, key=lambda each: each.started):
        models = days.setdefault(run.when[:10] or "no date", {})
        for result in run.results:
            unknown += result.cost_usd is None and bool(result.calls or result.outcome != "not_run")
            for model, usd in _costs(result):
                models.setdefault(model, []).append(usd)
        for call in (call for built in run.buildings for call in built.calls):
            unknown_built += call.get("cost_usd") is None
            for model, usd in _priced([call]):
                models.setdefault(model, []).append(usd)
    sums = {day: {m: fsum(usd) for m, usd in some.items()} for day, some in days.items()}
    ahead = _forecast(sums)
    return Spend(days=sums, unknown=unknown, unknown_built=unknown_built, forecast=ahead)


def _costs(result: Result) -> Iterator[tuple[str, float]]:
    priced = list(_priced(result.calls))
    yield from priced
    if not priced and result.cost_usd:
        yield _UNTOLD, result.cost_usd


def _priced(calls: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    for call in calls:
        if call.get("cost_usd") is not None:
            yield str(call.get("model") or _UNTOLD), float(call["cost_usd"])


def _forecast(days: Mapping[str, Mapping[str, float]]) -> float | None:
    try:
        dates = [date.fromisoformat(day) for day in days]
    except ValueError:
        return None
    if not dates or (dates[-1] - dates[0]).days + 1 < _FEWEST_DAYS:
        return None
    last, spanned = dates[-1], (dates[-1] - dates[0]).days + 1
    total = fsum(usd for models in days.values() for usd in models.values())
    month = fsum(fsum(m.values()) for d, m in days.items() if d[:7] == last.isoformat()[:7])
    left = calendar.monthrange(last.year, last.month)[1] - last.day
    return month + total / spanned * left


def saved(results: Iterable[Result]) -> float | None:
    """Return what calls out of a cache or a cassette would have cost, estimated.

    Each counts as the mean of the live calls of its model in these results; None where a model has
    none with a known cost.
    """
    calls = [call for result in results for call in result.calls]
    live: dict[Any, list[float]] = {}
    for call in calls:
        if call.get("origin") == "live" and call.get("cost_usd") is not None:
            live.setdefault(call.get("model"), []).append(call["cost_usd"])
    reused = [call.get("model") for call in calls if call.get("origin") in ("cache", "cassette")]
    if not reused or any(model not in live for model in reused):
        return None
    means = {model: fsum(usd) / len(usd) for model, usd in live.items()}
    return fsum(means[model] for model in reused)
