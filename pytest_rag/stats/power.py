"""What a sign-flip test can see: the smallest drop, and how many cases it takes."""

from __future__ import annotations

from math import floor, frexp, isfinite, ldexp, sqrt
from typing import TYPE_CHECKING

from pytest_rag.stats.distributions import NORMAL, finite, student_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy import float64
    from numpy.typing import NDArray

    Floats = NDArray[float64]

__all__ = ["cases_needed", "fewest_cases", "smallest_drop", "spread"]

_BITS = 60  # pairs from which every alpha is as good as reached


def fewest_cases(alpha: float) -> int:
    """Return how many cases must differ before a sign-flip test can reach alpha at all.

    Its smallest p-value is that of drops alone: the first n with ``2**-n <= alpha``.

    Raises:
        ValueError: Where alpha is not between 0 and 1.
    """
    _between("alpha", alpha, 0.0, 1.0)
    return 1 - frexp(alpha)[1]


def spread(differences: Sequence[float] | Floats) -> float | None:
    """Return the standard deviation of paired differences, with n - 1, or None below two.

    Raises:
        ValueError: Where a difference is not finite.
    """
    sample = finite(differences)
    if sample.size < 2:
        return None
    return 0.0 if sample.min() == sample.max() else float(sample.std(ddof=1))


def smallest_drop(sd: float, n: int, *, alpha: float, power: float = 0.8) -> float | None:
    """Return the smallest drop of the mean that a one-sided paired test finds with this power.

    The test is taken for Student's, which the sign-flip test is close to, at the level that n
    pairs can reach: ``floor(alpha 2**n) / 2**n``. The drop is ``sd δ / √n``, where the noncentral
    t with ``f = n - 1`` degrees of freedom and noncentrality δ exceeds the critical value t with
    this power: ``δ = t (1 - 1 / 4f) + z √(1 + t² / 2f)`` (Abramowitz and Stegun 26.7.10), whose
    power is right to 0.003 from 6 pairs on. It holds for differences that are not far from
    normal; where most are 0, fewer pairs speak than n.

    Args:
        sd: Standard deviation of the paired differences: :func:`spread`.
        n: Pairs.
        alpha: Level of the test; of Holm's first step, alpha / metrics.
        power: Above alpha and below 1.

    Returns:
        In the unit of sd; None where n pairs cannot reach alpha, or sd is 0, which leaves the
        spread unknown.

    Raises:
        ValueError: Where sd is negative or not finite, or alpha or power is out of range.
    """
    _check(sd, alpha, power)
    if sd == 0 or n < max(2, fewest_cases(alpha)):
        return None
    bits = min(n, _BITS)
    df = n - 1
    t = student_quantile(1 - ldexp(floor(ldexp(alpha, bits)), -bits), df)
    delta = t * (1 - 1 / (4 * df)) + NORMAL.inv_cdf(power) * sqrt(1 + t * t / (2 * df))
    return sd * delta / sqrt(n)


def cases_needed(drop: float, sd: float, *, alpha: float, power: float = 0.8) -> int:
    """Return the fewest cases with which :func:`smallest_drop` is no larger than ``drop``.

    Where sd is 0, every case drops alike, and :func:`fewest_cases` will do.

    Args:
        drop: Of the mean, above 0, in the unit of sd.
        sd: Standard deviation of the paired differences.
        alpha: Level of the test.
        power: Above alpha and below 1.

    Raises:
        ValueError: Where drop is not above 0, or another argument is out of range.
    """
    _check(sd, alpha, power)
    if not (drop > 0 and isfinite(drop)):
        raise ValueError(f"drop must be above 0 and finite, not {drop!r}")
    low = fewest_cases(alpha)
    if sd == 0:
        return low
    low = high = max(2, low)
    while not _sees(drop, sd, high, alpha, power):
        low, high = high + 1, 2 * high
    while low < high:
        middle = (low + high) // 2
        if _sees(drop, sd, middle, alpha, power):
            high = middle
        else:
            low = middle + 1
    return high


def _sees(drop: float, sd: float, n: int, alpha: float, power: float) -> bool:
    smallest = smallest_drop(sd, n, alpha=alpha, power=power)
    return smallest is not None and smallest <= drop


def _check(sd: float, alpha: float, power: float) -> None:
    if not (sd >= 0 and isfinite(sd)):
        raise ValueError(f"sd must be at least 0 and finite, not {sd!r}")
    _between("alpha", alpha, 0.0, 1.0)
    _between("power", power, alpha, 1.0)


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise ValueError(f"{name} must lie above {low:g} and below {high:g}, not {value!r}")
