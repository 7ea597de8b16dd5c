"""The binomial and Student's t, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as oracle

from pytest_rag.stats.distributions import binomial, finite, student_quantile

QUANTILES = [1e-5, 0.001, 0.05, 0.3, 0.5, 0.51, 0.8, 0.95, 0.975, 0.99, 0.999, 1 - 1e-5]
DEGREES = [1, 2, 3, 4, 5, 9, 10, 29, 30, 99, 199, 200, 201, 202, 1000, 10**5, 10**9]


@pytest.mark.parametrize("df", DEGREES)
def test_student_is_that_of_scipy(df):
    """The quantile is SciPy's to eight digits, on both sides of where the method changes."""
    found = [student_quantile(q, df) for q in QUANTILES]
    assert found == pytest.approx(oracle.t.ppf(QUANTILES, df), rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("q", [0.03, 0.5, 0.95])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 100, 5000])
def test_binomial_is_that_of_scipy(n, q):
    """Every probability is SciPy's, tails included."""
    theirs = oracle.binom.pmf(np.arange(n + 1), n, q)
    np.testing.assert_allclose(binomial(n, q), theirs, rtol=1e-9, atol=1e-290)


def test_halves_are_exact():
    """Few coins have exact chances."""
    assert binomial(3, 0.5).tolist() == [0.125, 0.375, 0.375, 0.125]


def test_only_flat_sequences_are_samples():
    """A table is refused."""
    with pytest.raises(ValueError, match=r"flat sequence, not of shape \(1, 2\)"):
        finite([[1.0, 2.0]])
