"""Prediction-powered means: what the authors' own package gives, and how often they are right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from pytest_rag.stats.prediction import labelled, powered_mean

THEIRS = (0.45846734, 0.60591425)
"""What ppi_python 0.2.3 says of `sample`: ``ppi_mean_ci(human, judge, others, alpha=0.05)``."""


def sample():
    """Return labels and scores of 60 answers, and scores of 500 others."""
    n, many = np.arange(60), np.arange(500)
    human = (n % 5 < 3).astype(float)
    judge = 2 * np.round(0.5 * human + ((n * 37) % 100) / 200, 3)
    return human, judge, 2 * ((many * 61) % 997) / 997


def test_it_is_the_authors_estimate():
    """But for its normal, and its division by n, in place of ours."""
    human, judge, others = sample()
    found = powered_mean(labelled(human, judge), others)
    weight = found.weight * 59 / 60
    mean = human.mean() + weight * (others.mean() - judge.mean())
    variance = (human - weight * judge).var() / 60 + weight**2 * others.var() / 500
    assert scipy_stats.norm.interval(0.95, mean, variance**0.5) == pytest.approx(THEIRS, abs=1e-7)
    assert (found.mean, found.n, found.judged) == (pytest.approx(mean, abs=2e-3), 60, 500)
    reach = scipy_stats.t.ppf(0.975, 58) * variance**0.5
    assert (found.high - found.low) / 2 == pytest.approx(reach, rel=0.02)


def test_the_scale_of_a_judge_does_not_matter():
    """Points from 1 to 5, or the other way round, correct the same mean."""
    human, judge, others = sample()
    one = powered_mean(labelled(human, judge), others)
    five = powered_mean(labelled(human, 5 - 4 * judge), 5 - 4 * others)
    assert (five.mean, five.low, five.high) == pytest.approx((one.mean, one.low, one.high))
    assert five.weight == pytest.approx(-one.weight / 4)


def test_without_others_or_a_judge_the_labels_are_left():
    """As by Student's t, but for a degree of freedom."""
    human, judge, others = sample()
    mean, error = human.mean(), scipy_stats.sem(human)
    low, high = scipy_stats.t.interval(0.95, 58, mean, error)
    for found in (
        powered_mean(labelled(human, judge), ()),
        powered_mean(labelled(human, np.ones(60)), others),
    ):
        assert (found.mean, found.low, found.high) == pytest.approx((mean, low, high))
        assert found.weight == 0.0


def test_one_label_corrects_nothing():
    """There is no spread in it; and lengths must agree."""
    assert labelled([1.0], [0.5]) is None
    with pytest.raises(ValueError, match="2 labels for 1 scores"):
        labelled([1.0, 0.0], [0.5])


def simulated(rng, n, many, hits, alarms):
    """Return labels and scores of n answers, and scores of others."""
    truth = rng.random(n + many) < 0.7
    judge = rng.random(n + many) < np.where(truth, hits, alarms)
    return truth[:n].astype(float), judge[:n].astype(float), judge[n:].astype(float)


@pytest.mark.parametrize(
    ("n", "hits", "alarms"), [(50, 0.9, 0.4), (100, 0.85, 0.05), (200, 0.75, 0.4), (100, 0.5, 0.5)]
)
def test_intervals_hold_the_truth_and_are_shorter(n, hits, alarms):
    """In 95 % ± 1.5 of 2,000 simulations; a judge that tosses a coin makes none longer."""
    held, lengths, alone = 0, [], []
    for seed in range(2000):
        human, judge, others = simulated(np.random.default_rng(seed), n, 2000, hits, alarms)
        known = labelled(human, judge)
        found, labels = powered_mean(known, others), powered_mean(known, ())
        held += found.low <= 0.7 <= found.high
        lengths.append(found.high - found.low)
        alone.append(labels.high - labels.low)
    assert 0.935 <= held / 2000 <= 0.965
    if hits == alarms:
        assert np.mean(lengths) == pytest.approx(np.mean(alone), rel=0.03)
    else:
        assert abs(0.7 * hits + 0.3 * alarms - 0.7) > 0.03  # the judge alone is wrong
        assert np.mean(np.array(lengths) < np.array(alone)) > 0.95
        assert np.mean(lengths) < 0.97 * np.mean(alone)
