"""Results that cost something, for the tests of costs."""

from __future__ import annotations

from datetime import datetime

from pytest_rag.records import Result


def a_call(cost: float | None = 0.001, ended: str = "2026-11-22T12:00:00+00:00", **more) -> dict:
    """Return a call as a record has it."""
    return {
        "stage": "llm",
        "model": "gpt-4o-mini",
        "input_tokens": 100,
        "output_tokens": 10,
        "cost_usd": cost,
        "origin": "live",
        "ended": ended,
        **more,
    }


def a_result(case: str, *calls: dict, evalset: str = "hr", repeat: int = 0) -> Result:
    """Return the result of a case that made some calls."""
    return Result(
        evalset=evalset,
        case=case,
        repeat=repeat,
        outcome="passed",
        query="?",
        latency_ms=1.0,
        calls=list(calls),
    )


def at(text: str) -> datetime:
    """Return a moment."""
    return datetime.fromisoformat(text)
