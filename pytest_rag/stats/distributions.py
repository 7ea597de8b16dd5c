"""The binomial and Student's t, without SciPy; and samples that hold numbers only."""

from __future__ import annotations

from math import atan, cos, exp, lgamma, log, log1p, pi, sin, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy import float64
    from numpy.typing import NDArray

    Floats = NDArray[float64]

__all__ = ["NORMAL", "binomial", "finite", "student_cdf", "student_quantile"]

NORMAL = NormalDist()
"""The standard normal; its quantile is Wichura's AS 241 (1988), good to about 1e-16."""

_SERIES = 200  # degrees of freedom up to which the exact series is summed
_NORMAL = 1000  # degrees of freedom above which t and the normal agree to 0.0003
_STEPS = 200
_CLOSE = 1e-14


def finite(values: Sequence[float] | Floats) -> Floats:
    """Return values as a float64 array of shape ``(n,)``.

    Raises:
        ValueError: Where a value is NaN, infinite or None, or the shape is another.
    """
    import numpy as np

    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1:
        raise ValueError(f"values must be a flat sequence, not of shape {sample.shape}")
    wrong = np.flatnonzero(~np.isfinite(sample))
    if wrong.size:
        raise ValueError(f"values must be finite: found {sample[wrong[0]]} at index {wrong[0]}")
    return sample


def binomial(n: int, q: float) -> Floats:
    """Return the probabilities of 0 to ``n`` successes, as an array of shape ``(n + 1,)``.

    Grown from the mode by the ratio of neighbours, ``(n - k) q / ((k + 1) (1 - q))``, which keeps
    the relative precision of both tails; exact powers of two for ``q = 0.5`` and small ``n``.

    Args:
        n: Trials, at least 0.
        q: Chance of each, above 0 and below 1.
    """
    import numpy as np

    mode = min(n, int((n + 1) * q))
    upwards = np.arange(mode, n)
    downwards = np.arange(mode, 0, -1)
    odds = q / (1 - q)
    up = np.cumprod((n - upwards) / (upwards + 1) * odds)
    down = np.cumprod(downwards / (n - downwards + 1) / odds)
    weights = np.concatenate([down[::-1], [1.0], up])
    return np.asarray(weights / weights.sum())


def student_quantile(q: float, df: int) -> float:
    """Return the quantile of Student's t.

    Up to 200 degrees of freedom by Newton's method on the closed form of the distribution
    function (Abramowitz and Stegun 26.7.3 and 26.7.4), above by the expansion in ``1 / df``
    (26.7.5). Relative error below 1e-8 for ``1e-5 <= q <= 1 - 1e-5``.

    Args:
        q: Above 0 and below 1.
        df: Degrees of freedom, at least 1.
    """
    if q < 0.5:
        return -student_quantile(1 - q, df)
    z = NORMAL.inv_cdf(q)
    return _expanded(z, df) if df > _SERIES else _inverted(z, q, df)


def _expanded(z: float, df: int) -> float:
    z2 = z * z
    first = (z2 + 1) * z / 4
    second = ((5 * z2 + 16) * z2 + 3) * z / 96
    third = (((3 * z2 + 19) * z2 + 17) * z2 - 15) * z / 384
    fourth = ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) * z / 92160
    return z + (first + (second + (third + fourth / df) / df) / df) / df


def _inverted(z: float, q: float, df: int) -> float:
    """Return the quantile for ``q >= 0.5``: Newton climbs to it from the normal one below."""
    t = z
    for _ in range(_STEPS):
        step = (q - student_cdf(t, df)) / _student_density(t, df)
        t += step
        if abs(step) <= _CLOSE * t:
            break
    return t


def _student_density(t: float, df: int) -> float:
    constant = lgamma((df + 1) / 2) - lgamma(df / 2) - log(df * pi) / 2
    return exp(constant - (df + 1) / 2 * log1p(t * t / df))


def student_cdf(t: float, df: int) -> float:
    """Return the chance that Student's t is at most ``t``; above 1000 degrees, the normal's.

    Args:
        t: Any.
        df: Degrees of freedom, at least 1.
    """
    if df > _NORMAL:
        return NORMAL.cdf(t)
    angle = atan(t / sqrt(df))
    odd = df % 2
    term = cos(angle) if odd else 1.0
    total = 0.0 if df == 1 else term
    for k in range(2 + odd, df - 1, 2):
        term *= cos(angle) ** 2 * (k - 1) / k
        total += term
    inside = 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
    return 0.5 + inside / 2
