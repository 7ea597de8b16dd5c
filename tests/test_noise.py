"""The noise floor: hand-worked, held to its promise by simulation, and to SciPy's t."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from pytest_rag import noise
from pytest_rag.records import Result


def run(*values, outcomes=None, metric="R@5", latency=10.0):
    """Return the results of a run: a case a value, None where it broke."""
    kinds = outcomes or ["passed" if v is not None else "error" for v in values]
    return [
        Result(
            evalset="hr",
            case=f"case-{n}",
            outcome=kinds[n],
            query="What?",
            scores={} if v is None else {metric: {"value": v, "reason": None, "version": "1"}},
            latency_ms=latency,
        )
        for n, v in enumerate(values)
    ]


def rows(*runs, **facts):
    """Return what runs show, by metric."""
    return {each.metric: each for each in noise.find("hr", runs, facts).metrics}


def test_runs_that_agree_have_no_noise():
    """A deterministic pipeline's floor is 0, to the last digit that is stored."""
    assert noise.noise_floor([0.7, 0.7, 0.7]) == 0
    assert noise.noise_floor([0.7, 0.7 + 1e-7, 0.7]) == 0


def test_the_floor_by_hand():
    """Of means 0.70, 0.72, 0.74: s = 0.02, t = 2.92, so 2.92 x 1.414 x 0.02 = 0.0826, up: 0.083."""
    assert noise.noise_floor([0.70, 0.72, 0.74]) == 0.083


@pytest.mark.parametrize("runs", [3, 5, 8])
def test_the_floor_is_scipys_prediction_bound(runs):
    """It is t √2 s with SciPy's t, rounded up by less than a tenth of itself."""
    means = np.random.default_rng(runs).normal(0.6, 0.01, runs)
    bound = scipy_stats.t.ppf(0.95, runs - 1) * np.sqrt(2) * means.std(ddof=1)
    exact = max(bound, np.ptp(means))
    assert exact <= noise.noise_floor(means) <= 1.1 * exact


@pytest.mark.parametrize("runs", [3, 5, 20])
def test_the_floor_holds_in_nineteen_of_twenty_comparisons(runs):
    """Two further runs of the same code differ by more than the floor in at most 5 % or so."""
    rng = np.random.default_rng(7)
    trials = 2000
    floors = np.array([noise.noise_floor(rng.normal(0.6, 0.02, runs)) for _ in range(trials)])
    drops = rng.normal(0, 0.02 * np.sqrt(2), trials)
    assert (drops > floors).mean() <= 0.06


def test_a_floor_is_never_under_what_was_seen():
    """One run in twenty that falls far out is the floor, whatever its distribution."""
    assert noise.noise_floor([0.7] * 19 + [0.5]) == 0.2


def test_means_are_of_cases_with_a_value_in_every_run():
    """A case that broke once moves no mean, and is counted."""
    runs = [run(1.0, 0.5), run(1.0, None), run(1.0, 0.5)]
    found = noise.find("hr", runs, {})
    by_name = {each.metric: each for each in found.metrics}
    assert (by_name["R@5"].mean, by_name["R@5"].floor, by_name["R@5"].cases) == (1.0, 0.0, 1)
    assert found.left_out == 1


def test_flips_are_over_pairs_of_runs():
    """One of two cases differs in one of three runs: 2 of 3 pairs, so a third of verdicts."""
    failed = run(1.0, 0.0, outcomes=["passed", "failed"])
    found = rows(run(1.0, 1.0), failed, run(1.0, 1.0))
    assert found["passed"].flips == pytest.approx(1 / 3)
    assert found["R@5"].flips == pytest.approx(1 / 3)
    assert found["R@5"].spread == pytest.approx(0.5)


def test_a_pipeline_that_only_says_it_is_deterministic_is_found_out():
    """Its runs differ, which is told; the floor is not 0."""
    found = noise.find("hr", [run(1.0), run(0.5), run(1.0)], {"deterministic": True})
    assert found.contradicted
    assert found.floors["R@5"] > 0


def test_nothing_in_common_is_no_figure():
    """Runs that share no case have no noise, rather than none at all."""
    found = noise.find("hr", [run(1.0, None), run(None, 1.0), run(1.0, 1.0)], {})
    assert found.metrics == ()
    assert found.floors == {}
