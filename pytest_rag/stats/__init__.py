"""Intervals, tests and power for scores: pure, seeded, numpy only.

- ``intervals`` says how sure a mean, a share or a quantile is,
- ``paired`` tells whether a change of paired scores is more than chance,
- ``uneven`` tells the same where a case ran another number of times before than now,
- ``power`` says what such a test could have seen,
- ``distributions`` holds the binomial and Student's t for the four.
"""

from __future__ import annotations

from pytest_rag.stats.distributions import student_quantile
from pytest_rag.stats.intervals import mean_interval, quantile, quantile_interval, wilson
from pytest_rag.stats.paired import case_means, holm, paired_differences, sign_flip_test
from pytest_rag.stats.power import cases_needed, fewest_cases, smallest_drop, spread
from pytest_rag.stats.uneven import Runs, skew_test, uneven_test

__all__ = [
    "Runs",
    "case_means",
    "cases_needed",
    "fewest_cases",
    "holm",
    "mean_interval",
    "paired_differences",
    "quantile",
    "quantile_interval",
    "sign_flip_test",
    "skew_test",
    "smallest_drop",
    "spread",
    "student_quantile",
    "uneven_test",
    "wilson",
]
