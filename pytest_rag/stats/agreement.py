"""How far scores agree with people: kappa, ranks, the area under the curve, a threshold."""

from __future__ import annotations

from math import atanh, isnan, sqrt, tanh
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_rag.stats.distributions import NORMAL, finite
from pytest_rag.stats.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy import bool_, float64, intp
    from numpy.typing import NDArray

    Floats = NDArray[float64]
    Places = NDArray[intp]
    Truths = NDArray[bool_]

__all__ = [
    "Estimate",
    "Table",
    "agreement",
    "auc",
    "best_threshold",
    "clusters_of",
    "cross_validated",
    "kendall",
    "rank_agreement",
    "spearman",
]

_RESAMPLES = 1999
_FEWEST_RESAMPLES = 299
_DRAWS = 8_000_000
_FOLDS = 10
_DEALS = 11  # of the folds; odd, so that one side always has most
_SPEARMAN_VARIANCE = 1.06  # of its z, times n - 3
_TIED = 12  # decimals that tell two scores apart


class Estimate(NamedTuple):
    """A figure with its 95 % interval; None where it cannot be computed."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Table(NamedTuple):
    """How often two yes-or-no opinions met: the first word is the metric's, the second people's.

    Attributes:
        good_good: Both said good.
        good_bad: The metric said good, people did not.
        bad_good: People said good, the metric did not.
        bad_bad: Neither said good.
    """

    good_good: int
    good_bad: int
    bad_good: int
    bad_bad: int

    @classmethod
    def of(cls, said: Truths, people: Truths) -> Table:
        """Count two opinions of the same answers."""
        pairs = (said & people, said & ~people, ~said & people, ~said & ~people)
        return cls(*(int(each.sum()) for each in pairs))

    @property
    def n(self) -> int:
        """How many answers."""
        return sum(self)

    @property
    def right(self) -> float:
        """The share of answers on which both agree."""
        return (self.good_good + self.bad_bad) / self.n

    @property
    def chance(self) -> float:
        """The share on which they would agree if neither knew the answer: Cohen's p_e."""
        good, people = self.good_good + self.good_bad, self.good_good + self.bad_good
        return (good * people + (self.n - good) * (self.n - people)) / self.n**2

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa (1960), ``(p_o - p_e) / (1 - p_e)``; None where one side says one thing."""
        constant = self.chance == 1.0
        return None if constant else (self.right - self.chance) / (1 - self.chance)


# --- resampling -------------------------------------------------------------------------------


def clusters_of(names: Sequence[str]) -> Places:
    """Return the number of each name's cluster, in the order in which names first appear."""
    import numpy as np

    places: dict[str, int] = {}
    return np.array([places.setdefault(name, len(places)) for name in names], dtype=np.intp)


