"""An observation, or what broke instead → the Result that goes into the record."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pytest_rag import metrics
from pytest_rag.checks import check, forbidden
from pytest_rag.errors import BudgetError, MissingExtraError, RagError, explained, message_of
from pytest_rag.fate import lost_by
from pytest_rag.metrics.used import about_tokens, used_tokens
from pytest_rag.observe import Attempt, bill
from pytest_rag.pipelines.factory import key_missing
from pytest_rag.records import Result
from pytest_rag.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_rag.config import Config
    from pytest_rag.metrics.gold import Resolved
    from pytest_rag.trust import Trust
    from pytest_rag.types import (
        Call,
        Case,
        CheckResult,
        Limit,
        Metric,
        Observation,
        Outcome,
        Score,
        Timing,
    )

__all__ = ["Job", "broken", "fingerprint_of", "judge", "noted", "outcome_of", "scored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of one case.

    Attributes:
        evalset: The evalset's name, for the record.
        case: The case.
        metrics: What is computed, each with its argument.
        repeat: 0 for the first run of the case.
        trust: What is known of the evalset's judges.
    """

    evalset: str
    case: Case
    metrics: Sequence[tuple[Metric, Any]]
    repeat: int = 0
    trust: Trust | None = None


def judge(job: Job, seen: Observation, judged: Mapping[str, Score] | None = None) -> Result:
    """Score an observation, hold it to the case's limits and make the record of it, redacted.

    Args:
        job: What was run.
        seen: What it showed.
        judged: Scores that were awaited, by metric name.
    """
    resolved = metrics.ranking.resolve_case(job.case, seen)
    scores = metrics.score_all(job.metrics, job.case, seen, resolved, judged=judged)
    verdicts = (*check(job.case.checks, scores, seen, job.trust), *forbidden(job.case, seen))
    gold = {} if isinstance(resolved, str) else _gold(resolved, job.case, seen)
    return _result(
        job,
        outcome=outcome_of(verdicts),
        answer=seen.answer,
        retrieved=_ranked(seen),
        gold=gold,
        scores={name: scored(score) for name, score in scores.items()},
        checks=[noted(verdict) for verdict in verdicts],
        input_tokens=seen.input_tokens,
        output_tokens=seen.output_tokens,
        cost_usd=seen.cost_usd,
        judge_cost_usd=seen.judge_cost_usd,
        calls=_calls(seen.calls),
        notes=_notes(gold, seen),
        **_times(seen.timing),
    )


def _result(job: Job, *, outcome: Outcome, **found: Any) -> Result:
    """Return a result without secrets; what names it, and the verdict, stay as they are."""
    texts = {
        "query": job.case.query,
        "reference": list(job.case.answers),
        "tags": list(job.case.tags),
        **found,
    }
    return Result(
        evalset=job.evalset,
        case=job.case.id,
        repeat=job.repeat,
        outcome=outcome,
        fingerprint=fingerprint_of(job.case),
        min_pass=job.case.min_pass / job.case.repeat,
        **redact(texts),
    )


