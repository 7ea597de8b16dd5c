"""Checks and gates as written → limits: what a bare number bounds, and what applies to a case."""

from __future__ import annotations

import difflib
import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_rag.checks import BUDGETS
from pytest_rag.errors import ConfigError, MissingExtraError
from pytest_rag.evalset.problems import Problems, Source, show
from pytest_rag.registry import did_you_mean, nearest
from pytest_rag.types import AGGREGATES, GateLimit, Limit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pytest_rag.evalset.problems import Loc
    from pytest_rag.types import Aggregate, Case, Metric

__all__ = [
    "Checks",
    "Named",
    "applying",
    "lacks",
    "named",
    "of_mapping",
    "read_checks",
    "read_gate",
]

PASSED = "passed"
ALPHA = 0.05

Checks = dict[str, Limit | None]


class _WrongError(Exception):
    """One sentence about a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What decides how a check on a name is read."""

    name: str
    ceiling: bool
    argument: bool = False


# --- checks -----------------------------------------------------------------------------------


def read_checks(raw: object, source: Source, loc: Loc = ("checks",)) -> Checks:
    """Return the limits of a ``checks`` mapping by name; None for a default switched off."""
    checks: Checks = {}
    for name, value in raw.items() if isinstance(raw, dict) else ():
        if source.problems.full:
            break
        try:
            checks[name] = None if value is None else _check(name, value)
        except _WrongError as error:
            source.report(str(error), (*loc, name), key=True)
    return checks


def of_mapping(checks: Mapping[str, Any]) -> tuple[Limit, ...]:
    """Return the limits of checks written in Python, as in YAML.

    Raises:
        ConfigError: with every problem, a sentence each.
    """
    problems = Problems(Path("checks"))
    read = read_checks(dict(checks), Source(problems))
    if problems.found:
        raise ConfigError(" ".join(problem.message for problem in problems.found))
    return tuple(limit for limit in read.values() if limit is not None)


def applying(checks: Iterable[Limit], case: Case) -> tuple[Limit, ...]:
    """Return the limits among ``checks`` that can be computed for ``case``."""
    return tuple(limit for limit in checks if lacks(limit, case) is None)


def lacks(limit: Limit, case: Case) -> str | None:
    """Return what ``case`` lacks for ``limit`` in a clause, or None where nothing is missing."""
    if limit.metric in BUDGETS:
        return None
    from pytest_rag import metrics

    metric, argument = metrics.of_limit(limit)
    return metrics.lacking(metric, case, argument)


def _check(name: str, value: Any) -> Limit:
    if isinstance(value, dict) and "rubric" in value:
        return _rubric(name, value)
    return _limit(_kind(name), value)


def _rubric(name: str, value: Mapping[str, Any]) -> Limit:
    from pytest_rag.evalset.rubric import read_rubric

    if _exists(name):
        raise _WrongError(f"{show(name)} is a metric already. Give the rubric another name.")
    wrong, rubric = read_rubric(value["rubric"])
    if rubric is None:
        raise _WrongError(f"Rubric {show(name)}: {wrong}")
    for key in value.keys() - {"rubric", "min", "max"}:
        hint = did_you_mean(key, ("rubric", "min", "max"))
        raise _WrongError(f"Unknown key {show(key)} in check {show(name)}.{hint}")
    bounds = {key: _number(name, value[key]) for key in ("min", "max") if key in value}
    if not bounds:
        low, high = rubric["scale"]
        raise _WrongError(f"Rubric {show(name)} has no limit. Write min: {(low + high) / 2:g}.")
    return _bounded(_Kind(name=name, ceiling=False), bounds, {"rubric": rubric})


def _limit(kind: _Kind, value: Any) -> Limit:
    if _is_number(value) and not kind.argument:
        bound = "max" if kind.ceiling else "min"
        return _bounded(kind, {bound: _number(kind.name, value)})
    if isinstance(value, dict):
        return _from_mapping(kind, value)
    if not kind.argument or isinstance(value, bool):
        raise _WrongError(_takes(kind, value))
    return _bounded(kind, {}, _argument(kind, value))


