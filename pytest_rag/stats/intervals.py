"""Intervals and quantiles of scores."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from pytest_rag.stats.distributions import NORMAL, binomial, finite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy import float64
    from numpy.typing import NDArray

    Floats = NDArray[float64]

__all__ = ["mean_interval", "quantile", "quantile_interval", "wilson"]

_RESAMPLES = 9999
_FEWEST_RESAMPLES = 999
_DRAWS = 4_000_000  # in all; a large sample needs fewer resamples than a small one
_CHUNK = 1_000_000  # draws in memory at a time


def mean_interval(
    values: Sequence[float] | Floats, *, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """Return the BCa bootstrap interval of a mean, or None for fewer than two values.

    Bias-corrected and accelerated (Efron 1987, *Better bootstrap confidence intervals*), with
    9999 resamples, fewer above 400 values. The same values give the same interval in any order.
    Equal values give an interval of no width: they show no spread, which is not certainty.

    Args:
        values: Finite, one a case.
        level: Share of intervals that hold the true mean.
        seed: Of the resampling.

    Raises:
        ValueError: Where a value is not finite.
    """
    import numpy as np

    sample = np.sort(finite(values))
    if sample.size < 2:
        return None
    if sample[0] == sample[-1]:
        return float(sample[0]), float(sample[0])
    means = np.concatenate(list(_resampled_means(sample, seed)))
    bias = _bias(means, float(sample.mean()))
    acceleration = _acceleration(sample)
    tail = (1 - level) / 2
    low, high = (_adjusted(q, bias, acceleration) for q in (tail, 1 - tail))
    return quantile(means, low), quantile(means, high)


def _resampled_means(sample: Floats, seed: int) -> Iterator[Floats]:
    import numpy as np

    rng = np.random.default_rng(seed)
    left = min(_RESAMPLES, max(_FEWEST_RESAMPLES, _DRAWS // sample.size))
    step = max(1, _CHUNK // sample.size)
    while left > 0:
        drawn = rng.integers(sample.size, size=(min(step, left), sample.size))
        yield sample[drawn].mean(axis=1)
        left -= step


def _bias(means: Floats, mean: float) -> float:
    """Return z0, the normal quantile of the share of resampled means below the mean.

    Ties count half, and a difference in the last digits is a tie: it comes of the order of a sum.
    """
    import numpy as np

    difference = means - mean
    tied = np.abs(difference) <= 1e-12 * float(np.abs(means).max())
    below = float(np.count_nonzero((difference < 0) & ~tied)) + np.count_nonzero(tied) / 2
    half = 0.5 / means.size
    return NORMAL.inv_cdf(min(max(below / means.size, half), 1 - half))


def _acceleration(sample: Floats) -> float:
    """Return a, the skewness of the jackknife means divided by six."""
    import numpy as np

    influence = sample - sample.mean()  # n - 1 times how far a jackknife mean lies below theirs
    influence /= np.abs(influence).max()  # so that powers of tiny values do not vanish
    return float((influence**3).sum() / (6 * (influence**2).sum() ** 1.5))


def _adjusted(q: float, bias: float, acceleration: float) -> float:
    """Return where to cut the resampled means for the tail probability ``q``."""
    z = bias + NORMAL.inv_cdf(q)
    return NORMAL.cdf(bias + z / (1 - acceleration * z))


def wilson(successes: int, n: int, *, level: float = 0.95) -> tuple[float, float] | None:
    """Return Wilson's score interval (1927) of a share, or None where ``n`` is 0."""
    if n == 0:
        return None
    z = NORMAL.inv_cdf((1 + level) / 2)
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def quantile(values: Sequence[float] | Floats, q: float) -> float:
    """Return a quantile by linear interpolation: numpy's default, type 7 of Hyndman and Fan.

    Args:
        values: At least one.
        q: From 0 to 1; 0.95 is the 95th percentile.
    """
    import numpy as np

    return float(np.quantile(np.asarray(values, dtype=np.float64), q))


def quantile_interval(
    values: Sequence[float] | Floats, q: float, *, level: float = 0.95
) -> tuple[float, float] | None:
    """Return the interval of a quantile between two of the values, or None where n is too small.

    Free of any distribution (Conover 1999, *Practical nonparametric statistics*, §3.2): how many
    values lie below the quantile is binomial(n, q), so the interval runs from the largest value
    that the quantile lies below with a chance of at most ``(1 - level) / 2`` to the smallest that
    it lies above with no more. It takes 72 values for ``q = 0.95``, 6 for the median.

    Args:
        values: Finite, one a run.
        q: Above 0 and below 1; 0.95 is the 95th percentile.
        level: Share of intervals, at the least, that hold the true quantile.

    Raises:
        ValueError: Where a value is not finite, or q or level is not between 0 and 1.
    """
    import numpy as np

    if not (0 < q < 1 and 0 < level < 1):
        raise ValueError(f"q and level must lie above 0 and below 1, not {q!r} and {level!r}")
    sample = np.sort(finite(values))
    chances = binomial(sample.size, q)
    tail = (1 - level) / 2
    low = int(np.count_nonzero(np.cumsum(chances) <= tail))
    high = int(np.count_nonzero(np.cumsum(chances[::-1]) <= tail))
    if not low or not high:
        return None
    return float(sample[low - 1]), float(sample[-high])
