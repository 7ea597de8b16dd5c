"""A run as one JSON document, and the JSON Schema of it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError

from pytest_rag.gate import by_case, case_outcome
from pytest_rag.redact import redact
from pytest_rag.report.troubles import case_reasons

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_rag.buildings import Building
    from pytest_rag.records import Result
    from pytest_rag.report.reporters import View
    from pytest_rag.report.summary import EvalSetSummary

__all__ = ["document", "document_schema"]

_Outcome = Literal["passed", "failed", "error", "not_run"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metric(_Part):
    """A metric over the cases that have a value."""

    name: str
    n: int = Field(description="Cases with a value.")
    mean: float | None = Field(description="Repeats averaged first; null where nothing has one.")
    low: float | None = Field(description="Lower end of the 95 % interval of the mean.")
    high: float | None = Field(description="Upper end of it.")
    reason: str | None = Field(description="Why most runs without a value have none.")
    corrected: dict[str, float] | None = Field(
        description="The mean that people would give, by their labels; null without any."
    )


class Time(_Part):
    """Milliseconds of a stage, or of the whole."""

    name: str = Field(description="`latency` for the whole, or a stage.")
    n: int
    p50: float
    p95: float
    self_share: float | None = Field(description="Own time as a share of all latency.")
    cpu_share: float | None = Field(description="Processor time as a share of the own time.")


class Spent(_Part):
    """What the runs used; null where a part of it is unknown."""

    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    known_usd: float = Field(description="The part of the cost that is known.")
    unknown_runs: int
    reason: str | None
    origins: dict[str, int] = Field(description="Calls by origin: live, cache, cassette.")


class Gate(_Part):
    """A limit on the whole."""

    name: str
    value: float | None
    passed: bool | None = Field(description="Null where it cannot be judged.")
    reason: str | None
    n: int
    advisory: str | None = Field(description="Why it turns nothing red; null where it does.")


class Advice(_Part):
    """A judged metric whose checks and limits decide nothing."""

    metric: str
    reason: str = Field(description="What nobody has found of its judge, or what was found.")
    checked: int = Field(description="Cases with a check on it.")
    missed: list[str] = Field(description="Those of them that do not keep it.")
    broken: str | None = Field(description="Why a run has no score to check, the first reason.")


class Trouble(_Part):
    """Cases that did not pass for the same reasons."""

    outcome: _Outcome
    reasons: list[str]
    cases: list[str]


class CaseRow(_Part):
    """One case, its repeats together."""

    id: str
    query: str
    tags: list[str]
    outcome: _Outcome
    reasons: list[str] = Field(description="What went wrong, each once.")
    runs: int
    scores: dict[str, float | None]
    latency_ms: float | None
    cost_usd: float | None
    gold_ranks: dict[str, int | None] = Field(description="Of the first run; null: not retrieved.")


class EvalSetPart(_Part):
    """One evalset."""

    name: str
    bad: bool = Field(description="Whether a limit or the comparison makes the build red.")
    why: list[str] = Field(description="What makes it red, a few words each.")
    outcomes: dict[_Outcome, int]
    metrics: list[Metric]
    times: list[Time]
    usage: Spent
    gates: list[Gate]
    comparison: dict[str, Any] | None = Field(description="With the baseline; null without one.")
    notes: list[str]
    troubles: list[Trouble]
    advice: list[Advice]
    cases: list[CaseRow]


class BuildingPart(_Part):
    """One building of a pipeline that asked models for something."""

    evalset: str
    calls: int
    cost_usd: float | None = Field(description="Null where a part of it is unknown.")
    known_usd: float


class Report(_Part):
    """What ``--rag-report=json:PATH`` writes."""

    schema_version: Literal[1] = 1
    verdict: Literal["green", "red", "nothing measured"]
    run_id: str | None
    started: str | None
    git: dict[str, Any] | None
    record: str | None = Field(description="Where the run record is.")
    evalsets: list[EvalSetPart]
    buildings: list[BuildingPart] = Field(description="Their cost is in no evalset's.")


def document_schema() -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pytest-rag report",
        **{k: v for k, v in Report.model_json_schema().items() if k != "title"},
    }


def document(view: View) -> str:
    """Return the run as JSON, which is valid by the schema, without secrets."""
    summary, cases = view.summary, _cases(view.results)
    verdict: Any = "nothing measured"
    if summary.measured:
        verdict = "green" if _green(summary.evalsets) else "red"
    made = Report(
        verdict=verdict,
        run_id=view.header.get("run_id"),
        started=view.header.get("started"),
        git=view.header.get("git"),
        record=view.record,
        evalsets=[_evalset(each, cases.get(each.name, [])) for each in summary.evalsets],
        buildings=[_building(each) for each in view.buildings],
    )
    plain = Report.model_validate(redact(made.model_dump()))
    try:
        return plain.model_dump_json(indent=2) + "\n"
    except PydanticSerializationError:  # halves of characters, which UTF-8 cannot hold
        return json.dumps(plain.model_dump(), indent=2, allow_nan=False) + "\n"


def _green(evalsets: Sequence[EvalSetSummary]) -> bool:
    broken = (each.outcomes["failed"] + each.outcomes["error"] for each in evalsets)
    return not any(broken) and not any(each.held.bad for each in evalsets)


def _building(each: Building) -> BuildingPart:
    known = [call["cost_usd"] for call in each.calls if call.get("cost_usd") is not None]
    usd = math.fsum(known)
    whole = len(known) == len(each.calls)
    return BuildingPart(
        evalset=each.evalset,
        calls=len(each.calls),
        cost_usd=usd if whole else None,
        known_usd=usd,
    )


def _evalset(each: EvalSetSummary, cases: list[Result]) -> EvalSetPart:
    held = each.held.to_dict()
    used = asdict(each.usage)
    return EvalSetPart(
        name=each.name,
        bad=each.held.bad,
        why=list(each.held.reasons),
        outcomes=dict(each.outcomes),
        metrics=[
            Metric(**asdict(row), corrected=held["corrected"].get(row.name)) for row in each.metrics
        ],
        times=[Time(**asdict(row)) for row in each.times],
        usage=Spent(**{name: used[name] for name in Spent.model_fields}),
        gates=[Gate(**gate) for gate in held["gates"]],
        comparison=held["comparison"],
        notes=list(each.held.notes),
        troubles=[Trouble(**_listed(asdict(trouble))) for trouble in each.troubles],
        advice=[Advice(**_listed(asdict(each))) for each in each.advice],
        cases=list(_rows(cases)),
    )


def _listed(fields: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


def _cases(results: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.evalset, []).append(result)
    return found


def _rows(results: Sequence[Result]) -> Iterator[CaseRow]:
    for case, runs in by_case(results).items():
        first = runs[0]
        names = dict.fromkeys(name for run in runs for name in run.scores)
        yield CaseRow(
            id=case,
            query=first.query,
            tags=list(first.tags),
            outcome=case_outcome(runs),
            reasons=list(case_reasons(runs)),
            runs=len(runs),
            scores={name: _mean([_score(run, name) for run in runs]) for name in names},
            latency_ms=_mean([run.latency_ms for run in runs]),
            cost_usd=_sum([run.cost_usd for run in runs]),
            gold_ranks={name: gold.get("rank") for name, gold in first.gold.items()},
        )


def _score(run: Result, name: str) -> float | None:
    value: float | None = run.scores.get(name, {}).get("value")
    return value


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
