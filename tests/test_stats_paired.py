"""The sign-flip test and what surrounds it, against hand-worked numbers and SciPy."""

from __future__ import annotations

import random
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from pytest_rag.stats import case_means, holm, paired_differences, sign_flip_test

BAD = [float("nan"), float("inf"), -float("inf"), None]
SEVENTHS = st.integers(-21, 21).map(lambda k: k / 7)
FEW = st.lists(SEVENTHS, max_size=14)
MANY = st.lists(st.integers(-(10**6), 10**6).filter(bool), min_size=40, max_size=60, unique_by=abs)


def normal(n, *, mean=-0.1, seed=0):
    """Return differences of any size, about 0.3 apart."""
    return np.random.default_rng((n, seed)).normal(mean, 0.3, n)


def counted(differences):
    """Return p by writing every pattern of signs out."""
    signs = 1 - 2 * (np.arange(2 ** len(differences))[:, None] >> np.arange(len(differences)) & 1)
    return np.mean(signs @ np.abs(differences) <= np.sum(differences) + 1e-9)


# --- exact ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([], 1),
        ([0.0, 0.0], 1),
        ([-0.3], 1 / 2),
        ([0.3], 1),
        ([-1, -1, -1, -1, -1], 1 / 32),
        ([-1, -1, 1], 4 / 8),
        ([-3, -2, 1], 2 / 8),  # of the subsets: {}, sum 0; {1}, sum 1
        ([-3, 1, 2], 5 / 8),  # {}, {1}, {2}, {1, 2}, and {-3, 1, 2}, which is a tie
        ([-1, -1, 0, 0, 0], 1 / 4),
    ],
)
def test_by_hand(differences, expected):
    """Small samples have the p-value that fingers count."""
    assert sign_flip_test(differences) == expected


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [2, 5, 9, 13])
def test_exact_is_that_of_scipy(n, seed):
    """Every pattern of signs is counted, as SciPy counts them."""
    differences = normal(n, seed=seed)
    theirs = oracle.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        alternative="less",
        n_resamples=np.inf,
    )
    assert sign_flip_test(differences) == theirs.pvalue


def test_twenty_differences_are_exact():
    """Twenty differences of any size give one of 2**20 p-values, the one that counting finds."""
    differences = normal(20)
    assert sign_flip_test(differences) == counted(differences)


@pytest.mark.parametrize("n", [20, 32])
def test_ranks_are_the_test_of_wilcoxon(n):
    """On signed ranks the test is Wilcoxon's, whose exact p-value SciPy knows."""
    ranks = np.arange(1, n + 1) * np.random.default_rng(n).choice([-1, -1, 1], n)
    theirs = oracle.wilcoxon(ranks, alternative="less", method="exact").pvalue
    assert sign_flip_test(ranks) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(("drops", "rises"), [(1, 0), (12, 3), (70, 40), (30_000, 29_500)])
def test_passes_and_fails_are_a_sign_test(drops, rises):
    """Differences of one size are exact at any number: the test is McNemar's, a binomial."""
    theirs = oracle.binomtest(rises, drops + rises, alternative="less").pvalue
    assert sign_flip_test([-1] * drops + [1] * rises) == pytest.approx(theirs, rel=1e-9)


def test_thousands_of_drops_alone_are_not_impossible():
    """A p-value below the smallest float is still above 0."""
    assert 0 < sign_flip_test([-1.0] * 5000) < 1e-300


def test_the_last_digits_make_no_difference():
    """Sums that are equal but for the order of addition are ties."""
    assert sign_flip_test([-0.3, 0.1, 0.2]) == sign_flip_test([-3, 1, 2])
    assert sign_flip_test([0.5 - 0.7, 0.3 - 0.1]) == sign_flip_test([-1, 1]) == 0.75


@pytest.mark.parametrize("scale", [5e-324, 1e-200, 1e300])
def test_the_unit_makes_no_difference(scale):
    """Neither tiny nor huge differences vanish or overflow."""
    assert sign_flip_test([-3 * scale, -2 * scale, 1 * scale]) == 0.25


# --- sampled ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [33, 41, 50])
def test_sampled_is_close_to_wilcoxon(n):
    """Above 32 sizes the p-value is sampled, within four standard errors of the exact one."""
    ranks = np.arange(1, n + 1) * np.random.default_rng(n).choice([-1, -1, 1], n)
    theirs = oracle.wilcoxon(ranks, alternative="less", method="exact").pvalue
    error = (theirs * (1 - theirs) / 99_999) ** 0.5
    assert sign_flip_test(ranks) == pytest.approx(theirs, abs=4 * error + 1e-5)


def test_sampled_is_close_to_scipy():
    """SciPy's random patterns are others, and say the same."""
    differences = normal(150, mean=-0.04)
    theirs = oracle.permutation_test(
        (differences,),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        alternative="less",
        vectorized=True,
        n_resamples=9999,
        rng=1,
    ).pvalue
    assert sign_flip_test(differences) == pytest.approx(theirs, abs=0.012)


def test_sampled_p_has_one_added():
    """Random patterns never say that a drop is impossible by chance."""
    assert sign_flip_test(-np.arange(1, 101), resamples=499) == 1 / 500
    assert sign_flip_test(np.arange(1, 101), resamples=3) == 1


