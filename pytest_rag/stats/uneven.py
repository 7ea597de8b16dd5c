"""Whether scores dropped where a case ran another number of times before than now."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma
from typing import TYPE_CHECKING, Any

from pytest_rag.stats.distributions import finite, student_cdf
from pytest_rag.stats.paired import affordable, random_sums, sign_flip_test

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy import float64, int64
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[float64]
    Ints = NDArray[int64]

__all__ = ["Runs", "skew_test", "uneven_test"]

_LUMP = 0.2  # share of cases with one value from which scores are no smooth ones
_PARTS = 8  # a total of runs that is no whole number is told to an eighth
_NEVER = 1e-20  # a chance too small to count


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """One side of a comparison.

    Attributes:
        means: Of each case over its runs, shape ``(cases,)``.
        counts: How many runs that were, at least 1, shape ``(cases,)``.
    """

    means: Floats
    counts: Ints


def uneven_test(base: Runs, head: Runs, *, tie: float = 0.0, seed: int = 0) -> float:
    """Return the one-sided p-value for a mean of head below that of base.

    Signs are no coin's where one side averages more runs: of cases that pass nine times of ten a
    single run may well show no failure at all, and five runs then fall everywhere. So the
    sign-flip test must find a fall, and one that knows of lopsided chance must agree:

    - of scores that fall into lumps, such as passes and fails, runs are dealt anew. Where nothing
      changed, each of a case's runs could as well be one of before or one of now (Fisher 1935), so
      that the runs of before are a hand out of all, hypergeometric. Of the runs only the mean is
      known; it is taken for one of two values at the ends of the scale, which varies most. A case
      that ran as often before as now flips its sign instead.
    - of scores that hardly repeat, which no run in a hundred can move far, :func:`skew_test`.

    Args:
        base: What was before; more is better.
        head: What is now; the same cases.
        tie: By how much equal values may differ because they were rounded.
        seed: Of the random hands.

    Returns:
        Above 0 and at most 1.

    Raises:
        ValueError: Where a mean is not finite.
    """
    import numpy as np

    changes = finite(head.means) - finite(base.means)
    changes[np.abs(changes) <= tie] = 0.0
    if changes.sum() >= 0:
        return 1.0
    p = sign_flip_test(changes, tie=tie, seed=seed)
    if p == 1 or (base.counts == head.counts).all():
        return p
    return max(
        p, _dealt(base, head, changes, tie, seed) if _lumps(base, head) else skew_test(changes)
    )


def _lumps(base: Runs, head: Runs) -> bool:
    """Tell whether many cases share one value on the side that ran them less often."""
    import numpy as np

    fewer = np.where(base.counts < head.counts, base.means, head.means)
    fewer = fewer[base.counts != head.counts]
    most = np.unique(np.round(fewer, 6), return_counts=True)[1].max()
    return bool(most >= _LUMP * len(fewer))


# --- runs dealt anew ----------------------------------------------------------------------------


def _dealt(base: Runs, head: Runs, changes: Floats, tie: float, seed: int) -> float:
    """Return the share of deals whose sum of changes is at most the one found.

    It is exact where every case ran as often as every other on its side, else of random deals.
    """
    import numpy as np

    even = base.counts == head.counts
    low, high = _scale(base, head)
    tables = list(_tables(base, head, ~even, low, high))
    reached = changes.sum() + len(changes) * max(tie, 1e-12)
    if len(tables) == 1 and not changes[even].any():
        (only,) = tables
        return min(1.0, float(only.chances[only.changes * (high - low) <= reached].sum()))
    rng = np.random.default_rng(seed)
    resamples = affordable(len(changes))
    flips = changes[even & (changes != 0)]
    # To flip a set of signs takes twice its sum away.
    sums = flips.sum() - 2 * random_sums(flips, rng, resamples)
    for table in tables:
        sums += table.draw(rng, resamples) * (high - low)
    hits = int(np.count_nonzero(sums <= reached))
    return (1 + hits) / (1 + resamples)


def _scale(base: Runs, head: Runs) -> tuple[float, float]:
    """Return the ends of the scale: 0 and 1, or what is beyond, or what single runs have shown.

    A mean of several runs may hide an end; a single run that lies as far out as any mean does not.
    """
    import numpy as np

    means = np.concatenate([base.means, head.means])
    single = means[np.concatenate([base.counts, head.counts]) == 1]
    low, high = float(means.min()), float(means.max())
    if not (single.size and single.min() <= low):
        low = min(0.0, low)
    if not (single.size and single.max() >= high):
        high = max(1.0, high)
    return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """All cases of as many runs before, and as many now.

    Attributes:
        changes: Sums of their changes that deals can make.
        chances: Of each.
    """

    changes: Floats
    chances: Floats

    def draw(self, rng: Generator, resamples: int) -> Floats:
        """Return random sums of the cases' changes, shape ``(resamples,)``."""
        import numpy as np

        rising = self.chances.cumsum()
        places = rising.searchsorted(rng.random(resamples) * rising[-1], side="right")
        return np.asarray(self.changes[places])


