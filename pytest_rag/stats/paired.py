"""Whether paired scores dropped: differences of case means, a sign-flip test, Holm's correction."""

from __future__ import annotations

from sys import float_info
from typing import TYPE_CHECKING

from pytest_rag.stats.distributions import binomial, finite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy import float64
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[float64]
    Groups = list[tuple[float, int]]

__all__ = [
    "affordable",
    "case_means",
    "holm",
    "paired_differences",
    "random_sums",
    "sign_flip_test",
]

_DIGITS = 12  # differences are told apart to this many digits of the largest
_TIE = 10.0**-_DIGITS
_STATES = 2**16  # sums in each half of the exact test: 32 differences of any size, or more alike
_RESAMPLES = 99_999
_FEWEST_RESAMPLES = 9_999
_FLIPS = 200_000_000  # in all; a large sample needs fewer resamples than a small one
_BLOCK = 8  # pairs flipped by one random byte
_CHUNK = 2_000_000  # random bytes in memory at a time


def case_means(values: Sequence[float] | Floats, cases: Sequence[str]) -> dict[str, float]:
    """Return the mean of each case over its repeats, in the order in which cases first appear.

    Repeats are clusters: they say how much a case varies, and are no further cases.

    Args:
        values: Finite, one a run.
        cases: The case of each run.

    Raises:
        ValueError: Where a value is not finite, or the lengths differ.
    """
    import numpy as np

    sample = finite(values)
    if sample.size != len(cases):
        raise ValueError(f"{sample.size} values for {len(cases)} cases")
    places: dict[str, int] = {}
    index = np.fromiter((places.setdefault(case, len(places)) for case in cases), dtype=np.intp)
    means = np.bincount(index, weights=sample) / np.bincount(index)
    return dict(zip(places, means.tolist(), strict=True))


