"""A fall where a case ran another number of times before than now: SciPy's answers, and more."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
import pytest
import scipy.stats

from pytest_rag.stats import Runs, sign_flip_test, skew_test, uneven_test


def runs(means, counts) -> Runs:
    """Return one side; one count for all where it is a number."""
    values = np.array(means, dtype=float)
    return Runs(means=values, counts=np.broadcast_to(counts, values.shape).astype(np.int64))


def dealt(base: Runs, head: Runs) -> float:
    """Return the share of all deals that fall at least as far, by SciPy's hypergeometric."""
    falls = []
    for was, n, now, m in zip(base.means, base.counts, head.means, head.counts, strict=True):
        high = round(was * n + now * m)
        hand = scipy.stats.hypergeom(n + m, high, n)
        falls.append([((high - k) / m - k / n, hand.pmf(k)) for k in range(n + 1)])
    found = float((head.means - base.means).sum())
    deals = ((sum(f for f, _ in deal), prod(p for _, p in deal)) for deal in product(*falls))
    return sum(chance for fall, chance in deals if fall <= found + 1e-9)


@pytest.mark.parametrize("counts", [(1, 5), (5, 1), (2, 3)], ids=str)
def test_passes_and_fails_are_dealt_as_scipy_deals_them(counts):
    """Six cases, every deal of their runs; p is the larger of that and of the sign-flip test."""
    rng = np.random.default_rng(7)
    for _ in range(12):
        before, now = (
            runs(rng.binomial(n, p, 6) / n, n) for n, p in zip(counts, (0.8, 0.5), strict=True)
        )
        changes = now.means - before.means
        expected = 1.0
        if changes.sum() < 0:
            expected = max(dealt(before, now), sign_flip_test(changes))
        assert uneven_test(before, now) == pytest.approx(expected, rel=1e-9)


def test_one_run_without_a_failure_proves_nothing():
    """Twenty passes before; ten failures in a hundred runs now are what such cases always did."""
    before = runs([1.0] * 20, 1)
    now = runs([0.8] * 10 + [1.0] * 10, 5)
    assert sign_flip_test(now.means - before.means) < 0.001
    assert uneven_test(before, now) == pytest.approx((5 / 6) ** 10, rel=1e-9)


def test_a_fall_is_found_all_the_same():
    """Half of the runs fail where one of one passed."""
    assert uneven_test(runs([1.0] * 20, 1), runs([0.4] * 20, 5)) < 0.001


def test_equal_counts_are_a_matter_of_signs():
    """Then it is the sign-flip test."""
    before, now = runs([0.5, 0.7, 0.9, 0.4, 0.8], 3), runs([0.4, 0.6, 0.7, 0.3, 0.9], 3)
    assert uneven_test(before, now) == sign_flip_test(now.means - before.means)


def test_cases_of_equal_counts_flip_beside_those_that_are_dealt():
    """One case that ran more often makes none of the others doubtful."""
    before = runs([1.0] * 12, [1] * 12)
    now = runs([0.0] * 10 + [0.8, 1.0], [1] * 10 + [5, 5])
    assert uneven_test(before, now) == pytest.approx(2**-10 * 5 / 6, abs=0.0005)


def test_scores_that_hardly_repeat_are_corrected_for_skewness():
    """Of a hundred scores that all differ no single run can hide a fall."""
    rng = np.random.default_rng(3)
    before = rng.uniform(0.4, 0.9, 100)
    now = before + rng.normal(-0.02, 0.05, 100)
    changes = now - before
    expected = max(sign_flip_test(changes), skew_test(changes))
    assert uneven_test(runs(before, 1), runs(now, 5)) == expected


def test_the_ends_of_a_scale_that_single_runs_show():
    """P@5 with one gold document is 0.2 or 0: it varies no more than that."""
    before = runs([0.2] * 20, 1)
    assert uneven_test(before, runs([0.08] * 20, 5)) == uneven_test(
        runs([1.0] * 20, 1), runs([0.4] * 20, 5)
    )


def test_rises_are_none_of_its_business():
    """A mean that did not fall has a p of 1."""
    assert uneven_test(runs([0.5, 0.6], 1), runs([0.6, 0.6], 5)) == 1.0


def test_values_that_are_no_numbers():
    """They are refused."""
    with pytest.raises(ValueError, match="must be finite"):
        uneven_test(runs([np.nan], 1), runs([0.5], 5))
