"""The plan's lines: runs counted, calls and cost told only as far as they are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_rag.records import Result, Run
from pytest_rag.report.plan import plan_lines
from pytest_rag.types import Case, EvalSet


def evalset(name, *repeats):
    """Return an evalset with a case for each number of repeats."""
    cases = tuple(Case(id=str(i), query="?", repeat=n) for i, n in enumerate(repeats))
    return EvalSet(name=name, path=Path(f"{name}.rag.yaml"), cases=cases)


def run_of(name, *costs, calls=2, latency_ms=1.0):
    """Return the record of an earlier run with a result for each cost."""
    results = tuple(
        Result(
            evalset=name,
            case=str(i),
            outcome="passed",
            query="?",
            latency_ms=latency_ms,
            calls=[{"stage": "llm"}] * calls,
            cost_usd=cost,
        )
        for i, cost in enumerate(costs)
    )
    return Run(header={}, results=results)


def test_without_a_record_calls_and_cost_are_unknown():
    """Unknown is said, with what to type; it is not 0."""
    (line,) = plan_lines([evalset("hr", 1, 1)], None)
    assert line == (
        "hr: 2 cases x 1 = 2 runs; calls and cost: unknown (no earlier record; give --out of one)"
    )


def test_the_option_is_the_callers():
    """The same option has another name in pytest."""
    (line,) = plan_lines([evalset("hr", 1)], None, option="--rag-out")
    assert line.endswith("give --rag-out of one)")


def test_the_mean_of_a_run_is_scaled_to_the_runs():
    """Two calls and 0.02 USD a run: ten runs cost five times what the two did."""
    (line,) = plan_lines([evalset("hr", 5, 5)], run_of("hr", 0.01, 0.03))
    assert line == "hr: 2 cases x 5 = 10 runs; about 20 calls, $0.20"


def test_several_evalsets_are_added_up():
    """Cases with different repeats are counted one by one, and all evalsets together."""
    lines = list(plan_lines([evalset("hr", 1, 3), evalset("it", 1)], run_of("it", 0.25)))
    assert lines[0].startswith("hr: 2 cases, 4 runs; calls and cost: unknown (the earlier record")
    assert lines[1] == "it: 1 case x 1 = 1 run; about 2 calls, $0.25"
    assert lines[2] == "together: 3 cases, 5 runs"


@pytest.mark.parametrize(
    ("costs", "said"),
    [((None,), "cost unknown"), ((0.25, None), "$0.25 (the cost of 1 of 2 earlier runs is known)")],
)
def test_an_unknown_cost_is_not_zero(costs, said):
    """A run whose cost nobody knew does not make the estimate cheaper."""
    (line,) = plan_lines([evalset("hr", 1)], run_of("hr", *costs))
    assert line.endswith(f"about 2 calls, {said}")


def test_runs_that_never_began_tell_nothing():
    """A record of a run without its key estimates nothing."""
    (line,) = plan_lines([evalset("hr", 1)], run_of("hr", None, calls=0, latency_ms=None))
    assert "unknown" in line
