"""Names on the command line → metrics that answers from a file can be given."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag import metrics
from pytest_rag.errors import CalibrationError, ConfigError
from pytest_rag.judging import unready
from pytest_rag.metrics import rubric
from pytest_rag.metrics.own import FunctionMetric
from pytest_rag.pipelines.factory import load_object
from pytest_rag.types import Case, Retrieved

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_rag.calibrating.human import Judged
    from pytest_rag.config import Config
    from pytest_rag.types import EvalSet, Metric

__all__ = ["ALL", "Chosen", "case_of", "choose", "retrieved_of"]

ALL = "all"
"""Every metric that asks no model and that the answers can be given."""

_NO_HELP = frozenset({"refusal"})  # it judges the question as much as the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A metric with what its check gives it.

    Attributes:
        metric: The metric.
        argument: Such as a guideline; None for most.
    """

    metric: Metric
    argument: Any = None

    @property
    def judged(self) -> bool:
        """Whether it asks a judge, whose opinion costs money and may change."""
        return "judge" in getattr(self.metric, "uses", ())


def case_of(row: Judged, number: int) -> Case:
    """Return a row as a case; its number travels as a filter."""
    return Case(
        id=f"line {row.line}",
        query=row.question,
        answers=row.references,
        filters={"row": number},
    )


def retrieved_of(row: Judged) -> tuple[Retrieved, ...] | None:
    """Return what the answer of a row rests on, or None where that is not told."""
    if row.contexts is None:
        return None
    return tuple(
        Retrieved(id=name, node=f"{name} {place}", text=text)
        for place, (name, text) in enumerate(row.contexts)
    )


def choose(
    names: Sequence[str], rows: Sequence[Judged], config: Config, evalset: EvalSet | None
) -> list[Chosen]:
    """Return the metrics of these names.

    Args:
        names: As in a check; ``all``; or the import path of a decorated function.
        rows: That they are to be given.
        config: For the judge.
        evalset: Whose checks hold rubrics and guidelines, or None.

    Raises:
        ConfigError: if one is unknown, its judge is not configured, or it wants what no row has.
    """
    cases = [case_of(row, number) for number, row in enumerate(rows)]
    chosen: dict[str, Chosen] = {}
    for name in dict.fromkeys(names):
        for each in _every(cases, rows) if name == ALL else [_named(name, config, evalset)]:
            reason = unready(each.metric, config.judge) or _lacking(each, cases)
            if reason is not None:
                raise ConfigError(f"--metric {name}: {reason}.")
            chosen[each.metric.name] = each
    return list(chosen.values())


def _lacking(each: Chosen, cases: Iterable[Case]) -> str | None:
    """Return what every row lacks for a metric, or None where one has it."""
    reasons = [metrics.lacking(each.metric, case, each.argument) for case in cases]
    if None in reasons:
        return None
    if "argument" in each.metric.needs:
        return f"{reasons[0]}, which each case gives: there is nothing to calibrate"
    if "answers" in each.metric.needs:
        return "it needs reference answers, and no row has any: --map references=KEY"
    return f"{reasons[0]}, which no row has"


def _every(cases: Sequence[Case], rows: Sequence[Judged]) -> list[Chosen]:
    found = []
    for name in metrics.METRICS.names():
        each = Chosen(metric=metrics.METRICS.get(name))
        grounded = "groundedness" in name
        if name in _NO_HELP or each.judged or (grounded and all(r.contexts is None for r in rows)):
            continue
        if _lacking(each, cases) is None:
            found.append(each)
    return found


def _named(name: str, config: Config, evalset: EvalSet | None) -> Chosen:
    checked = [] if evalset is None else _checks(name, evalset)
    if len(checked) > 1:
        raise CalibrationError(
            f"--metric {name}: the cases of {evalset.name!r} ask {len(checked)} different things "  # type: ignore[union-attr]
            "under this name. Give each a name of its own."
        )
    if checked:
        return checked[0]
    if ":" in name:
        return Chosen(metric=_imported(name, config))
    try:
        return Chosen(metric=metrics.get(name))
    except ConfigError as error:
        hint = "" if evalset is not None else " A rubric is found with --evalset FILE."
        raise type(error)(f"--metric {name}: {error}{hint}") from None


def _checks(name: str, evalset: EvalSet) -> list[Chosen]:
    """Return the different things that the cases of an evalset ask under a name."""
    found: dict[str, Chosen] = {}
    for case in evalset.cases:
        for limit in case.checks:
            asks = rubric.is_rubric(limit.argument) or "judge" in _uses(limit.metric)
            if limit.metric == name and asks:
                key = json.dumps(limit.argument, sort_keys=True, default=str)
                metric, argument = metrics.of_limit(limit)
                found.setdefault(key, Chosen(metric=metric, argument=argument))
    return list(found.values())


def _uses(name: str) -> Iterable[str]:
    try:
        found: Iterable[str] = getattr(metrics.get(name), "uses", ())
    except ConfigError:  # a budget
        return ()
    return found


def _imported(name: str, config: Config) -> FunctionMetric:
    found = load_object(name, (config.root,))
    if not isinstance(found, FunctionMetric):
        raise ConfigError(f"--metric {name}: it is no function decorated with @pytest_rag.metric.")
    return found