def _from_mapping(kind: _Kind, value: Mapping[str, Any]) -> Limit:
    rest = {key: item for key, item in value.items() if key not in {"min", "max"}}
    if rest and not (kind.argument and "value" in rest):
        key = next(iter(rest))
        hint = did_you_mean(key, ("min", "max", "value") if kind.argument else ("min", "max"))
        raise _WrongError(f"Unknown key {show(key)} in check {show(kind.name)}.{hint}")
    bounds = {key: _number(kind.name, value[key]) for key in ("min", "max") if key in value}
    if not bounds and not rest:
        raise _WrongError(_takes(kind, value))
    argument = rest["value"] if rest.keys() == {"value"} else rest or None
    return _bounded(kind, bounds, _argument(kind, argument))


def _argument(kind: _Kind, argument: Any) -> Any:
    from pytest_rag import metrics

    wrong = None if argument is None else metrics.validate_argument(_metric(kind.name), argument)
    if wrong:
        raise _WrongError(f"Check {show(kind.name)}: {wrong.rstrip('.')}.")
    return argument


def _bounded(kind: _Kind, bounds: Mapping[str, float], argument: Any = None) -> Limit:
    bounds = bounds or {"max" if kind.ceiling else "min": 0.0 if kind.ceiling else 1.0}
    _ordered(kind.name, bounds)
    if kind.name in BUDGETS and min(bounds.values()) < 0:
        raise _WrongError(f"Budget {show(kind.name)} cannot be negative.")
    return Limit(metric=kind.name, argument=argument, **bounds)


def _takes(kind: _Kind, value: object) -> str:
    forms = "a number, or {min: …, max: …}"
    if kind.argument:
        forms = "what to compare with, or {value: …, min: …}"
    return f"Check {show(kind.name)} takes {forms}, not {show(value)}."


# --- names and numbers ------------------------------------------------------------------------


def _kind(name: str) -> _Kind:
    if name in BUDGETS:
        return _Kind(name=name, ceiling=True)
    from pytest_rag import metrics

    metric = _metric(name)
    takes = metrics.takes_argument(metric)
    return _Kind(name=name, ceiling=not metric.higher_is_better, argument=takes)


@functools.lru_cache(maxsize=256)
def _metric(name: str) -> Metric:
    from pytest_rag import metrics

    try:
        return metrics.get(name)
    except ConfigError as error:
        near = _nearest_budget(name, sure="Did you mean" in str(error))
        if near:
            raise _WrongError(f"Unknown metric {show(name)}. Did you mean {near!r}?") from None
        raise _WrongError(str(error)) from None
    except MissingExtraError as error:
        raise _WrongError(f"{error}.") from None


def _nearest_budget(name: str, *, sure: bool) -> str | None:
    """Return the budget that is meant; where the metrics know better, only one very like it."""
    from pytest_rag import metrics

    found = nearest(name, (*BUDGETS, *metrics.names()))
    alike = difflib.SequenceMatcher(None, name.casefold(), found or "").ratio() >= 0.8
    return found if found in BUDGETS and (alike or not sure) else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(name: str, value: Any) -> float:
    try:
        number = float(value) if _is_number(value) else math.nan
    except OverflowError:
        number = math.nan
    if not math.isfinite(number):
        raise _WrongError(f"A bound of {show(name)} must be a number, not {show(value)}.")
    return number


def _ordered(name: str, bounds: Mapping[str, float]) -> None:
    low, high = bounds.get("min", -math.inf), bounds.get("max", math.inf)
    if low > high:
        raise _WrongError(f"No value of {show(name)} is at least {low:g} and at most {high:g}.")