def paired_differences(head: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    """Return head - base of each case that both hold, in the order of head.

    Values that agree to 12 digits differ by 0: that much comes of the order of a sum.

    Raises:
        ValueError: Where a value is not finite.
    """
    import numpy as np

    shared = [case for case in head if case in base]
    new, old = (finite([side[case] for case in shared]) for side in (head, base))
    change = new - old
    change[np.abs(change) <= _TIE * np.maximum(np.abs(new), np.abs(old))] = 0.0
    return dict(zip(shared, change.tolist(), strict=True))


# --- the sign-flip test -----------------------------------------------------------------------


def sign_flip_test(
    differences: Sequence[float] | Floats,
    *,
    seed: int = 0,
    resamples: int | None = None,
    tie: float = 0.0,
) -> float:
    """Return the one-sided p-value for a mean of head - base below 0.

    Fisher's paired randomisation test (1935, *The design of experiments*, §21): where nothing
    changed, the sign of every difference is a coin's. p is the share of sign patterns whose mean
    is at most the one found, or, the same, of random subsets of the differences, each taken
    with chance ½, whose sum is at least 0. Zeros drop out; sums within 1e-12 of the largest
    difference a pair are ties, and count. Differences of one size are one binomial, so that
    the test is exact up to 32 differences of any size, and for far more that share a few sizes,
    such as those of passes and fails. Beyond, p is ``(1 + hits) / (1 + resamples)`` of random
    patterns (Phipson and Smyth 2010), which never lies below ``1 / (1 + resamples)``.

    Args:
        differences: Finite, one a case; repeats are averaged before.
        seed: Of the random patterns; the exact test needs none.
        resamples: How many random patterns; None for 99,999, fewer above 2000 differences,
            and 9999 from 20,000 on.
        tie: By how much equal differences may differ because they were rounded: a third and
            two thirds, stored with six digits, lie 0.333333 and 0.333334 apart.

    Returns:
        Above 0 and at most 1; 1 where nothing differs.

    Raises:
        ValueError: Where a difference is not finite, or ``resamples`` is below 1.
    """
    import numpy as np

    if resamples is not None and resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    sample = finite(differences)
    scaled = _scaled(_snapped(sample, tie) if tie else sample)
    if not scaled.size:
        return 1.0
    slack = scaled.size * max(_TIE, tie / float(np.abs(sample).max()))
    halves = _halves(scaled)
    if halves is None:
        return _sampled(scaled, slack, seed, resamples or affordable(scaled.size))
    return _exact(scaled, slack, *halves)


def affordable(differences: int) -> int:
    """Return how many random patterns of so many differences are drawn."""
    return min(_RESAMPLES, max(_FEWEST_RESAMPLES, _FLIPS // max(1, differences)))


def _scaled(sample: Floats) -> Floats:
    """Return the differences other than 0, sorted, in units of the largest."""
    import numpy as np

    largest = np.abs(sample).max(initial=0.0)
    if not largest:
        return sample[:0]
    scaled = np.round(sample / largest, _DIGITS)
    return np.sort(scaled[scaled != 0])


def _snapped(sample: Floats, tie: float) -> Floats:
    """Return the differences with sizes that rounding alone tells apart made one."""
    import numpy as np

    sizes, place = np.unique(np.abs(sample), return_inverse=True)
    starts = np.concatenate([[True], np.diff(sizes) > tie]).nonzero()[0]
    low, high = np.minimum.reduceat(sizes, starts), np.maximum.reduceat(sizes, starts)
    group = np.repeat(np.arange(starts.size), np.diff(np.append(starts, sizes.size)))
    close = (high - low <= 2 * tie)[group]  # a longer chain is of values that do differ
    snapped = np.where(close, ((low + high) / 2)[group], sizes)
    return np.asarray(np.sign(sample) * snapped[place])


def _halves(scaled: Floats) -> tuple[Groups, Groups] | None:
    """Return sizes and counts in two halves of about as many sums, or None where too many."""
    import numpy as np

    sizes, counts = np.unique(np.abs(scaled), return_counts=True)
    if 2 ** (sizes.size // 2) > _STATES:
        return None
    halves: tuple[Groups, Groups] = ([], [])
    states = [1, 1]
    for size, count in sorted(zip(sizes.tolist(), counts.tolist(), strict=True), key=_falling):
        smaller = int(states[1] < states[0])
        halves[smaller].append((size, count))
        states[smaller] *= count + 1
        if states[smaller] > _STATES:
            return None
    return halves


def _falling(group: tuple[float, int]) -> int:
    return -group[1]


def _exact(scaled: Floats, slack: float, first: Groups, second: Groups) -> float:
    """Return p by meeting in the middle.

    A subset's sum is that of a random subset of the sizes less the sizes of all drops.
    """
    import numpy as np

    needed = -float(scaled[scaled < 0].sum()) - slack
    sums, weights = _subset_sums(first)
    others, chances = _subset_sums(second)
    order = np.argsort(others)
    at_least = np.append(np.cumsum(chances[order][::-1])[::-1], 0.0)
    reach = at_least[np.searchsorted(others[order], needed - sums)]
    return min(1.0, max(float_info.min, float((weights * reach).sum())))


def _subset_sums(groups: Groups) -> tuple[Floats, Floats]:
    """Return the sums of all random subsets and their chances, each of shape ``(states,)``."""
    import numpy as np

    sums, chances = np.zeros(1), np.ones(1)
    for size, count in groups:
        sums = np.add.outer(sums, size * np.arange(count + 1)).ravel()
        chances = np.multiply.outer(chances, binomial(count, 0.5)).ravel()
    return sums, chances


def _sampled(scaled: Floats, slack: float, seed: int, resamples: int) -> float:
    import numpy as np

    sums = random_sums(scaled, np.random.default_rng(seed), resamples)
    hits = int(np.count_nonzero(sums >= -slack))
    return (1 + hits) / (1 + resamples)


def random_sums(scaled: Floats, rng: Generator, resamples: int) -> Floats:
    """Return the sums of random subsets, eight pairs a random byte: shape ``(resamples,)``.

    A byte looks the sum of its pairs up among their 256, so that 100,000 pairs cost 12,500
    look-ups a pattern and no sign is ever written out.

    Args:
        scaled: What is summed, shape ``(n,)``; each is taken with chance ½.
        rng: Where chance comes from.
        resamples: How many subsets.
    """
    import numpy as np

    blocks = np.pad(scaled, (0, -scaled.size % _BLOCK)).reshape(-1, _BLOCK)
    words = -(-resamples // 8)
    step = max(1, _CHUNK // (8 * words))
    sums, found = np.zeros(resamples), np.empty(resamples)
    for start in range(0, len(blocks), step):
        tables = _tables(blocks[start : start + step])
        drawn = rng.integers(0, 2**64, size=(len(tables), words), dtype=np.uint64)
        for table, row in zip(tables, drawn.view(np.uint8), strict=True):
            table.take(row[:resamples], out=found, mode="clip")
            sums += found
    return sums


def _tables(blocks: Floats) -> Floats:
    """Return the sums of all subsets of each block: shape ``(blocks, 8)`` → ``(blocks, 256)``."""
    import numpy as np

    sums = np.zeros((len(blocks), 1))
    for column in range(_BLOCK):
        sums = np.hstack((sums, sums + blocks[:, column, None]))
    return sums


# --- several tests at once --------------------------------------------------------------------


def holm(pvalues: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values (1979), in the order given.

    The i-th smallest of m becomes ``max over j <= i of min(1, (m - j + 1) p_(j))``: to reject
    where it is at most alpha keeps the chance of any false rejection at alpha.

    Raises:
        ValueError: Where a p-value is not between 0 and 1.
    """
    for p in pvalues:
        if not 0 <= p <= 1:
            raise ValueError(f"a p-value lies between 0 and 1, not {p!r}")
    adjusted = [0.0] * len(pvalues)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(pvalues)), key=pvalues.__getitem__)):
        highest = max(highest, min(1.0, (len(pvalues) - rank) * pvalues[place]))
        adjusted[place] = highest
    return adjusted
