"""Paired ratios of latency: hand-worked, against SciPy's bootstrap, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from pytest_rag.ratios import case_ratios, latency_ratio, stage_ratios
from pytest_rag.records import Result


def result(case, ms, repeat=0, outcome="passed", **stages):
    """Return a run of a case that took so long."""
    return Result(
        evalset="hr",
        case=case,
        repeat=repeat,
        outcome=outcome,
        query="What?",
        latency_ms=ms,
        stages_ms=stages,
        error=None if outcome != "error" else {"type": "E", "message": "", "traceback": ""},
    )


def noisy(seed, cases, rounds, slower=1.0):
    """Return times of both sides, with noise of cases, of processes and of each question."""
    rng = np.random.default_rng(seed)
    usual = rng.lognormal(3, 1, (cases, 1))
    sides = [
        usual * rng.lognormal(0, 0.05, (1, rounds)) * rng.lognormal(0, 0.1, (cases, rounds))
        for _ in range(2)
    ]
    return sides[0], sides[1] * slower


def test_the_ratio_by_hand():
    """Medians over rounds of 2, 2, 9 and 8, 8, 8: the geometric mean of 2 and 8 is 4."""
    base = np.array([[1.0, 1.0, 1.0], [10.0, 10.0, 10.0]])
    head = np.array([[2.0, 2.0, 9.0], [80.0, 80.0, 80.0]])
    found = latency_ratio(base, head)
    assert found.ratio == pytest.approx(4)
    assert (found.base_ms, found.head_ms, found.cases) == (5.5, 44.5, 2)


def test_turning_the_sides_round_turns_the_ratio_round():
    """Head over base is one over base over head, and so are the ends of the interval."""
    base, head = noisy(1, 30, 5, slower=1.5)
    there, back = latency_ratio(base, head), latency_ratio(head, base)
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert there.low == pytest.approx(1 / back.high, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_one_case_or_one_round_has_no_interval(shape):
    """A ratio is told; how sure it is cannot be."""
    found = latency_ratio(np.full(shape, 10.0), np.full(shape, 20.0))
    assert (found.ratio, found.low, found.high) == (pytest.approx(2), None, None)


def test_where_rounds_agree_it_is_scipys_bootstrap_over_cases():
    """Without noise between rounds the interval is SciPy's percentile bootstrap of the mean."""
    rng = np.random.default_rng(5)
    logs = rng.normal(0.1, 0.2, 40)
    base = np.full((40, 3), 10.0)
    head = base * np.exp(logs)[:, None]
    found = latency_ratio(base, head)
    theirs = scipy_stats.bootstrap(
        (logs,), np.mean, method="percentile", n_resamples=9999, rng=rng
    ).confidence_interval
    assert found.low == pytest.approx(np.exp(theirs.low), rel=0.015)
    assert found.high == pytest.approx(np.exp(theirs.high), rel=0.015)


def test_the_interval_holds_what_is_true():
    """With noise of cases and of whole processes it holds the true ratio 19 times in 20."""
    found = [latency_ratio(*noisy(seed, 20, 5, slower=1.3)) for seed in range(80)]
    assert np.mean([each.low <= 1.3 <= each.high for each in found]) >= 0.90
    same = [latency_ratio(*noisy(seed, 20, 5)) for seed in range(80)]
    assert np.mean([each.low > 1 for each in same]) <= 0.05


def test_an_interval_over_cases_alone_is_wrong():
    """Processes differ as a whole: an interval that forgets rounds holds far less than it says."""
    held = []
    for seed in range(80):
        base, head = noisy(seed, 20, 5)
        logs = np.median(np.log(head / base), axis=1)
        half = scipy_stats.t.ppf(0.975, len(logs) - 1) * scipy_stats.sem(logs)
        held.append(abs(logs.mean()) <= half)
    assert np.mean(held) < 0.85


def test_stages_are_paired_by_case_and_round():
    """Each stage has its ratio; repeats of a round are one time, their median."""
    base = [[result("a", 10.0, retrieve=4.0), result("a", 12.0, 1, retrieve=4.0)]] * 2
    head = [[result("a", 22.0, retrieve=4.0)]] * 2
    found = stage_ratios(base, head)
    assert list(found) == ["latency", "retrieve"]
    assert found["latency"].ratio == pytest.approx(2)
    assert found["retrieve"].ratio == pytest.approx(1)
    assert case_ratios(base, head) == {
        "a": {"latency": pytest.approx(2), "retrieve": pytest.approx(1)}
    }


def test_a_case_that_broke_in_a_round_is_in_no_ratio():
    """Time until an error is no time of an answer; the case is counted as left out."""
    base = [[result("a", 10.0), result("b", 10.0)]] * 2
    head = [base[0], [result("a", 10.0), result("b", 900.0, outcome="error")]]
    found = stage_ratios(base, head)["latency"]
    assert (found.ratio, found.cases, found.left_out) == (pytest.approx(1), 1, 1)
    assert list(case_ratios(base, head)) == ["a"]


def test_a_stage_of_one_side_has_no_ratio():
    """A reranker that head added has nothing to be paired with."""
    found = stage_ratios([[result("a", 1.0)]], [[result("a", 2.0, rerank=1.0)]])
    assert list(found) == ["latency"]


def test_times_too_short_to_be_told_are_one():
    """A time that a record rounds to 0 makes no ratio infinite."""
    assert latency_ratio(np.array([[0.0]]), np.array([[0.001]])).ratio == 1
