"""Limits → CheckResults: a floor for quality, a ceiling for latency, cost and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pytest_rag.calibration import Calibrations
from pytest_rag.types import STAGES, CheckResult, Limit, Observation, Score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_rag.trust import Trust
    from pytest_rag.types import Case

__all__ = ["BUDGETS", "advice", "bounds", "budget", "check", "duration", "forbidden", "number"]


def _tokens(seen: Observation) -> float | None:
    if seen.input_tokens is None or seen.output_tokens is None:
        return None
    return seen.input_tokens + seen.output_tokens


def _stage(name: str) -> Callable[[Observation], float | None]:
    return lambda seen: seen.timing.stages_ms.get(name)


BUDGETS: Mapping[str, Callable[[Observation], float | None]] = {
    "latency_ms": lambda seen: seen.timing.latency_ms,
    "cost_usd": lambda seen: seen.cost_usd,
    "tokens": _tokens,
    "input_tokens": lambda seen: seen.input_tokens,
    "output_tokens": lambda seen: seen.output_tokens,
    "calls": lambda seen: sum(call.stage == "llm" for call in seen.calls),
    **{f"{stage}_ms": _stage(stage) for stage in STAGES},
}
"""Limits on what a run used, by name; a bare number is a ceiling. Units are in the name."""


_NOTHING_KNOWN: Trust = Calibrations(evalset="")


def budget(name: str, seen: Observation) -> Score:
    """Return what a run used of a budget; None with a reason where it was not measured."""
    value = BUDGETS[name](seen)
    if value is not None:
        return Score(value=float(value))
    if name == "cost_usd":
        return Score(value=None, reason=seen.cost_reason or "the cost is unknown")
    if name.endswith("tokens"):
        return Score(value=None, reason="the provider returned no token count")
    return Score(value=None, reason=f"no {name.removesuffix('_ms')} stage was seen")


def check(
    limits: Iterable[Limit],
    scores: Mapping[str, Score],
    seen: Observation,
    trust: Trust | None = None,
) -> tuple[CheckResult, ...]:
    """Hold a run to its limits; what was not measured never passes.

    Args:
        limits: Of the case.
        scores: By metric name as written in the limit.
        seen: For the budgets.
        trust: Which scores may decide; where nothing is known, those that no judge gave.
    """
    return tuple(
        _judge(limit, _score(limit, scores, seen), advice(limit.metric, scores, trust))
        for limit in limits
    )


def advice(metric: str, scores: Mapping[str, Score], trust: Trust | None = None) -> str | None:
    """Return why a check on a metric decides nothing; None where it decides."""
    score = scores.get(metric)
    return None if score is None else (trust or _NOTHING_KNOWN).advice(metric, score)


def forbidden(case: Case, seen: Observation) -> tuple[CheckResult, ...]:
    """Check that no forbidden document was retrieved; nothing where the case forbids none."""
    if not case.forbidden:
        return ()
    limit = Limit(metric="forbidden", max=0, argument=list(case.forbidden))
    if seen.retrieved is None:
        score = Score(value=None, reason="the pipeline does not tell what it retrieved")
        return (_judge(limit, score),)
    ids = dict.fromkeys(node.id for node in seen.retrieved)
    found = [name for name in ids if any(_names(pattern, name) for pattern in case.forbidden)]
    reason = f"retrieved {', '.join(found)}" if found else None
    return (_judge(limit, Score(value=float(len(found)), reason=reason)),)


def _names(pattern: str, document: str) -> bool:
    return pattern == document or fnmatchcase(document, pattern)


def _score(limit: Limit, scores: Mapping[str, Score], seen: Observation) -> Score:
    if limit.metric in BUDGETS:
        return budget(limit.metric, seen)
    return scores.get(limit.metric, Score(value=None, reason="it was not computed"))


def _judge(limit: Limit, score: Score, advice: str | None = None) -> CheckResult:
    value = score.value
    passed = (
        value is not None
        and (limit.min is None or value >= limit.min)
        and (limit.max is None or value <= limit.max)
    )
    reason = None if passed else _why(limit, score)
    return CheckResult(limit=limit, value=value, passed=passed, reason=reason, advisory=advice)


def _why(limit: Limit, score: Score) -> str:
    if score.value is None:
        return f"{limit.metric} could not be measured: {score.reason}"
    detail = f" ({score.reason})" if score.reason else ""
    rubric = isinstance(limit.argument, Mapping) and "rubric" in limit.argument
    if limit.argument is not None and limit.min == 1 and not rubric:
        return f"{limit.metric} {limit.argument!r}: not so{detail}"
    return f"{limit.metric} = {number(score.value)}, limit {bounds(limit.min, limit.max)}{detail}"


def bounds(low: float | None, high: float | None) -> str:
    """Write a limit as people read it: ``≥ 0.8``, ``≤ 2000``, ``1 … 3``."""
    if low is not None and high is not None:
        return f"{number(low)} … {number(high)}"
    return f"≥ {number(low)}" if low is not None else f"≤ {number(high or 0.0)}"


def duration(ms: float) -> str:
    """Write milliseconds with the digits that matter, from ten thousand on as seconds."""
    if ms >= 10_000:
        return f"{ms / 1000:,.1f} s"
    return f"{ms:,.0f} ms" if ms >= 10 else f"{ms:.2g} ms"


def number(value: float) -> str:
    """Write a figure with the digits that matter: three decimals, none above a thousand."""
    if value == int(value):
        return str(int(value))
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3f}" if abs(value) >= 0.01 else f"{value:.3g}"
