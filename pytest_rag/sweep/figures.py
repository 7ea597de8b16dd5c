"""Results of a candidate → its figures: by case, over all cases, and what is missing."""

from __future__ import annotations

from math import isclose
from statistics import fmean
from typing import TYPE_CHECKING

from pytest_rag.gate import by_case, case_outcome, judge_limits, reading
from pytest_rag.types import GateLimit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_rag.records import Result
    from pytest_rag.sweep.plan import Objective, Sweep
    from pytest_rag.types import Aggregate

__all__ = ["broke", "by_cases", "excess", "figure", "missing", "shown_figures", "value_of"]

_ALSO: tuple[tuple[str, Aggregate], ...] = (("latency_ms", "mean"), ("cost_usd", "mean"))


def by_cases(results: Iterable[Result], metric: str) -> dict[str, float]:
    """Return a metric's value for each case, repeats averaged; cases without one are left out."""
    found = {}
    for case, runs in by_case(results).items():
        if metric == "passed":
            outcome = case_outcome(runs)
            values = [] if outcome in ("error", "not_run") else [float(outcome == "passed")]
        else:
            readings = [reading(run, metric) for run in runs]
            values = [each.value for each in readings if each.value is not None]
        if values:
            found[case] = fmean(values)
    return found


def figure(results: Sequence[Result], metric: str, aggregate: Aggregate) -> float | None:
    """Return an aggregate over all cases, or None where no case has a value."""
    limit = GateLimit(metric=metric, aggregate=aggregate)
    return judge_limits([limit], results)[0].value


def shown_figures(sweep: Sweep, results: Sequence[Result]) -> dict[str, float | None]:
    """Return what is told of a candidate: objectives, limits, latency and cost."""
    named = {each.name: (each.metric, each.aggregate) for each in sweep.objectives}
    told = set(named.values())
    pairs = [*((each.metric, each.aggregate) for each in sweep.limits), *_ALSO]
    for metric, aggregate in pairs:
        if (metric, aggregate) not in told:
            told.add((metric, aggregate))
            named[f"{metric}.{aggregate}"] = metric, aggregate
    return {name: figure(results, *of) for name, of in named.items()}


def broke(results: Iterable[Result]) -> Result | None:
    """Return the first result in which the pipeline broke or was not run, or None."""
    return next((r for r in results if r.error is not None or r.outcome == "not_run"), None)


def missing(sweep: Sweep, results: Iterable[Result]) -> str | None:
    """Return why a figure that decides cannot be told, or None where all can."""
    metrics = {each.metric for each in sweep.objectives}
    metrics = (metrics | {each.metric for each in sweep.limits}) - {"passed"}
    for result in results:
        for metric in sorted(metrics):
            if reading(result, metric).missing:
                score: Mapping[str, object] = result.scores.get(metric) or {}
                why = score.get("reason") or "the record has no value"
                return f"{metric} of case {result.case!r}: {why}"
    return None


def excess(limit: GateLimit, results: Sequence[Result], current: Sequence[Result]) -> float | None:
    """Return by how much a limit is broken, 0 or less where it is kept; None where untold.

    Args:
        limit: ``max_drop`` is held against the current configuration on the same cases.
        results: Of the candidate.
        current: Of the current configuration.
    """
    value = figure(results, limit.metric, limit.aggregate)
    if value is None:
        return None
    found = []
    if limit.min is not None:
        found.append(limit.min - value)
    if limit.max is not None:
        found.append(value - limit.max)
    if limit.max_drop is not None:
        seen = {result.case for result in results}
        same = [result for result in current if result.case in seen]
        before = figure(same, limit.metric, limit.aggregate)
        if before is None:
            return None
        fall = (value - before) if _less_is_better(limit) else (before - value)
        found.append(fall - limit.max_drop)
    most = max(found)
    return 0.0 if isclose(most + 1, 1, abs_tol=1e-9) else most


def _less_is_better(limit: GateLimit) -> bool:
    from pytest_rag.evalset.limits import named

    return limit.metric != "passed" and named(limit.metric).less_is_better


def value_of(objective: Objective, results: Sequence[Result]) -> float | None:
    """Return an objective's figure of a candidate."""
    return figure(results, objective.metric, objective.aggregate)
