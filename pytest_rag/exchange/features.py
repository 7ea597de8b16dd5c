"""Evalsets and runs as typed columns: what a dataset of them holds, and one row of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_rag.types import STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_rag.records import Result
    from pytest_rag.types import Case, Limit

__all__ = ["CASE", "RESULT", "case_row", "case_values", "result_row"]

_S, _I, _F, _B = "string", "int64", "float64", "bool"

# A text is a column's type, a list holds one of its kind, a mapping names fields.
CASE: dict[str, Any] = {
    "id": _S,
    "query": _S,
    "answer": [_S],
    "relevant": [{"id": _S, "grade": _I}],
    "forbidden": [_S],
    "answerable": _B,
    "tags": [_S],
    "filters": _S,
    "checks": _S,
    "repeat": _I,
    "min_pass": _I,
    "timeout_s": _F,
    "evidence": [{"id": _S, "quote": _S}],
    "reviewed": _B,
}
_TIMES = dict.fromkeys(STAGES, _F)
_CALL = {
    "stage": _S,
    "model": _S,
    "input_tokens": _I,
    "cached_input_tokens": _I,
    "output_tokens": _I,
    "cost_usd": _F,
    "latency_ms": _F,
    "origin": _S,
}
RESULT: dict[str, Any] = {
    "run_id": _S,
    "started": _S,
    "commit": _S,
    "evalset": _S,
    "case": _S,
    "repeat": _I,
    "outcome": _S,
    "query": _S,
    "answer": _S,
    "retrieved": [{"id": _S, "rank": _I, "score": _F, "node": _S}],
    "gold": [{"id": _S, "grade": _I, "rank": _I, "indexed": _B, "lost": _S}],
    "scores": [{"metric": _S, "value": _F, "reason": _S, "version": _S}],
    "checks": [
        {
            "metric": _S,
            "min": _F,
            "max": _F,
            "argument": _S,
            "value": _F,
            "passed": _B,
            "reason": _S,
        }
    ],
    "latency_ms": _F,
    "wait_ms": _F,
    "stages_ms": _TIMES,
    "self_ms": _TIMES,
    "cpu_ms": _TIMES,
    "calls": [_CALL],
    "input_tokens": _I,
    "output_tokens": _I,
    "cost_usd": _F,
    "judge_cost_usd": _F,
    "error": {"type": _S, "message": _S, "traceback": _S},
    "tags": [_S],
    "notes": [_S],
    "fingerprint": _S,
    "min_pass": _F,
}


def case_values(case: Case) -> dict[str, Any]:
    """Return a case as a row of JSONL has it, without what a row need not say."""
    values: dict[str, Any] = {
        "id": case.id,
        "query": case.query,
        "answer": list(case.answers),
        "relevant": dict(case.relevant),
        "forbidden": list(case.forbidden),
        "tags": list(case.tags),
        "filters": dict(case.filters),
        "checks": {limit.metric: _written(limit) for limit in case.checks},
        "evidence": {gold: list(quotes) for gold, quotes in case.evidence.items()},
    }
    values = {key: value for key, value in values.items() if value}
    if not case.answerable:
        values["answerable"] = False
    if not case.reviewed:
        values["reviewed"] = False
    if case.repeat != 1:
        values |= {"repeat": case.repeat, "min_pass": case.min_pass}
    if case.timeout_s != 60.0:
        values["timeout_s"] = case.timeout_s
    return values


def _written(limit: Limit) -> dict[str, Any]:
    """Return a limit as people write it, with both what is compared and the bounds."""
    bounds = {"min": limit.min, "max": limit.max}
    written = {key: bound for key, bound in bounds.items() if bound is not None}
    if isinstance(limit.argument, dict):
        return {**limit.argument, **written}
    return written if limit.argument is None else {"value": limit.argument, **written}


def case_row(case: Case) -> dict[str, Any]:
    """Return a case with every column of `CASE`."""
    return {
        "id": case.id,
        "query": case.query,
        "answer": list(case.answers),
        "relevant": [{"id": gold, "grade": grade} for gold, grade in case.relevant.items()],
        "forbidden": list(case.forbidden),
        "answerable": case.answerable,
        "tags": list(case.tags),
        "filters": _json(case.filters),
        "checks": _json({limit.metric: _written(limit) for limit in case.checks}),
        "repeat": case.repeat,
        "min_pass": case.min_pass,
        "timeout_s": case.timeout_s,
        "evidence": [
            {"id": gold, "quote": quote} for gold, said in case.evidence.items() for quote in said
        ],
        "reviewed": case.reviewed,
    }


def _json(value: Any) -> str | None:
    return json.dumps(value, ensure_ascii=False) if value else None


def result_row(result: Result, header: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with every column of `RESULT`.

    Args:
        result: Of a run.
        header: Of the run.
    """
    line = result.to_dict()
    row = {column: _fitting(RESULT[column], line.get(column)) for column in RESULT}
    row |= {
        "run_id": header.get("run_id"),
        "started": header.get("started"),
        "commit": (header.get("git") or {}).get("commit"),
        "gold": [_fitting(RESULT["gold"][0], {"id": k, **v}) for k, v in line["gold"].items()],
        "scores": [
            _fitting(RESULT["scores"][0], {"metric": k, **v}) for k, v in line["scores"].items()
        ],
    }
    return row


def _fitting(kind: Any, value: Any) -> Any:
    """Return a value as its column takes it; what is no text and should be becomes JSON."""
    if value is None:
        return None
    if isinstance(kind, list):
        return [_fitting(kind[0], each) for each in value] if isinstance(value, list) else None
    if isinstance(kind, dict):
        return {name: _fitting(of, value.get(name)) for name, of in kind.items()}
    if kind == _S and not isinstance(value, str):
        return _json(value) or json.dumps(value)
    return float(value) if kind == _F and isinstance(value, int | float) else value