def _resampled(clusters: Places, seed: int, cost: int) -> Iterator[Places]:
    """Yield places of items, whole clusters drawn with replacement.

    Args:
        clusters: Of each item, from 0 without a gap.
        seed: Of the draws.
        cost: Steps that one resample takes, which decides how many there are.
    """
    import numpy as np

    order = np.argsort(clusters, kind="stable")
    sizes = np.bincount(clusters)
    starts = np.cumsum(sizes) - sizes
    rng = np.random.default_rng(seed)
    for _ in range(min(_RESAMPLES, max(_FEWEST_RESAMPLES, _DRAWS // max(cost, 1)))):
        drawn = rng.integers(sizes.size, size=sizes.size)
        lengths = sizes[drawn]
        ends = np.cumsum(lengths)
        yield order[np.repeat(starts[drawn] - (ends - lengths), lengths) + np.arange(ends[-1])]


def _percentiles(found: Sequence[float]) -> tuple[float, float] | None:
    """Return the middle 95 % of resampled figures; None where most of them cannot be computed."""
    import numpy as np

    known = [value for value in found if not isnan(value)]
    if 2 * len(known) < len(found) or not known:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


# --- yes or no --------------------------------------------------------------------------------


def agreement(
    said: Truths, people: Truths, clusters: Places, *, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """Return Cohen's kappa of two yes-or-no opinions, and the share on which they agree.

    Each has a 95 % interval: a percentile bootstrap over clusters. Where few answers all agree a
    bootstrap knows no doubt: the lower end is therefore at most that of Wilson's interval (1927) of
    the observed agreement, with as many answers as the bootstrap's spread is worth, and p_e held.

    Args:
        said: The metric's opinion, shape ``(n,)``.
        people: People's, shape ``(n,)``.
        clusters: Of each answer, as `clusters_of` numbers them.
        seed: Of the resampling.
    """
    import numpy as np

    table = Table.of(said, people)
    if table.kappa is None:
        return Estimate(None), Estimate(table.right)
    rights, kappas = [], []
    for places in _resampled(clusters, seed, said.size):
        each = Table.of(said[places], people[places])
        rights.append(each.right)
        kappas.append(np.nan if each.kappa is None else each.kappa)
    found, shares = _percentiles(kappas), _percentiles(rights)
    if found is None or shares is None:
        return Estimate(table.kappa), Estimate(table.right)
    worth = _worth(table.right, float(np.var(rights)), int(clusters.max()) + 1, said.size)
    bound = wilson(round(table.right * worth), worth) or (0.0, 1.0)
    honest = (bound[0] - table.chance) / (1 - table.chance)
    return (
        Estimate(table.kappa, min(found[0], honest), max(found[1], table.kappa)),
        Estimate(table.right, min(shares[0], bound[0]), max(shares[1], table.right)),
    )


def _worth(share: float, variance: float, clusters: int, n: int) -> int:
    """Return how many independent answers have this variance of a share."""
    if variance <= 0.0:
        return clusters
    return max(1, min(n, round(share * (1 - share) / variance)))


# --- a threshold ------------------------------------------------------------------------------


def best_threshold(scores: Floats, people: Truths) -> float | None:
    """Return the score from which on an answer is best called good, or None where none is.

    That is the cut with the highest Cohen's kappa, the lowest of several, written with as few
    decimals as still lie between the two scores that it parts.
    """
    import numpy as np

    order = np.argsort(scores, kind="stable")
    values, good = np.round(scores[order], _TIED), people[order]
    cuts = np.flatnonzero(np.diff(values) > 0) + 1
    if not cuts.size or good.all() or not good.any():
        return None
    below = np.cumsum(good)[cuts - 1].astype(float)  # good answers that a cut loses
    n, total = float(good.size), float(good.sum())
    right = (total - below) + (cuts - below)
    chance = ((n - cuts) * total + cuts * (n - total)) / n
    kappas = (right - chance) / (n - chance)
    at = cuts[int(np.argmax(np.round(kappas, _TIED)))]
    return _between(float(values[at - 1]), float(values[at]))


def _between(low: float, high: float) -> float:
    """Return the decimal with the fewest digits above ``low`` and at most ``high``."""
    middle = (low + high) / 2
    for digits in range(_TIED):
        found = round(middle, digits)
        if low < found <= high:
            return found
    return high


def cross_validated(
    scores: Floats, people: Truths, clusters: Places, *, seed: int = 0, folds: int = _FOLDS
) -> Truths | None:
    """Return what each answer is called by thresholds that were chosen without it.

    Whole clusters are dealt to the folds at random, and a fold is called by the `best_threshold`
    of all others. This is done eleven times over, and what most of them call an answer counts:
    the luck of one deal moves a share by a point. None where there are fewer than two clusters,
    or some folds leave nothing to choose by.

    Args:
        scores: Of the metric, finite, shape ``(n,)``; more is better.
        people: Whether people called the answer good.
        clusters: Of each answer, as `clusters_of` numbers them.
        seed: Of the deals.
        folds: At most, one a cluster.
    """
    import numpy as np

    count = int(clusters.max()) + 1
    folds = min(folds, count)
    if folds < 2:
        return None
    rng = np.random.default_rng(seed)
    calls = np.zeros(scores.size)
    for _ in range(_DEALS):
        said = _held_out(scores, people, (rng.permutation(count) % folds)[clusters])
        if said is None:
            return None
        calls += said
    return np.asarray(2 * calls > _DEALS)


def _held_out(scores: Floats, people: Truths, fold: Places) -> Truths | None:
    import numpy as np

    said = np.zeros(scores.size, dtype=bool)
    for each in np.unique(fold):
        held = fold == each
        threshold = best_threshold(scores[~held], people[~held])
        if threshold is None:
            return None
        said[held] = scores[held] >= threshold
    return said


# --- ranks ------------------------------------------------------------------------------------


def _ranks(values: Floats) -> Floats:
    """Return ranks from 1, ties sharing their mean."""
    import numpy as np

    _, place, counts = np.unique(np.round(values, _TIED), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place])


def spearman(first: Floats, second: Floats) -> float:
    """Return Spearman's rank correlation (1904); NaN where one side is constant."""
    import numpy as np

    one, other = (each - each.mean() for each in (_ranks(first), _ranks(second)))
    scale = sqrt(float((one**2).sum()) * float((other**2).sum()))
    return float((one * other).sum()) / scale if scale else np.nan


def kendall(first: Floats, second: Floats) -> float:
    """Return Kendall's tau-b (1945); NaN where one side is constant.

    Pairs are counted level by level of the side that has fewer.
    """
    import numpy as np

    levels = [np.unique(np.round(each, _TIED), return_inverse=True)[1] for each in (first, second)]
    fine, coarse = sorted(levels, key=lambda each: int(each.max()), reverse=True)
    rows, columns = int(fine.max()) + 1, int(coarse.max()) + 1
    seen = np.zeros((rows, columns))
    np.add.at(seen, (fine, coarse), 1)
    before = np.vstack([np.zeros(columns), np.cumsum(seen, axis=0)[:-1]])  # of lower fine levels
    lower = np.hstack([np.zeros((rows, 1)), np.cumsum(before, axis=1)[:, :-1]])
    higher = before.sum(axis=1, keepdims=True) - lower - before
    concordant, discordant = float((seen * lower).sum()), float((seen * higher).sum())
    n = first.size
    pairs = n * (n - 1) / 2
    ties = [float((c * (c - 1) / 2).sum()) for c in (seen.sum(axis=1), seen.sum(axis=0))]
    scale = sqrt((pairs - ties[0]) * (pairs - ties[1]))
    return (concordant - discordant) / scale if scale else np.nan


def auc(scores: Floats, people: Truths) -> float:
    """Return the area under the ROC curve: the chance that a good answer scores above a bad one.

    By ranks (Hanley and McNeil 1982), ties counting half; NaN where people said one thing only.
    """
    import numpy as np

    good = int(people.sum())
    bad = people.size - good
    if not good or not bad:
        return np.nan
    return float((_ranks(scores)[people].sum() - good * (good + 1) / 2) / (good * bad))


def rank_agreement(
    figure: Callable[[Floats, Any], float],
    scores: Floats,
    people: Floats | Truths,
    clusters: Places,
    *,
    seed: int = 0,
) -> Estimate:
    """Return a figure of two rankings with its 95 % interval by a bootstrap over clusters.

    Spearman's lower end is at most that of Fisher's z with the variance of Fieller, Hartley and
    Pearson (1957), ``1.06 / (n - 3)``, of as many clusters: a bootstrap of few answers in perfect
    order knows no doubt.

    Args:
        figure: `spearman`, `kendall` or `auc`.
        scores: Of the metric, finite, shape ``(n,)``.
        people: People's labels, shape ``(n,)``.
        clusters: Of each answer, as `clusters_of` numbers them.
        seed: Of the resampling.
    """
    value = figure(finite(scores), people)
    if isnan(value):
        return Estimate(None)
    cost = 4 * scores.size * (1 if figure is not kendall else 8)
    found = _percentiles(
        [figure(scores[at], people[at]) for at in _resampled(clusters, seed, cost)]
    )
    if found is None:
        return Estimate(value)
    low, high = found
    if figure is spearman:
        low = min(low, _fisher(value, int(clusters.max()) + 1))
    return Estimate(value, low, max(high, value))


def _fisher(rho: float, n: int) -> float:
    """Return the lower end of the 95 % interval of a rank correlation of n answers."""
    if n < 4:
        return -1.0
    most = 1 - 1 / n  # a perfect order of few answers is not a certain one
    z = NORMAL.inv_cdf(0.975) * sqrt(_SPEARMAN_VARIANCE / (n - 3))
    return tanh(atanh(max(-most, min(most, rho))) - z)
