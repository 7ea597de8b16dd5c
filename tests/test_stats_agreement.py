"""Agreement with people: SciPy says the same, and hand-worked tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from pytest_rag.stats.agreement import (
    Table,
    agreement,
    auc,
    best_threshold,
    clusters_of,
    cross_validated,
    kendall,
    rank_agreement,
    spearman,
)

PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=40)


def bools(text):
    """Return ones and zeros as truths."""
    return np.array([each == "1" for each in text])


def test_kappa_of_a_table_worked_by_hand():
    """Cohen's own form: 20 and 15 agree of 50, chance alone half of them."""
    table = Table(20, 5, 10, 15)
    assert (table.n, table.right, table.chance) == (50, 0.7, 0.5)
    assert table.kappa == pytest.approx(0.4)
    assert Table(5, 0, 0, 5).kappa == 1.0
    assert Table(0, 5, 5, 0).kappa == -1.0
    assert Table(9, 0, 0, 0).kappa is None


@given(PAIRS)
def test_ranks_agree_as_scipy_finds(pairs):
    """Spearman and Kendall with ties, and the area under the curve."""
    one, other = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    if len(set(one)) > 1 and len(set(other)) > 1:
        assert spearman(one, other) == pytest.approx(scipy_stats.spearmanr(one, other).statistic)
        assert kendall(one, other) == pytest.approx(scipy_stats.kendalltau(one, other).statistic)
    else:
        assert np.isnan(spearman(one, other))
        assert np.isnan(kendall(one, other))
    good = other > 0
    if good.any() and not good.all():
        u = scipy_stats.mannwhitneyu(one[good], one[~good]).statistic
        assert auc(one, good) == pytest.approx(u / (good.sum() * (~good).sum()))
    else:
        assert np.isnan(auc(one, good))


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30))
def test_no_other_threshold_has_a_higher_kappa(pairs):
    """Every cut between two scores is tried."""
    scores = np.array([score for score, _ in pairs], dtype=float)
    people = np.array([label for _, label in pairs])
    found = best_threshold(scores, people)
    cuts = [(a + b) / 2 for a, b in zip(sorted(set(scores)), sorted(set(scores))[1:], strict=False)]
    kappas = [Table.of(scores >= cut, people).kappa for cut in cuts]
    if found is None:
        assert not cuts or people.all() or not people.any()
    else:
        mine = Table.of(scores >= found, people).kappa
        assert mine == pytest.approx(max(kappa for kappa in kappas if kappa is not None))


def test_a_threshold_is_a_short_number():
    """Somebody types it into an evalset."""
    people = bools("0011")
    assert best_threshold(np.array([0.0, 0.1, 0.8, 1.0]), people) == 0.5
    assert best_threshold(np.array([1.0, 2.0, 4.0, 5.0]), people) == 3.0
    assert best_threshold(np.array([0.51, 0.52, 0.53, 0.54]), people) == 0.53
    assert best_threshold(np.array([0.3, 0.3, 0.3, 0.3]), people) is None


def test_a_held_out_answer_never_chose_its_threshold():
    """Scores of noise agree with people no better than chance, though some cut always fits."""
    rng = np.random.default_rng(3)
    kappas = []
    for _ in range(20):
        scores, people = rng.random(120), rng.random(120) < 0.5
        fitted = Table.of(scores >= best_threshold(scores, people), people).kappa
        held = Table.of(cross_validated(scores, people, np.arange(120)), people).kappa
        kappas.append((fitted, held))
    fitted, held = np.mean(kappas, axis=0)
    assert fitted > 0.1
    assert abs(held) < 0.06


def test_answers_to_one_question_stay_in_one_fold():
    """A score that knows the question by heart, and nothing else, is found out."""
    questions = clusters_of([f"q{n}" for n in range(30) for _ in range(4)])
    rng = np.random.default_rng(0)
    people = (rng.random(30) < 0.5)[questions]
    by_heart = questions.astype(float)
    apart = cross_validated(by_heart, people, questions)
    assert abs(Table.of(apart, people).kappa or 0.0) < 0.3
    assert (cross_validated(by_heart, people, questions) == apart).all()
    assert cross_validated(by_heart[:4], people[:4], questions[:4]) is None


def test_a_metric_that_is_people_agrees_with_doubt():
    """The fewer answers, the lower may the truth be, though all of them agree."""
    lows = []
    for n in (4, 10, 20, 50, 200):
        people = np.arange(n) % 2 == 0
        kappa, right = agreement(people, people, np.arange(n))
        assert (kappa.value, kappa.high, right.value) == (1.0, 1.0, 1.0)
        lows.append(kappa.low)
    assert lows == sorted(lows)
    assert lows[0] < 0.1
    assert lows[1] < 0.6 < lows[2]
    assert lows[-1] > 0.95


def test_one_sided_opinions_have_no_kappa():
    """Nothing can be said where somebody says the same of all."""
    same = np.ones(9, dtype=bool)
    kappa, right = agreement(same, same, np.arange(9))
    assert (kappa.value, kappa.low, right.value) == (None, None, 1.0)


def covered(truth, sample, figure):
    """Return the share of 100 intervals that hold the truth."""
    held = 0
    for seed in range(100):
        low, high = figure(*sample(np.random.default_rng(seed)))
        held += low <= truth <= high
    return held / 100


@pytest.mark.slow
def test_intervals_hold_the_truth():
    """Of kappa, three answers sharing the luck of their question, and of Spearman's correlation."""

    def kappa(rng):
        hard = rng.random(60) < 0.3
        people = rng.random((60, 3)) < 0.5
        wrong = rng.random((60, 3)) < np.where(hard, 0.4, 0.05)[:, None]
        questions = np.repeat(np.arange(60), 3)
        estimate = agreement((people ^ wrong).ravel(), people.ravel(), questions, seed=1)[0]
        return estimate.low, estimate.high

    assert covered(1 - 2 * (0.3 * 0.4 + 0.7 * 0.05), lambda rng: (rng,), kappa) >= 0.9

    def rho(rng):
        one = rng.normal(size=80)
        other = 0.6 * one + 0.8 * rng.normal(size=80)
        estimate = rank_agreement(spearman, one, other, np.arange(80), seed=1)
        return estimate.low, estimate.high

    assert covered(6 / np.pi * np.arcsin(0.3), lambda rng: (rng,), rho) >= 0.9


def test_a_grade_by_few_answers_is_not_certain():
    """A perfect order of eight answers is no proof of a correlation of 0.6."""
    few, many = np.arange(8.0), np.arange(40.0)
    assert rank_agreement(spearman, few, few, np.arange(8)).low < 0.6
    assert rank_agreement(spearman, many, many, np.arange(40)).low > 0.9
    assert rank_agreement(kendall, many, -many, np.arange(40)).value == -1.0
    assert rank_agreement(spearman, np.ones(9), np.arange(9.0), np.arange(9)).value is None
