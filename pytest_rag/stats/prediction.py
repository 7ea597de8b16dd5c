"""Prediction-powered inference: a mean of human labels, with many judged answers to help."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from pytest_rag.stats.distributions import finite, student_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy import float64
    from numpy.typing import NDArray

    Floats = NDArray[float64]

__all__ = ["Labelled", "Powered", "labelled", "powered_mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What answers that have both a human label and a score tell, which is all a mean needs.

    Attributes:
        n: How many there are.
        human_mean: Of the labels.
        judge_mean: Of the scores.
        human_var: Variance of the labels, with n - 1.
        judge_var: Variance of the scores, with n - 1.
        covariance: Of the two, with n - 1.
    """

    n: int
    human_mean: float
    judge_mean: float
    human_var: float
    judge_var: float
    covariance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Powered:
    """A corrected mean of human labels.

    Attributes:
        mean: What people would say on average.
        low: Lower end of its interval.
        high: Upper end.
        weight: How far the judge was listened to: λ, 0 for not at all.
        n: Answers with a human label.
        judged: Answers with a score alone.
    """

    mean: float
    low: float
    high: float
    weight: float
    n: int
    judged: int


def labelled(human: Sequence[float] | Floats, judge: Sequence[float] | Floats) -> Labelled | None:
    """Return what labels and scores of the same answers tell, or None for fewer than two.

    Args:
        human: Labels, finite, one an answer.
        judge: Scores, finite, in the same order.

    Raises:
        ValueError: Where a value is not finite, or the lengths differ.
    """
    import numpy as np

    labels, scores = finite(human), finite(judge)
    if labels.size != scores.size:
        raise ValueError(f"{labels.size} labels for {scores.size} scores")
    if labels.size < 2:
        return None
    spread = np.cov(labels, scores)
    return Labelled(
        n=int(labels.size),
        human_mean=float(labels.mean()),
        judge_mean=float(scores.mean()),
        human_var=float(spread[0, 0]),
        judge_var=float(spread[1, 1]),
        covariance=float(spread[0, 1]),
    )


def powered_mean(
    known: Labelled, judged: Sequence[float] | Floats, *, level: float = 0.95
) -> Powered:
    """Return the mean of human labels, corrected by many answers that only a judge has seen.

    PPI (Angelopoulos et al. 2023, *Prediction-powered inference*, Science 382) in its tuned form
    PPI++ (Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453, example 6.1): with labels Y and
    scores f of n answers, and scores f̃ of N others,

    ``mean = mean(Y) + λ (mean(f̃) - mean(f))``,
    ``variance = (var(Y) - 2 λ cov(Y, f) + λ² var(f)) / n + λ² var(f̃) / N``, and
    ``λ = cov(Y, f) / ((1 + n / N) var(f, f̃))``, which makes it least; the last is of both.

    A judge that knows nothing gets a λ near 0, and the interval of the labels alone is left. Its
    scale does not matter. Student's t with n - 2 degrees of freedom takes the normal's place.
    Both samples must be of the same kind of answers: the judge is corrected for its bias on them.

    Args:
        known: Of the answers with labels.
        judged: Scores of other answers of the same kind, finite.
        level: Share of intervals that hold the true mean.

    Raises:
        ValueError: Where a score is not finite.
    """
    scores = finite(judged)
    n, many = known.n, int(scores.size)
    var = float(scores.var(ddof=1)) if many > 1 else 0.0
    scale = (1 + n / many) * _pooled(known, scores) if many > 1 else 0.0
    weight = known.covariance / scale if scale > 0 else 0.0
    mean = known.human_mean
    own = known.human_var - 2 * weight * known.covariance + weight**2 * known.judge_var
    variance = max(0.0, own) / n
    if weight:
        mean += weight * (float(scores.mean()) - known.judge_mean)
        variance += weight**2 * var / many
    reach = student_quantile((1 + level) / 2, max(1, n - 2)) * sqrt(variance)
    return Powered(mean=mean, low=mean - reach, high=mean + reach, weight=weight, n=n, judged=many)


def _pooled(known: Labelled, scores: Floats) -> float:
    """Return the variance of all scores, those of labelled answers among them, with n - 1."""
    n, many = known.n, scores.size
    between = n * many / (n + many) * (float(scores.mean()) - known.judge_mean) ** 2
    within = (n - 1) * known.judge_var + (many - 1) * float(scores.var(ddof=1))
    return (within + between) / (n + many - 1)
