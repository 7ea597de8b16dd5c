"""A recorded result and a case as it is written now → the result judged anew; nothing is asked."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_rag.checks import check, forbidden
from pytest_rag.evaluation import jobs_of
from pytest_rag.judge import fingerprint_of, noted, outcome_of, scored
from pytest_rag.metrics import ranking
from pytest_rag.metrics.answer import AnswerMetric
from pytest_rag.metrics.gold import resolve
from pytest_rag.metrics.rubric import RubricMetric
from pytest_rag.redact import redact
from pytest_rag.types import Call, Observation, Retrieved, Score, Timing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_rag.config import Config
    from pytest_rag.records import Result
    from pytest_rag.types import Case, EvalSet, Metric

__all__ = ["rejudge"]

_NOT_A_DOCUMENT = re.compile(r"[#*?[]")
_NEEDS_TEXTS = "groundedness"


def rejudge(
    result: Result, case: Case, evalset: EvalSet, config: Config, *, same_qrels: bool
) -> Result:
    """Hold a recorded result to a case's limits as they are written now.

    A recorded score whose argument and gold are the same is taken as it is; metrics of the answer
    and of ranked documents are computed anew where they differ. Anything else has no value, and
    the reason says how to measure it.

    Args:
        result: As it was recorded.
        case: As the evalset's file says now.
        evalset: Of the case, for the metrics that its gate names.
        config: For the metrics that the project names.
        same_qrels: Whether the evalset's gold is what it was when the result was recorded.
    """
    if result.error is not None or result.outcome == "not_run":
        return result
    record = _Record(result, case, same_qrels=same_qrels, again=_command(evalset, case, config))
    plan = jobs_of(evalset, case, config)[0].metrics
    scores = {metric.name: record.score(metric, argument) for metric, argument in plan}
    held = check(case.checks, scores, record.seen, evalset.trust)
    verdicts = (*held, *forbidden(case, record.seen))
    return replace(
        result,
        outcome="error" if record.other_question else outcome_of(verdicts),
        scores={name: scored(score) for name, score in scores.items()},
        checks=[*map(redact, map(noted, verdicts)), *record.complaint()],
        gold=record.gold(),
        reference=redact(list(case.answers)),
        fingerprint=fingerprint_of(case),
        tags=list(case.tags),
        min_pass=case.min_pass / case.repeat,
    )


def _command(evalset: EvalSet, case: Case, config: Config) -> str:
    path = evalset.path
    near = path.relative_to(config.root) if path.is_relative_to(config.root) else path
    return f"pytest-rag run {near} --case {case.id}"


class _Record:
    """What a recorded result still tells, held against the case as it is now."""

    def __init__(self, result: Result, case: Case, *, same_qrels: bool, again: str) -> None:
        self.result = result
        self.case = case
        self.again = again
        self.seen = _observation(result)
        edited = result.fingerprint != fingerprint_of(case)
        self.same_reference = not edited
        # Of the filters the record knows no more than that something changed.
        self.other_question = edited and (redact(case.query) != result.query or bool(case.filters))
        self.same_gold = same_qrels or self._grades_agree()

    def _grades_agree(self) -> bool:
        was = {name: of["grade"] for name, of in self.result.gold.items()}
        return self.result.retrieved is not None and was == dict(self.case.relevant)

    def score(self, metric: Metric, argument: Any) -> Score:
        """Return a score from the record, computed from it, or None with how to measure it."""
        if self.other_question:
            return self._unknown(metric, "the case asks something else now")
        if isinstance(metric, ranking.RankingMetric):
            return self._ranked(metric)
        recorded = self.result.scores.get(metric.name)
        same = recorded is not None and self._asked_same(metric, argument, recorded)
        if not isinstance(metric, AnswerMetric):
            same = same and self.same_reference and self.same_gold
        elif metric.name != _NEEDS_TEXTS:
            same = same and self.same_reference
        if same and recorded is not None:
            return Score(**recorded)
        if isinstance(metric, AnswerMetric) and metric.name != _NEEDS_TEXTS:
            return metric.score(self.case, self.seen, argument)
        return self._unknown(metric, "it is not in the record and cannot be computed from it")

    def _ranked(self, metric: ranking.RankingMetric) -> Score:
        recorded = self.result.scores.get(metric.name)
        if self.same_gold and recorded is not None:
            return Score(**recorded)
        if self.same_gold and self.result.gold:
            return metric.score_judged(_judged(self.result))
        if any(_NOT_A_DOCUMENT.search(gold) for gold in self.case.relevant):
            return self._unknown(metric, "its gold names more than documents, which records lack")
        return metric.score(self.case, self.seen)

    def _asked_same(self, metric: Metric, argument: Any, recorded: Mapping[str, Any]) -> bool:
        """Tell whether a score was given with the same argument, or by the same rubric."""
        if isinstance(metric, RubricMetric):
            return str(recorded["version"]).partition(" ")[0] == metric.version
        checks = (c["argument"] for c in self.result.checks if c["metric"] == metric.name)
        return _same(argument, next(checks, None))

    def _unknown(self, metric: Metric, why: str) -> Score:
        reason = f"{why}; measure it: {self.again}"
        judge = "" if "judge" in getattr(metric, "uses", ()) else None
        return Score(value=None, reason=reason, version=metric.version, judge=judge)

    def complaint(self) -> list[dict[str, Any]]:
        """Return what must be said of a case whose recorded answer is to another question."""
        if not self.other_question:
            return []
        reason = f"the recorded answer is to another question or filter; ask anew: {self.again}"
        bare = {"min": None, "max": None, "argument": None, "value": None}
        return [{"metric": "query", **bare, "passed": False, "reason": reason}]

    def gold(self) -> dict[str, dict[str, Any]]:
        """Return the fate of each gold document as it is named now."""
        if self.same_gold or self.seen.retrieved is None:
            return self.result.gold
        found = resolve(self.seen.retrieved, _documents(self.case.relevant), None)
        ranks = {name: rank for rank, name in enumerate(found.ranking, 1)}
        blank = {"indexed": None, "lost": None}
        return {
            name: {**self.result.gold.get(name, blank), "grade": grade, "rank": ranks.get(name)}
            for name, grade in found.qrels.items()
        }


def _documents(relevant: Mapping[str, int]) -> dict[str, int]:
    return {name: n for name, n in relevant.items() if not _NOT_A_DOCUMENT.search(name)}


def _judged(result: Result) -> ranking.Judged:
    """Return the ranking by the ranks recorded of its gold; what stood between is not judged."""
    ranks = {of["rank"]: name for name, of in result.gold.items() if of["rank"] is not None}
    documents = {node["id"] for node in result.retrieved or ()}
    length = max(len(documents), max(ranks, default=0))
    # A tab before the number keeps a filler apart from every id that is a gold document.
    order = [ranks.get(rank, f"\t{rank}") for rank in range(1, length + 1)]
    return ranking.judge(order, {name: of["grade"] for name, of in result.gold.items()})


def _same(argument: Any, other: Any) -> bool:
    return json.dumps(argument, default=str, sort_keys=True) == json.dumps(
        other, default=str, sort_keys=True
    )


def _observation(result: Result) -> Observation:
    """Return what the record knows of a run; texts of nodes and steps are not in it."""
    nodes = None
    if result.retrieved is not None:
        nodes = tuple(
            Retrieved(id=node["id"], node=node["node"], score=node["score"])
            for node in result.retrieved
        )
    timing = Timing(
        latency_ms=result.latency_ms or 0.0,
        wait_ms=result.wait_ms or 0.0,
        stages_ms=result.stages_ms,
        self_ms=result.self_ms,
        cpu_ms=result.cpu_ms,
    )
    calls = ({k: v for k, v in call.items() if k in Call.__slots__} for call in result.calls)
    return Observation(
        query=result.query,
        answer=result.answer,
        retrieved=nodes,
        timing=timing,
        calls=tuple(Call(**call) for call in calls),
        cost_usd=result.cost_usd,
        input_tokens=result.input_tokens,
        output_tokens=result.output_tokens,
    )
