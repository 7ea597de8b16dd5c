"""Base and head of an evalset side by side, from recorded results."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_rag.records import Result
from pytest_rag.sides import Asked, Rounds, judge_sides
from pytest_rag.types import Case, EvalSet


def rounds(ms, *, cases=("a", "b"), count=3, cost=0.002):
    """Return rounds in which every case takes so long and costs so much."""
    made = [
        [
            Result(
                evalset="hr",
                case=case,
                outcome="passed",
                query="What?",
                latency_ms=ms,
                cost_usd=cost,
                input_tokens=100,
                output_tokens=None,
            )
            for case in cases
        ]
        for _ in range(count)
    ]
    return Rounds(results=made, facts={})


def judged(base, head, max_slowdown=None):
    """Judge two sides of an evalset without a gate."""
    cases = tuple(Case(id=name, query="What?") for name in ("a", "b"))
    evalset = EvalSet(name="hr", path=Path("hr.rag.yaml"), cases=cases)
    return judge_sides(Asked(evalset=evalset, bar="main", max_slowdown=max_slowdown), base, head)


@pytest.mark.parametrize(("most", "bad"), [(None, False), (1.4, True), (1.6, False)])
def test_a_slowdown_is_red_where_its_lower_end_is_beyond_the_limit(most, bad):
    """Half as slow again is tolerated up to 1.6 and not up to 1.4; unasked it is only shown."""
    assert judged(rounds(10.0), rounds(15.0), most).bad is bad


def test_without_an_interval_no_limit_on_latency_is_kept():
    """One case cannot show that head is not slower, so the limit fails; unasked it does not."""
    one = rounds(10.0, cases=("a",))
    assert "an interval takes two cases and two rounds" in judged(one, one, 1.2).reasons[0]
    assert not judged(one, one).bad


def test_without_a_time_no_limit_on_latency_is_kept():
    """Nothing was timed: missing data passes no limit."""
    assert judged(rounds(None), rounds(None), 1.2).bad


def test_cost_and_tokens_stand_side_by_side():
    """They are a question's mean; what is unknown of one question is unknown, not 0."""
    found = judged(rounds(10.0), rounds(10.0, cost=0.004))
    assert (found.base.cost_usd, found.head.cost_usd) == pytest.approx((0.002, 0.004))
    assert (found.head.input_tokens, found.head.output_tokens) == (100, None)
