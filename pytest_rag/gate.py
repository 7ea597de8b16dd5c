"""Results → verdicts on the limits of a whole evalset; missing data never passes."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum, isclose
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_rag.checks import bounds, number
from pytest_rag.errors import ConfigError
from pytest_rag.stats import quantile
from pytest_rag.types import AGGREGATES, STAGES, GateLimit, Score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_rag.records import Result
    from pytest_rag.trust import Trust
    from pytest_rag.types import Aggregate, Outcome

__all__ = [
    "BUDGETS",
    "NEEDS_BASELINE",
    "NOT_APPLICABLE",
    "GateResult",
    "Reading",
    "advisory",
    "by_case",
    "case_outcome",
    "facts_of",
    "judge_limits",
    "limits_of",
    "reading",
]

NOT_APPLICABLE = frozenset(
    {
        "no document of `relevant` is graded 1 or more",
        "no reference answer holds a number",
        "the answer holds no words",
        "the answer is a refusal",
        "the answer is empty",
        "the case has no `answer`",
        "the case has no `relevant`",
    }
)
"""Reasons by which our metrics say that they have nothing to measure in a run.

Another metric's reason may begin with ``not applicable``. Any other score of None is missing.
"""

NEEDS_BASELINE = "needs a baseline"
"""Reason of a limit on the fall alone, which only a comparison can judge."""

_WORST_FIRST: tuple[Outcome, ...] = ("failed", "error", "not_run")
_BOUNDS = ("min", "max", "max_drop")
_AGGREGATES: Mapping[str, Aggregate] = {aggregate: aggregate for aggregate in AGGREGATES}
_QUANTILES: Mapping[Aggregate, float] = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The verdict on one limit of an evalset.

    Attributes:
        limit: What was asked.
        value: The aggregate of what was measured, or None.
        passed: None where the limit cannot be judged from these results.
        reason: Why it did not pass, with the value, in words for the terminal; None if it did.
        n: How many values the aggregate rests on: runs for percentiles and ``total``, else cases.
        advisory: Why the verdict turns nothing red; None where it does.
    """

    limit: GateLimit
    value: float | None
    passed: bool | None
    reason: str | None
    n: int
    advisory: str | None = None

    @property
    def name(self) -> str:
        """What is limited, in words: ``nDCG@10 mean``."""
        return f"{self.limit.metric} {self.limit.aggregate}"

    @property
    def bad(self) -> bool:
        """Whether it turns the build red."""
        return self.passed is False and self.advisory is None


# --- cases ------------------------------------------------------------------------------------


