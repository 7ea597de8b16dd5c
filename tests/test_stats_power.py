"""What a test could have seen, against SciPy's noncentral t and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from pytest_rag.stats import cases_needed, fewest_cases, sign_flip_test, smallest_drop, spread


@pytest.mark.parametrize(
    ("alpha", "expected"), [(0.05, 5), (0.05 / 6, 7), (0.5, 1), (0.9, 1), (1 / 32, 5), (0.031, 6)]
)
def test_fewest_cases(alpha, expected):
    """So many drops alone are evidence, and one fewer are not."""
    assert fewest_cases(alpha) == expected
    assert sign_flip_test([-1.0] * expected) <= alpha
    assert sign_flip_test([-1.0] * (expected - 1)) > alpha


def test_spread():
    """The spread is the sample standard deviation; one value has none."""
    assert spread([1, 2, 3, 4]) == pytest.approx(np.std([1, 2, 3, 4], ddof=1))
    assert spread([0.1] * 93) == 0
    assert spread([0.5]) is None
    assert spread([]) is None


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.05 / 6, 0.001])
@pytest.mark.parametrize("n", [12, 20, 50, 400, 100_000])
def test_power_is_that_of_the_noncentral_t(n, alpha):
    """At the drop returned, the t test finds it with the power asked for."""
    for power in (0.5, 0.8, 0.95):
        drop = smallest_drop(2.0, n, alpha=alpha, power=power)
        critical = oracle.t.ppf(1 - alpha, n - 1)
        found = oracle.nct.sf(critical, n - 1, drop / 2.0 * n**0.5)
        assert found == pytest.approx(power, abs=0.008 if n < 20 else 0.004)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
@pytest.mark.parametrize(
    ("n", "draw"),
    [
        (20, "standard_normal"),
        (60, "standard_normal"),
        (150, "laplace"),
        (400, "uniform"),
    ],
)
def test_power_holds_in_simulation(n, draw, alpha):
    """The sign-flip test itself finds the drop in 80 % of samples, give or take 3 %."""
    rng = np.random.default_rng(n)
    noise = getattr(rng, draw)(size=(1500, n))
    sd = noise.std()
    noise -= noise.mean() + smallest_drop(sd, n, alpha=alpha)
    ps = [sign_flip_test(sample, seed=i, resamples=9999) for i, sample in enumerate(noise)]
    found = np.mean(np.array(ps) <= alpha)
    assert found == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("sd", "n", "alpha"), [(0.0, 50, 0.05), (0.2, 4, 0.05), (0.2, 0, 0.05), (0.2, 1, 0.6)]
)
def test_no_drop_can_be_said(sd, n, alpha):
    """Without a spread, or with too few pairs for any evidence, there is no smallest drop."""
    assert smallest_drop(sd, n, alpha=alpha) is None


@settings(max_examples=60, deadline=None)
@given(
    st.floats(1e-3, 10), st.floats(1e-2, 10), st.floats(1e-6, 0.4), st.sampled_from([0.5, 0.8, 0.9])
)
def test_cases_needed_is_the_first_n_that_will_do(drop, sd, alpha, power):
    """The number returned sees the drop, and one fewer does not."""
    n = cases_needed(drop, sd, alpha=alpha, power=power)
    assert smallest_drop(sd, n, alpha=alpha, power=power) <= drop
    fewer = smallest_drop(sd, n - 1, alpha=alpha, power=power)
    assert fewer is None or fewer > drop


@pytest.mark.parametrize(("drop", "sd", "expected"), [(0.05, 0.2, 101), (0.02, 0.3, 1393)])
def test_cases_needed_by_hand(drop, sd, expected):
    """For a power of 80 %, about ``(1.645 + 0.842)**2 (sd / drop)**2`` and a case or two more."""
    assert cases_needed(drop, sd, alpha=0.05) == expected


def test_cases_that_all_drop_alike_are_the_fewest():
    """Without spread, as many cases will do as can reach alpha at all."""
    assert cases_needed(0.1, 0.0, alpha=0.05) == fewest_cases(0.05)


@given(st.floats(0.01, 10), st.integers(6, 10_000))
def test_more_cases_and_less_spread_see_more(sd, n):
    """The drop is in the unit of the spread, and falls with the number of cases."""
    drop = smallest_drop(sd, n, alpha=0.05)
    assert smallest_drop(2 * sd, n, alpha=0.05) == pytest.approx(2 * drop)
    assert smallest_drop(sd, n + 1, alpha=0.05) < drop
    assert smallest_drop(sd, n, alpha=0.01) is None or drop < smallest_drop(sd, n, alpha=0.01)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("alpha", [0, 1, -0.1, NAN])
def test_impossible_levels_are_refused(alpha):
    """A level lies between 0 and 1."""
    with pytest.raises(ValueError, match="alpha must lie above 0 and below 1"):
        fewest_cases(alpha)
    with pytest.raises(ValueError, match="alpha must lie"):
        smallest_drop(0.1, 20, alpha=alpha)


def test_other_impossible_arguments_are_refused():
    """Spread, drop and power are held to their ranges."""
    for sd in (-1.0, NAN, INF):
        with pytest.raises(ValueError, match="sd must be at least 0"):
            smallest_drop(sd, 20, alpha=0.05)
    for drop in (0.0, -0.1, NAN, INF):
        with pytest.raises(ValueError, match="drop must be above 0"):
            cases_needed(drop, 0.1, alpha=0.05)
    for power in (0.05, 1.0, NAN):
        with pytest.raises(ValueError, match=r"power must lie above 0\.05"):
            smallest_drop(0.1, 20, alpha=0.05, power=power)
    with pytest.raises(ValueError, match="finite"):
        spread([1.0, NAN])