def _tables(
    base: Runs, head: Runs, where: NDArray[Any], low: float, high: float
) -> Iterator[_Table]:
    """Yield a table for each pair of counts: only how many high runs base holds in all matters."""
    import numpy as np

    totals = base.counts * (base.means - low) + head.counts * (head.means - low)
    parts = np.round(totals / (high - low) * _PARTS).astype(np.int64)
    columns = np.stack([base.counts, head.counts, parts])[:, where]
    for before, now in np.unique(columns[:2], axis=1).T.tolist():
        mine = (columns[0] == before) & (columns[1] == now)
        kinds, cases = np.unique(columns[2][mine], return_counts=True)
        first, chances = 0, np.ones(1)
        for part, count in zip(kinds.tolist(), cases.tolist(), strict=True):
            start, more = _times(_hand(part, before, now), count)
            first, chances = _trimmed(first + start, np.convolve(chances, more))
        held = first + np.arange(chances.size)
        usual = float(kinds @ cases) / _PARTS * before / (before + now)
        yield _Table(changes=(usual - held) * (1 / before + 1 / now), chances=chances)


def _hand(part: int, before: int, now: int) -> Floats:
    """Return the chances that base holds 0, 1, … high runs of a case; ``part`` are there in all."""
    whole, rest = divmod(part, _PARTS)
    chances = _hypergeometric(whole, before, now)
    if rest:
        more = _hypergeometric(whole + 1, before, now)
        chances = chances + (more - chances) * (rest / _PARTS)
    return chances


def _times(chances: Floats, count: int) -> tuple[int, Floats]:
    """Return the first likely sum of ``count`` such hands, and the chances from there on."""
    import numpy as np

    first, found = 0, np.ones(1)
    start, power = _trimmed(0, chances)
    while count:
        if count % 2:
            first, found = _trimmed(first + start, np.convolve(found, power))
        count //= 2
        if count:
            start, power = _trimmed(2 * start, np.convolve(power, power))
    return first, found


def _trimmed(first: int, chances: Floats) -> tuple[int, Floats]:
    """Return them without the ends that are next to impossible: they would cost most."""
    likely = (chances > _NEVER).nonzero()[0]
    return first + int(likely[0]), chances[likely[0] : likely[-1] + 1]


def _hypergeometric(high: int, before: int, now: int) -> Floats:
    """Return the chances that ``before`` runs hold 0, 1, … of the ``high`` ones among all."""
    import numpy as np

    chances = [
        exp(_ways(before, k) + _ways(now, high - k) - _ways(before + now, high))
        if 0 <= high - k <= now
        else 0.0
        for k in range(before + 1)
    ]
    found = np.array(chances)
    return np.asarray(found / found.sum())


def _ways(n: int, k: int) -> float:
    """Return the logarithm of n over k."""
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


# --- where chance is lopsided -------------------------------------------------------------------


def skew_test(differences: Sequence[float] | Floats) -> float:
    """Return the one-sided p-value for a mean of head - base below 0, corrected for skewness.

    Hall's cubic transformation (1992, *On the removal of
    skewness by transformation*) of the studentised mean S with the skewness g,
    ``√n (S + g S² / 3 + g² S³ / 27 + g / 6n)``, is held against Student's t. It rises with S,
    and is right from about 100 differences on.

    Args:
        differences: Finite, one a case.

    Returns:
        From 0 to 1; that of the sign-flip test where the differences are fewer than three, or
        all the same.

    Raises:
        ValueError: Where a difference is not finite.
    """
    sample = finite(differences)
    if sample.size < 3 or sample.min() == sample.max():
        return sign_flip_test(sample)
    centred = sample - sample.mean()
    sd = float((centred**2).mean()) ** 0.5
    skew = float((centred**3).mean()) / sd**3
    s = float(sample.mean()) / sd
    corrected = s + skew * s**2 / 3 + skew**2 * s**3 / 27 + skew / (6 * sample.size)
    return student_cdf(corrected * sample.size**0.5, sample.size - 1)