def by_case(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Group the results of one evalset by case, in the order they were made."""
    cases: dict[str, list[Result]] = {}
    for result in results:
        cases.setdefault(result.case, []).append(result)
    return cases


def case_outcome(runs: Sequence[Result], min_pass: int | None = None) -> Outcome:
    """Return the outcome of a case over its repeats.

    Where too few passed, one failed run makes it ``failed``: the others broke, or were not run.

    Args:
        runs: All of one case, at least one.
        min_pass: How many must pass; all of them where None.
    """
    needed = len(runs) if min_pass is None else min(min_pass, len(runs))
    outcomes = [run.outcome for run in runs]
    if outcomes.count("passed") >= needed:
        return "passed"
    return next(kind for kind in _WORST_FIRST if kind in outcomes)


# --- limits -----------------------------------------------------------------------------------


def judge_limits(
    limits: Sequence[GateLimit],
    results: Sequence[Result],
    *,
    declared: int | None = None,
    min_pass: Mapping[str, int] | None = None,
    shard: str | None = None,
    advice: Mapping[str, str] | None = None,
) -> tuple[GateResult, ...]:
    """Hold the results of one evalset to its limits.

    Repeats of a case are averaged before ``mean``, ``rate`` and ``min``; percentiles and ``total``
    are over all runs. ``passed`` is 1 or 0 a case. What broke is missing, and neither a zero nor
    a pass; only ``total`` still counts what a broken run is known to have used.

    Args:
        limits: Of the evalset.
        results: Of this evalset alone.
        declared: How many cases the evalset holds; None where all of them were selected.
        min_pass: By case, how many repeats must pass; all of them where nothing is said.
        shard: Which part of the cases these are, as ``1/3``; None where they are no shard.
        advice: By metric, why it decides nothing; those that may decide are left out.
    """
    cases = by_case(results)
    partial = f"this is shard {shard}: the limit is on the whole set" if shard else None
    if partial is None and declared is not None and len(cases) < declared:
        partial = f"{len(cases)} of {declared} cases ran: the limit is on the whole set"
    told = advice or {}
    return tuple(
        _judge(limit, _measure(limit, cases, min_pass or {}), partial, told.get(limit.metric))
        for limit in limits
    )


def advisory(
    limits: Iterable[GateLimit], results: Iterable[Result], trust: Trust
) -> dict[str, str]:
    """Return, by limited metric, why it decides nothing in these results: nobody trusts its judge.

    A metric of which no score was ever asked for is not among them.
    """
    wanted = {limit.metric for limit in limits}
    seen = {
        (name, score["judge"], score["version"], score["value"] is None)
        for run in results
        for name, score in run.scores.items()
        if name in wanted and score.get("judge") is not None
    }
    found: dict[str, str] = {}
    for name, judge, version, missing in sorted(seen):
        score = Score(value=None if missing else 0.0, version=version, judge=judge)
        reason = trust.advice(name, score)
        if reason is not None:
            found.setdefault(name, reason)
    return found


class Reading(NamedTuple):
    """What one run says of a metric; neither value nor missing where it does not apply."""

    value: float | None
    missing: bool = False


class _Measured(NamedTuple):
    """Values by case, those without a value left out; how many cases miss one; how many ran."""

    values: list[list[float]]
    missing: int
    ran: int


def _measure(
    limit: GateLimit, cases: Mapping[str, Sequence[Result]], min_pass: Mapping[str, int]
) -> _Measured:
    if limit.metric == "passed":
        readings = [[_verdict(case_outcome(r, min_pass.get(c)))] for c, r in cases.items()]
    else:
        readings = [[reading(run, limit.metric) for run in runs] for runs in cases.values()]
    total = limit.aggregate == "total"
    values = [
        [each.value for each in case if each.value is not None and (total or not each.missing)]
        for case in readings
    ]
    missing = sum(any(each.missing for each in case) for case in readings)
    return _Measured([case for case in values if case], missing, len(cases))


def _judge(
    limit: GateLimit, found: _Measured, partial: str | None, advice: str | None
) -> GateResult:
    value, n = _aggregate(limit.aggregate, found.values)
    passed: bool | None = None
    reason: str | None = NEEDS_BASELINE
    if limit.min is not None or limit.max is not None:
        reason = partial or _reason(limit, value, found)
        passed = None if partial else reason is None
    return GateResult(limit=limit, value=value, passed=passed, reason=reason, n=n, advisory=advice)


def _aggregate(aggregate: Aggregate, cases: Sequence[Sequence[float]]) -> tuple[float | None, int]:
    """Return the aggregate and how many values it rests on."""
    runs = [value for case in cases for value in case]
    if not runs:
        return None, 0
    if aggregate == "total":
        return fsum(runs), len(runs)
    if aggregate in _QUANTILES:
        return quantile(runs, _QUANTILES[aggregate]), len(runs)
    means = [fmean(case) for case in cases]
    return min(means) if aggregate == "min" else fmean(means), len(means)


def _reason(limit: GateLimit, value: float | None, found: _Measured) -> str | None:
    """Return why a limit is not kept, or None where it is."""
    lost = f"{found.missing} of {found.ran} cases could not be measured"
    if value is None:
        return lost if found.missing else "no case has a value" if found.ran else "no case ran"
    if _is_outside(limit, value):
        outside = f"{_figure(limit, value)}, limit {bounds(limit.min, limit.max)}"
        return f"{outside}; {lost}" if found.missing else outside
    return f"{number(value)}, but {lost}" if found.missing else None


def _is_outside(limit: GateLimit, value: float) -> bool:
    """Tell whether a limit is broken by more than the last digits of a sum."""
    below = limit.min is not None and value < limit.min and not isclose(value, limit.min)
    above = limit.max is not None and value > limit.max and not isclose(value, limit.max)
    return below or above


def _figure(limit: GateLimit, value: float) -> str:
    """Write a value outside its limit, with more digits where it would look like the limit."""
    edges = {number(edge) for edge in (limit.min, limit.max) if edge is not None}
    return f"{value:.9g}" if number(value) in edges else number(value)


# --- limits in a record -----------------------------------------------------------------------


def facts_of(limits: Iterable[GateLimit], alpha: float) -> dict[str, Any]:
    """Return limits as a record and a baseline hold them: ``{metric.aggregate: {…}, alpha: …}``.

    A metric of which less is better says so, for whoever reads this without it.
    """
    found = {f"{limit.metric}.{limit.aggregate}": _facts(limit) for limit in limits}
    return {**found, "alpha": alpha} if found else {}


def _facts(limit: GateLimit) -> dict[str, Any]:
    bounds = {n: getattr(limit, n) for n in _BOUNDS if getattr(limit, n) is not None}
    own = limit.metric != "passed" and limit.metric not in BUDGETS
    if own and not _more_is_better(limit.metric):
        return {**bounds, "lower_is_better": True}
    return bounds


def _more_is_better(name: str) -> bool:
    from pytest_rag import metrics

    try:
        return metrics.get(name).higher_is_better
    except ConfigError:  # a rubric, which is no metric outside its evalset
        return True


def limits_of(facts: Mapping[str, Any]) -> tuple[tuple[GateLimit, ...], float]:
    """Return limits and alpha from what `facts_of` made of them."""
    limits = []
    for key, noted in facts.items():
        if key != "alpha":
            metric, _, aggregate = key.rpartition(".")
            told = {name: noted[name] for name in _BOUNDS if name in noted}
            limits.append(GateLimit(metric=metric, aggregate=_AGGREGATES[aggregate], **told))
    return tuple(limits), facts.get("alpha", 0.05)


# --- what one run says of a metric ------------------------------------------------------------


def _tokens(run: Result) -> float | None:
    if run.input_tokens is None or run.output_tokens is None:
        return None
    return run.input_tokens + run.output_tokens


def _stage(name: str) -> Callable[[Result], float | None]:
    return lambda run: run.stages_ms.get(name)


_STAGES: Mapping[str, Callable[[Result], float | None]] = {
    f"{stage}_ms": _stage(stage) for stage in STAGES
}
BUDGETS: Mapping[str, Callable[[Result], float | None]] = {
    "latency_ms": lambda run: run.latency_ms,
    "cost_usd": lambda run: run.cost_usd,
    "tokens": _tokens,
    "input_tokens": lambda run: run.input_tokens,
    "output_tokens": lambda run: run.output_tokens,
    "calls": lambda run: sum(call["stage"] == "llm" for call in run.calls),
    **_STAGES,
}
"""What a run used, from its record; the names are those of :data:`pytest_rag.checks.BUDGETS`."""


def _verdict(outcome: Outcome) -> Reading:
    if outcome in ("error", "not_run"):
        return Reading(None, missing=True)
    return Reading(float(outcome == "passed"))


def _broke(run: Result) -> bool:
    """Tell whether a run gave nothing to measure, unlike one of whose checks alone broke."""
    unscored = run.outcome == "error" and not run.scores
    return run.error is not None or run.outcome == "not_run" or unscored


def reading(run: Result, metric: str) -> Reading:
    """Return what a run says of a metric or budget; a run that broke says nothing of either."""
    broke = _broke(run)
    if metric in BUDGETS:
        value = BUDGETS[metric](run)
        # A stage that a run did not need, such as the reranker after no hit, is no loss.
        return Reading(value, missing=broke or (value is None and metric not in _STAGES))
    score = run.scores.get(metric)
    if score is None:
        return Reading(None, missing=broke)
    return Reading(score["value"], missing=score["value"] is None and not _not_applicable(score))


def _not_applicable(score: Mapping[str, object]) -> bool:
    reason = str(score.get("reason") or "")
    return reason in NOT_APPLICABLE or reason.startswith("not applicable")
