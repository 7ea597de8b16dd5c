"""Run record → where time and money went, ranked by what a change would save.

A pure function of the record: nothing is asked again, and LlamaIndex is not needed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_rag.bottleneck.context import context_findings
from pytest_rag.bottleneck.model import Bottlenecks, CaseRow, Finding, Saves, StageRow, ranked
from pytest_rag.bottleneck.repeats import repeat_findings
from pytest_rag.bottleneck.runs import OUTSIDE, mean, number, seen_of
from pytest_rag.bottleneck.times import (
    errors_of,
    queue_of,
    slow_runs,
    stage_findings,
    stage_rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_rag.bottleneck.runs import Seen
    from pytest_rag.records import Result, Run

__all__ = ["Bottlenecks", "CaseRow", "Finding", "Saves", "StageRow", "find"]

_CASES = 5
_LEAST = 0.01
"""The share of latency below which a stage is no finding."""

_FEW = 20


def find(run: Run) -> tuple[Bottlenecks, ...]:
    """Return what each evalset of a run shows, in the order they ran."""
    by_evalset: dict[str, list[Result]] = {}
    for result in run.results:
        by_evalset.setdefault(result.evalset, []).append(result)
    return tuple(_of(name, results, run) for name, results in by_evalset.items())


def _of(name: str, results: Sequence[Result], run: Run) -> Bottlenecks:
    facts: Mapping[str, Any] = run.header.get("evalsets", {}).get(name) or {}
    seen = seen_of(results)
    concurrency = int(number(facts.get("concurrency")) or 1)
    findings = [
        *_worth_it(seen),
        *slow_runs(seen, concurrency),
        *context_findings(seen),
        *repeat_findings(seen),
        *errors_of(results, seen),
        *queue_of(seen, concurrency),
    ]
    rows = _by_case(seen)
    return Bottlenecks(
        evalset=name,
        runs=len(results),
        timed=len(seen),
        stages=stage_rows(seen),
        slowest=tuple(sorted(rows, key=lambda row: -row.latency_ms)[:_CASES]),
        dearest=tuple(sorted(filter(_dear, rows), key=_price)[:_CASES]),
        findings=ranked(findings),
        notes=tuple(_notes(results, seen, run, concurrency)),
    )


def _worth_it(seen: Sequence[Seen]) -> list[Finding]:
    """Return the findings on stages that matter; the largest in any case."""
    found = list(stage_findings(seen))
    return [each for each in found if (each.share or 0.0) >= _LEAST] or list(ranked(found)[:1])


def _by_case(seen: Sequence[Seen]) -> list[CaseRow]:
    cases: dict[str, list[Seen]] = {}
    for each in seen:
        cases.setdefault(each.result.case, []).append(each)
    return [_case(case, runs) for case, runs in cases.items()]


def _case(case: str, runs: Sequence[Seen]) -> CaseRow:
    stages = {stage for each in runs for stage in each.own}
    own = {s: sum(each.own.get(s, 0.0) for each in runs) / len(runs) for s in sorted(stages)}
    stage = max(own, key=lambda each: own[each], default=None)
    return CaseRow(
        case=case,
        latency_ms=sum(each.latency for each in runs) / len(runs),
        stage=stage,
        stage_ms=None if stage is None else own[stage],
        input_tokens=mean(each.input_tokens for each in runs),
        cost_usd=mean(number(each.result.cost_usd) for each in runs),
    )


def _dear(row: CaseRow) -> bool:
    return bool(row.cost_usd or row.input_tokens)


def _price(row: CaseRow) -> tuple[float, float]:
    return -(row.cost_usd or 0.0), -(row.input_tokens or 0.0)


# --- what the figures rest on -----------------------------------------------------------------


def _notes(
    results: Sequence[Result], seen: Sequence[Seen], run: Run, concurrency: int
) -> Iterator[str]:
    if not run.complete:
        yield "The record is of no complete run: what it holds is told."
    outcomes = Counter(result.outcome for result in results)
    if outcomes["error"]:
        broke = f"{outcomes['error']:,} of {len(results):,} runs broke"
        yield f"{broke}; no time of theirs is in a stage."
    if outcomes["not_run"]:
        yield f"{outcomes['not_run']:,} of {len(results):,} runs were not run."
    if not seen:
        yield "No run came to an end, so nothing can be said of time."
        return
    if len(seen) < _FEW:
        yield f"{len(seen)} timed runs are few: p95 and p99 are hardly more than the slowest."
    if concurrency > 1:
        yield (
            f"Up to {concurrency} questions ran at a time and shared processors: one alone may be "
            "faster."
        )
    yield from _told_stages(seen)
    yield from _told_calls(seen)


def _told_stages(seen: Sequence[Seen]) -> Iterator[str]:
    if not any(stage != OUTSIDE for each in seen for stage in each.own):
        yield (
            "The record knows no stages: the pipeline is no LlamaIndex object, or was never traced."
        )
    elif not any(each.cpu for each in seen):
        yield "The record holds no processor times, so working is not told from waiting."


def _told_calls(seen: Sequence[Seen]) -> Iterator[str]:
    calls = [c for each in seen for c in each.result.calls if c.get("stage") != "judge"]
    origins = Counter(str(call.get("origin", "live")) for call in calls)
    again = [f"{n:,} from a {origin}" for origin, n in sorted(origins.items()) if origin != "live"]
    if again:
        yield (
            f"Of {len(calls):,} calls of models, {' and '.join(again)}: their times are those of "
            "when they were recorded."
        )
    counted = sum(bool(call.get("estimated")) for call in calls)
    if counted:
        yield f"The tokens of {counted:,} calls were counted here; their provider did not say."
    nodes = [node for each in seen for node in each.result.retrieved or ()]
    if nodes and all(number(node.get("tokens")) is None for node in nodes):
        yield (
            "The record does not hold how long the retrieved texts are, so what was used of them "
            "is told by gold alone."
        )
    unpriced = [c for c in calls if c.get("stage") == "llm" and number(c.get("cost_usd")) is None]
    if unpriced:
        models = sorted({str(call.get("model")) for call in unpriced})
        yield f"What {', '.join(models)} costs is unknown, so no saving of money is told."
