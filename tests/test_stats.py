"""Intervals and quantiles, against hand-worked numbers and SciPy."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from pytest_rag.stats import mean_interval, quantile, quantile_interval, wilson

SHARES = st.floats(0, 1, allow_subnormal=False)


def skewed(n):
    """Return scores as they come of a good pipeline: most near 1."""
    rng = random.Random(n)
    return [rng.betavariate(4, 1) for _ in range(n)]


SAMPLES = {
    "skewed": skewed(40),
    "large": skewed(600),
    "zeros and ones": [1.0] * 70 + [0.0] * 11,
    "few levels": [0.2, 0.4, 0.4, 0.6, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    "five": [0.1, 0.5, 0.5, 0.9, 1.0],
    "outlier": [1.0] * 20 + [50.0],
}


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES.keys())
def test_interval_is_that_of_scipy(values, level):
    """The BCa interval is SciPy's, but for the noise of the resampling and one step of a mean."""
    theirs = oracle.bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=20_000, method="BCa", rng=7
    ).confidence_interval
    noise = 0.15 * np.std(values, ddof=1) / len(values) ** 0.5
    step = np.diff(np.unique(values)).min() / len(values)
    found = mean_interval(values, level=level)
    assert found == pytest.approx(tuple(theirs), abs=noise + step)


@pytest.mark.parametrize("values", [[], [0.7]])
def test_one_value_has_no_interval(values):
    """Fewer than two values say nothing of their spread."""
    assert mean_interval(values) is None


@pytest.mark.parametrize("n", [2, 3, 93])
def test_equal_values_have_an_interval_of_no_width(n):
    """Equal values give that value twice, whatever its binary fraction."""
    assert mean_interval([0.1] * n) == (0.1, 0.1)


def test_two_values():
    """Two different values give the whole range between them."""
    assert mean_interval([0.0, 1.0]) == (0.0, 1.0)


def test_interval_is_the_same_every_time_and_in_every_order():
    """The seed alone decides on the resampling, not the order in which cases ended."""
    values = skewed(30)
    shuffled = random.Random(1).sample(values, len(values))
    assert mean_interval(values) == mean_interval(shuffled)
    assert mean_interval(values) != mean_interval(values, seed=1)


def test_tiny_values_do_not_vanish():
    """Values whose third power is below the smallest float still have an interval."""
    low, high = mean_interval([value * 1e-150 for value in skewed(20)])
    expected = mean_interval(skewed(20))
    assert (low * 1e150, high * 1e150) == pytest.approx(expected)


def test_thousands_of_values_are_quick_and_narrow():
    """A large sample takes fewer resamples, and still gives its interval."""
    low, high = mean_interval(skewed(20_000))
    assert low < 0.8 < high
    assert high - low < 0.006


@settings(max_examples=40, deadline=None)
@given(st.lists(SHARES, min_size=2, max_size=30))
def test_interval_lies_within_the_values(values):
    """An interval is ordered and never leaves the range of the values."""
    low, high = mean_interval(values)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (85, 93), (1, 1), (3, 1000)])
def test_wilson_is_that_of_scipy(successes, n):
    """Wilson's interval is SciPy's."""
    theirs = oracle.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_of_nothing():
    """A share of nothing has no interval."""
    assert wilson(0, 0) is None


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [([1, 2, 3, 4], 0.5, 2.5), ([10, 20], 0.95, 19.5), ([7], 0.95, 7), ([3, 1, 2], 1, 3)],
)
def test_quantile_interpolates(values, q, expected):
    """A quantile between two values is their weighted mean."""
    assert quantile(values, q) == pytest.approx(expected)


@pytest.mark.parametrize("n", [6, 20, 72, 73, 500, 5000])
@pytest.mark.parametrize("q", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_quantile_interval_is_that_of_scipy(n, q, level):
    """The interval runs between SciPy's order statistics, and is missing where one of them is."""
    values = np.random.default_rng(n).exponential(size=n)
    theirs = oracle.quantile_test(values, p=q).confidence_interval(level)
    expected = None if np.isnan(theirs).any() else tuple(theirs)
    assert quantile_interval(values, q, level=level) == expected


@pytest.mark.parametrize(
    ("q", "fewest", "expected"), [(0.5, 6, (1, 6)), (0.95, 72, (64, 72)), (0.99, 368, (360, 368))]
)
def test_quantile_interval_needs_enough_values(q, fewest, expected):
    """One value fewer, and no interval can be said; n = 0 and 1 have none either."""
    assert quantile_interval(range(1, fewest + 1), q) == expected
    for n in (0, 1, fewest - 1):
        assert quantile_interval(range(n), q) is None


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_quantile_interval_holds_the_quantile_as_often_as_it_says(q):
    """In 2000 draws of 100 skewed values, at least 95 % of the intervals hold the truth."""
    draws = np.random.default_rng(2).exponential(size=(2000, 100))
    found = [quantile_interval(draw, q) for draw in draws]
    held = np.mean([low <= -np.log(1 - q) <= high for low, high in found])
    assert 0.94 < held < 0.985


@pytest.mark.parametrize(("q", "level"), [(0, 0.95), (1, 0.95), (0.5, 1), (float("nan"), 0.95)])
def test_quantile_interval_refuses_what_has_none(q, level):
    """The ends of a distribution have no interval, and no interval is certain."""
    with pytest.raises(ValueError, match="above 0 and below 1"):
        quantile_interval([1.0, 2.0], q, level=level)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), None])
@pytest.mark.parametrize("interval", [mean_interval, lambda values: quantile_interval(values, 0.5)])
def test_intervals_refuse_what_is_no_number(interval, bad):
    """A value that could not be computed is refused, and where it stands is said."""
    with pytest.raises(ValueError, match=r"must be finite: found \S+ at index 1"):
        interval([0.5, bad, 0.7])