def test_the_seed_decides():
    """The same seed gives the same p-value, another seed another one."""
    differences = normal(200, mean=0)
    assert sign_flip_test(differences) == sign_flip_test(list(differences))
    assert sign_flip_test(differences) != sign_flip_test(differences, seed=1)


@pytest.mark.parametrize("n", [12, 60])
def test_nothing_changed_is_seldom_called_a_drop(n):
    """Where nothing changed, p is at most 0.05 in one of twenty samples: the test is valid."""
    draws = np.random.default_rng(n).standard_t(3, size=(2000, n))
    ps = [sign_flip_test(draw, seed=i, resamples=999) for i, draw in enumerate(draws)]
    share = np.mean(np.array(ps) <= 0.05)
    assert share == pytest.approx(0.05, abs=0.015)


def test_a_hundred_thousand_cases_are_quick_and_small():
    """Six metrics of 100,000 cases take seconds, and memory does not grow with the patterns."""
    metrics = np.random.default_rng(0).normal(0, 0.2, (6, 100_000))
    holm([sign_flip_test(metric) for metric in metrics])
    tracemalloc.start()
    sign_flip_test(metrics[0], resamples=2000)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


# --- properties -------------------------------------------------------------------------------


@pytest.mark.parametrize("lists", [FEW, MANY], ids=["exact", "sampled"])
def test_properties(lists):
    """P lies in (0, 1], knows no order and no zeros, and falls as scores do."""

    @settings(max_examples=60, deadline=None)
    @given(lists, st.integers(1, 30), st.randoms(use_true_random=False))
    def holds(differences, shift, rng):
        p = sign_flip_test(differences, resamples=199)
        assert 0 < p <= 1
        shuffled = rng.sample([*differences, 0.0], len(differences) + 1)
        assert sign_flip_test(shuffled, resamples=199) == p
        lower = [value - (shift - 0.5) / 7 for value in differences]
        assert sign_flip_test(lower, resamples=199) <= p * (1 + 1e-12)

    holds()


@settings(max_examples=60, deadline=None)
@given(FEW)
def test_exact_is_counting(differences):
    """With ties, zeros and equal sizes, p is still the share of patterns counted."""
    assert sign_flip_test(differences) == pytest.approx(counted(differences), rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(FEW, st.floats(1e-6, 1e6))
def test_signs_are_symmetric(differences, scale):
    """A drop and a rise share all patterns but ties: the two p-values sum to at least 1."""
    down = sign_flip_test(differences)
    up = sign_flip_test([-value for value in differences])
    assert down + up >= 1
    assert (down < up) == (sum(differences) < -1e-9) or down == up
    assert sign_flip_test([value * scale for value in differences]) == pytest.approx(down)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_number_is_refused(bad):
    """A score that could not be computed belongs in no test."""
    with pytest.raises(ValueError, match=r"must be finite: found \S+ at index 1"):
        sign_flip_test([0.5, bad])
    with pytest.raises(ValueError, match="must be finite"):
        case_means([bad], ["a"])
    with pytest.raises(ValueError, match="must be finite"):
        paired_differences({"a": 1.0}, {"a": bad})


def test_no_resamples_are_refused():
    """A p-value rests on one pattern at the least."""
    with pytest.raises(ValueError, match="at least 1, not 0"):
        sign_flip_test([1.0], resamples=0)


# --- Holm -------------------------------------------------------------------------------------


def test_holm_by_hand():
    """The smallest is multiplied by all, the next by one fewer, and none falls below another."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_bonferroni_on_every_subset(pvalues):
    """The adjusted value is the largest Bonferroni value of any subset: the closure principle."""
    places = range(len(pvalues))
    subsets = [s for size in places for s in combinations(places, size + 1)]
    value = {s: min(1.0, len(s) * min(pvalues[i] for i in s)) for s in subsets}
    expected = [max(value[s] for s in subsets if i in s) for i in places]
    assert holm(pvalues) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_holm_refuses_what_is_no_probability(bad):
    """A p-value lies between 0 and 1."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, bad])


# --- cases ------------------------------------------------------------------------------------


def test_repeats_are_averaged_within_a_case():
    """A case with more repeats weighs no more; cases keep the order of their first run."""
    means = case_means([1.0, 0.0, 0.5, 0.0, 0.5], ["b", "a", "b", "a", "b"])
    assert list(means.items()) == [("b", pytest.approx(2 / 3)), ("a", 0.0)]
    assert case_means([], []) == {}


def test_every_value_needs_a_case():
    """Values and cases come in equal numbers."""
    with pytest.raises(ValueError, match="2 values for 1 cases"):
        case_means([1.0, 2.0], ["a"])


def test_cases_of_both_runs_are_paired():
    """What only one run holds is left out."""
    head, base = {"new": 1.0, "b": 0.5, "a": 0.25}, {"a": 0.75, "b": 0.5, "gone": 1.0}
    assert list(paired_differences(head, base).items()) == [("b", 0.0), ("a", -0.5)]
    assert paired_differences(head, {}) == {}


def test_repeats_in_another_order_are_no_change():
    """The last digit of a sum is no difference that a test could believe."""
    runs = [random.Random(i).choices([0.1, 0.2, 0.3, 1 / 3], k=5) for i in range(200)]
    cases = [str(i) for i in range(200) for _ in range(5)]
    head = case_means([value for run in runs for value in run], cases)
    base = case_means([value for run in runs for value in reversed(run)], cases)
    assert head != base
    assert set(paired_differences(head, base).values()) == {0.0}