def fingerprint_of(case: Case) -> str:
    """Return what tells a case from one of the same id that asks or wants something else."""
    asked = (case.query, case.answers, case.answerable, sorted(case.filters.items()))
    return sha256(repr(asked).encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _gold(found: Resolved, case: Case, seen: Observation) -> dict[str, dict[str, Any]]:
    """Return where each gold document was retrieved, and whether the index holds it at all."""
    ranks = {name: rank for rank, name in enumerate(found.ranking, 1)}
    told = seen.documents is not None
    return {
        name: {
            "grade": grade,
            "rank": ranks.get(name),
            "indexed": name not in found.missing if told else None,
            "lost": _lost(name, case, seen, missing=told and name in found.missing),
        }
        for name, grade in found.qrels.items()
    }


def _lost(name: str, case: Case, seen: Observation, *, missing: bool) -> str | None:
    if missing:
        return "not in the index"
    return lost_by(name, case, seen) if case.relevant.get(name, 1) > 0 else None


def _notes(gold: Mapping[str, Mapping[str, Any]], seen: Observation) -> list[str]:
    """Say so where the gold names what the index does not hold, and how it may be mended."""
    lost = [name for name, found in gold.items() if found["indexed"] is False]
    if not lost:
        return []
    note = f"The index holds no document {', '.join(map(repr, lost))}: the label is wrong."
    key = _key_of(set(lost), seen)
    if key is None:
        return [note]
    line = f'document_key = "{key}"'
    return [f"{note} Metadata {key!r} of its nodes does: write {line} in [tool.pytest-rag]."]


def _key_of(names: set[str], seen: Observation) -> str | None:
    """Return a metadata key by which a retrieved node bears one of these names, or None."""
    nodes = seen.retrieved or ()
    pairs = ((key, value) for node in nodes for key, value in node.metadata.items())
    return next((key for key, value in pairs if isinstance(value, str) and value in names), None)


def outcome_of(verdicts: Iterable[CheckResult]) -> Outcome:
    """Return failed where a limit was broken, error where one could not be measured."""
    missed = [each for each in verdicts if not each.passed and each.advisory is None]
    if not missed:
        return "passed"
    return "failed" if any(verdict.value is not None for verdict in missed) else "error"


def broken(
    job: Job,
    error: BaseException,
    config: Config,
    attempt: Attempt | None = None,
    judged: Sequence[Call] = (),
) -> Result:
    """Return the record of a run that broke, redacted; what it used until then is kept.

    Args:
        job: What was run.
        error: What broke it.
        config: Prices.
        attempt: What is known of it; None where nothing was asked.
        judged: Calls of judges.
    """
    reason = str(error) if isinstance(error, BudgetError) else key_missing(error)
    return _result(
        job,
        outcome="error" if reason is None else "not_run",
        error={
            "type": type(error).__name__,
            "message": reason or explained(error),
            "traceback": _traceback(error),
        },
        **_used(attempt, config, judged),
    )


def _used(attempt: Attempt | None, config: Config, judged: Sequence[Call]) -> dict[str, Any]:
    if attempt is None or attempt.trace is None:
        return {}
    calls = [*attempt.trace.calls, *judged]
    costs = bill(calls, config, opaque=not calls)
    return {
        "calls": _calls(costs.get("calls", ())),
        "cost_usd": costs.get("cost_usd"),
        "judge_cost_usd": costs.get("judge_cost_usd", 0.0),
        **_times(attempt.trace.timing(wait_ms=attempt.wait_ms)),
    }


def _traceback(error: BaseException) -> str:
    """Return the user's part of a traceback: nothing where the error is our own finding."""
    if isinstance(error, RagError) and (
        error.__cause__ is None or isinstance(error, MissingExtraError)
    ):
        return ""
    frames = error.__traceback__
    while frames is not None and "pytest_rag" in frames.tb_frame.f_globals.get("__name__", ""):
        frames = frames.tb_next
    try:
        lines = traceback.format_exception(type(error), error, frames or error.__traceback__)
    except Exception:  # noqa: BLE001 - it asks the exception, which may raise anything
        lines = [*traceback.format_tb(frames or error.__traceback__), message_of(error)]
    return "".join(lines).rstrip()


def _times(timing: Timing) -> dict[str, Any]:
    return {
        "latency_ms": round(timing.latency_ms, 3),
        "wait_ms": round(timing.wait_ms, 3),
        **{
            name: {stage: round(ms, 3) for stage, ms in getattr(timing, name).items()}
            for name in ("stages_ms", "self_ms", "cpu_ms")
        },
        "spans": [
            [span.depth, span.stage, span.part, round(span.start_ms, 2), round(span.ms, 2)]
            for span in timing.spans
        ],
    }


def _calls(calls: Iterable[Call]) -> list[dict[str, Any]]:
    return [{**_values(call), "latency_ms": round(call.latency_ms, 3)} for call in calls]


def _ranked(seen: Observation) -> list[dict[str, Any]] | None:
    if seen.retrieved is None:
        return None
    texts = [node.text for node in seen.retrieved]
    used = [None] * len(texts) if seen.answer is None else used_tokens(seen.answer, texts)
    return [
        {
            "id": node.id,
            "rank": rank,
            "score": node.score,
            "node": node.node,
            "tokens": about_tokens(node.text) if node.text else None,
            "used": drawn if node.text else None,
        }
        for rank, (node, drawn) in enumerate(zip(seen.retrieved, used, strict=True), 1)
    ]


def scored(score: Score) -> dict[str, Any]:
    """Return a score as a record holds it."""
    told = _values(score)
    if score.judge is None:
        del told["judge"]
    return told


def noted(verdict: CheckResult) -> dict[str, Any]:
    """Return a verdict as a record holds it."""
    told = {
        **_values(verdict.limit),
        "value": verdict.value,
        "passed": verdict.passed,
        "reason": verdict.reason,
    }
    return told if verdict.advisory is None else {**told, "advisory": verdict.advisory}


def _values(of: Call | Limit | Score) -> dict[str, Any]:
    """Return the fields of a flat dataclass by name."""
    return {name: getattr(of, name) for name in of.__slots__}