# --- the gate ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A figure of a whole set by its name, such as ``latency_ms.p95``.

    Attributes:
        metric: The metric or budget.
        aggregate: How the values of the cases become one.
        less_is_better: Whether it is a budget, or a metric of which less is better.
    """

    metric: str
    aggregate: Aggregate
    less_is_better: bool


def named(key: str, rubrics: Collection[str] = ()) -> Named:
    """Return what a name of a whole set's figure means.

    Args:
        key: As written, ``nDCG@10`` or ``cost_usd.total``.
        rubrics: Names of the cases' rubrics.

    Raises:
        ConfigError: if there is no such metric or aggregate; names the nearest.
    """
    try:
        kind, aggregate = _rubric_key(key, rubrics) or _gate_key(key)
    except _WrongError as error:
        raise ConfigError(str(error)) from None
    return Named(metric=kind.name, aggregate=aggregate, less_is_better=kind.ceiling)


def read_gate(
    raw: Mapping[str, Any],
    source: Source,
    rubrics: Collection[str] = (),
    *,
    under: str = "gate",
) -> tuple[tuple[GateLimit, ...], float]:
    """Return the limits of ``gate`` and the chance of a false alarm it accepts.

    Args:
        raw: As written.
        source: Where problems are told.
        rubrics: Names of the cases' rubrics, which are metrics of this evalset alone.
        under: The key that the limits stand under.
    """
    limits = []
    alpha = ALPHA
    for key, value in raw.items():
        if source.problems.full:
            break
        try:
            if key == "alpha":
                alpha = _alpha(value)
            else:
                limits.append(_gate_limit(key, value, rubrics))
        except _WrongError as error:
            source.report(str(error), (under, key), key=True)
    return tuple(limits), alpha


def _alpha(value: Any) -> float:
    if not _is_number(value) or not 0 < value < 0.5:
        raise _WrongError(f"'alpha' must lie between 0 and 0.5, not {show(value)}. Write 0.05.")
    return float(value)


def _gate_limit(key: str, value: Any, rubrics: Collection[str]) -> GateLimit:
    kind, aggregate = _rubric_key(key, rubrics) or _gate_key(key)
    if _is_number(value):
        value = {"max" if kind.ceiling else "min": value}
    if not isinstance(value, dict) or not value:
        forms = "a number, or {min: …, max: …, max_drop: …}"
        raise _WrongError(f"Gate {show(key)} takes {forms}, not {show(value)}.")
    known = ("min", "max", "max_drop")
    for each in value:
        if each not in known:
            hint = did_you_mean(each, known)
            raise _WrongError(f"Unknown key {show(each)} in gate {show(key)}.{hint}")
    bounds = {each: _number(key, number) for each, number in value.items()}
    _ordered(key, bounds)
    _max_drop(kind, aggregate, bounds.get("max_drop"))
    return GateLimit(metric=kind.name, aggregate=aggregate, **bounds)


def _max_drop(kind: _Kind, aggregate: Aggregate, drop: float | None) -> None:
    if drop is None:
        return
    if kind.name in BUDGETS:
        why = "it is never compared with a number measured elsewhere"
        raise _WrongError(f"{show(kind.name)} takes no 'max_drop': {why}. Write 'max'.")
    if aggregate not in ("mean", "rate"):
        raise _WrongError(
            f"'max_drop' compares the mean of the cases, not {show(aggregate)}: write it under "
            f"{show(kind.name)}."
        )
    if drop < 0:
        raise _WrongError(f"'max_drop' of {show(kind.name)} cannot be negative.")


def _rubric_key(key: str, rubrics: Collection[str]) -> tuple[_Kind, Aggregate] | None:
    for aggregate in AGGREGATES:
        if key.removesuffix(f".{aggregate}") in rubrics and key not in rubrics:
            return _Kind(name=key.removesuffix(f".{aggregate}"), ceiling=False), aggregate
    return (_Kind(name=key, ceiling=False), "mean") if key in rubrics else None


def _gate_key(key: str) -> tuple[_Kind, Aggregate]:
    if key in {"pass_rate", PASSED} or key.startswith(f"{PASSED}."):
        if key != "passed.rate":
            raise _WrongError(f"Unknown gate {show(key)}. Did you mean 'passed.rate'?")
        return _Kind(name=PASSED, ceiling=False), "rate"
    for aggregate in AGGREGATES:
        if key.endswith(f".{aggregate}"):
            return _kind(key.removesuffix(f".{aggregate}")), aggregate
    try:
        return _kind(key), "mean"
    except _WrongError:
        head, _, tail = key.rpartition(".")
        if not head or not _exists(head):
            raise
    hint = did_you_mean(tail, AGGREGATES)
    raise _WrongError(f"Unknown aggregate {show(tail)} of {show(head)}.{hint}")


def _exists(name: str) -> bool:
    try:
        return bool(_kind(name))
    except _WrongError:
        return False
