"""Ranking measures with trec_eval's conventions and ir_measures' names; pure functions.

:func:`judge` looks the documents of a ranking up in the qrels once; every measure is then a few
steps over the ranks of the relevant ones. Conventions (trec_eval 9, Buckley and Voorhees):

* a document is relevant from grade 1 on; zero and negative grades gain nothing;
* ``P@k`` divides by k, even when fewer were retrieved;
* nDCG has linear gain and the discount ``1 / log2(rank + 1)``; its ideal is cut at k;
* ``AP@k`` and ``R@k`` divide by all relevant documents, not by those that fit above the cut;
* no relevant document, or nothing retrieved, gives 0.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING, Any

from pytest_rag.metrics import gold
from pytest_rag.types import Score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_rag.types import Case, Observation

__all__ = [
    "MEASURES",
    "PATTERN",
    "Judged",
    "RankingMetric",
    "average_precision",
    "compute",
    "f1",
    "judge",
    "judge_case",
    "judged_share",
    "ndcg",
    "order",
    "parse",
    "precision",
    "r_precision",
    "recall",
    "reciprocal_rank",
    "resolve_case",
    "success",
]


# --- a ranking and what is known of it --------------------------------------------------------


def order(scored: Iterable[tuple[str, float]]) -> list[str]:
    """Return ids by descending score, ties by descending id, as trec_eval orders a run."""
    return [i for i, _ in sorted(scored, key=lambda pair: (pair[1], pair[0]), reverse=True)]


@dataclass(frozen=True, slots=True)
class Judged:
    """A ranking with the judgements of its documents; ranks begin at 1.

    Attributes:
        retrieved: How many documents the ranking holds.
        ranks: Ranks of the relevant documents, ascending.
        gains: Grades of the same documents.
        known: Ranks of all judged documents, relevant or not, ascending.
        ideal: Grades of all relevant documents of the qrels, descending.
    """

    retrieved: int
    ranks: list[int]
    gains: list[int]
    known: list[int]
    ideal: list[int]


def judge(ranking: Sequence[str], qrels: Mapping[str, int]) -> Judged:
    """Look every document of a ranking up in the qrels.

    Args:
        ranking: Distinct document ids, best first.
        qrels: Grade by document id.
    """
    known = [rank for rank, document in enumerate(ranking, 1) if document in qrels]
    grades = [qrels[ranking[rank - 1]] for rank in known]
    ranks = [rank for rank, grade in zip(known, grades, strict=True) if grade > 0]
    gains = [grade for grade in grades if grade > 0]
    ideal = sorted((grade for grade in qrels.values() if grade > 0), reverse=True)
    return Judged(len(ranking), ranks, gains, known, ideal)


# --- the measures -----------------------------------------------------------------------------


def precision(judged: Judged, k: int) -> float:
    """Return P@k: relevant documents among the first k, divided by k."""
    return bisect_right(judged.ranks, k) / k


def recall(judged: Judged, k: int) -> float:
    """Return R@k: relevant documents among the first k, divided by all relevant ones."""
    return bisect_right(judged.ranks, k) / len(judged.ideal) if judged.ideal else 0.0


def f1(judged: Judged, k: int) -> float:
    """Return F1@k: the harmonic mean of P@k and R@k, ``2 · hits / (k + relevant)``."""
    return 2 * bisect_right(judged.ranks, k) / (k + len(judged.ideal))


def success(judged: Judged, k: int) -> float:
    """Return Success@k: 1 if a relevant document is among the first k, else 0."""
    return 1.0 if judged.ranks and judged.ranks[0] <= k else 0.0


def judged_share(judged: Judged, k: int) -> float:
    """Return Judged@k: the share of judged documents among the first k.

    As in ir_measures it divides by the number retrieved where that is less than k.
    """
    shown = min(k, judged.retrieved)
    return bisect_right(judged.known, k) / shown if shown else 0.0


def reciprocal_rank(judged: Judged, k: int | None = None) -> float:
    """Return RR: one divided by the rank of the first relevant document, 0 if below k."""
    if not judged.ranks or (k is not None and judged.ranks[0] > k):
        return 0.0
    return 1 / judged.ranks[0]


def r_precision(judged: Judged) -> float:
    """Return Rprec: precision at R, the number of relevant documents."""
    return precision(judged, len(judged.ideal)) if judged.ideal else 0.0


def average_precision(judged: Judged, k: int | None = None) -> float:
    """Return AP: precision at each relevant rank (up to k), summed, divided by all relevant."""
    if not judged.ranks:
        return 0.0
    ranks = judged.ranks if k is None else judged.ranks[: bisect_right(judged.ranks, k)]
    return sum(found / rank for found, rank in enumerate(ranks, 1)) / len(judged.ideal)


def ndcg(judged: Judged, k: int | None = None) -> float:
    """Return nDCG: discounted gain divided by the best possible, both cut at k.

    Järvelin and Kekäläinen (2002) with trec_eval's linear gain and ``log2(rank + 1)``.
    """
    if not judged.ranks:
        return 0.0
    cut = len(judged.ranks) if k is None else bisect_right(judged.ranks, k)
    gain = _discounted(judged.gains[:cut], judged.ranks)
    ideal = judged.ideal[:k]
    return gain / _discounted(ideal, range(1, len(ideal) + 1))


def _discounted(gains: list[int], ranks: Iterable[int]) -> float:
    return sum([gain / log2(rank + 1) for gain, rank in zip(gains, ranks, strict=False)])


# --- names ------------------------------------------------------------------------------------

_NONE_RELEVANT = "no document is graded 1 or more"
_CUT: dict[str, Callable[[Judged, int], float]] = {
    "P": precision,
    "R": recall,
    "nDCG": ndcg,
    "AP": average_precision,
    "RR": reciprocal_rank,
    "Success": success,
    "Judged": judged_share,
    "F1": f1,
}
_WHOLE: dict[str, Callable[[Judged], float]] = {
    "nDCG": ndcg,
    "AP": average_precision,
    "RR": reciprocal_rank,
    "Rprec": r_precision,
}
_NEEDS = frozenset({"relevant"})
MEASURES = ("P@k", "R@k", "nDCG@k", "AP@k", "RR@k", "Success@k", "Judged@k", "F1@k", *_WHOLE)
PATTERN = rf"^(({'|'.join(_CUT)})@[1-9][0-9]{{0,5}}|{'|'.join(_WHOLE)})$"


@dataclass(frozen=True, slots=True)
class RankingMetric:
    """A ranking measure as a metric of a case.

    Attributes:
        measure: The name without its cutoff: ``nDCG``.
        k: The cutoff, or None for the whole ranking.
        name: The name that round-trips: ``nDCG@10``.
    """

    measure: str
    k: int | None
    name: str

    @property
    def version(self) -> str:
        """The version of the definition."""
        return "1"

    @property
    def needs(self) -> frozenset[str]:
        """What the case must carry."""
        return _NEEDS

    @property
    def higher_is_better(self) -> bool:
        """True for every ranking measure."""
        return True

    def lacking(self, case: Case, argument: Any = None) -> str | None:  # noqa: ARG002 - optional hook
        """Return what the case lacks beyond ``needs``, or None."""
        graded = max(case.relevant.values(), default=0) >= 1
        return None if graded else f"{self.name} cannot score: {_NONE_RELEVANT}"

    def compute(self, judged: Judged) -> float:
        """Return the measure of one judged ranking."""
        if self.k is None:
            return _WHOLE[self.measure](judged)
        return _CUT[self.measure](judged, self.k)

    def score(self, case: Case, observation: Observation, argument: Any = None) -> Score:  # noqa: ARG002 - the protocol
        """Compute the measure of one run; None with the reason where the gold cannot tell."""
        return self.score_judged(judge_case(case, resolve_case(case, observation)))

    def score_judged(self, judged: Judged | str) -> Score:
        """Compute the measure of what :func:`judge_case` gave, a reason included."""
        if isinstance(judged, str):
            return Score(value=None, reason=judged, version=self.version)
        return Score(value=self.compute(judged), version=self.version)


@functools.lru_cache(maxsize=256)
def parse(name: str) -> RankingMetric | None:
    """Return the metric of a name such as ``nDCG@10`` or ``AP``, or None."""
    if re.fullmatch(PATTERN, name) is None:
        return None
    measure, _, cutoff = name.partition("@")
    return RankingMetric(measure, int(cutoff) if cutoff else None, name)


def compute(
    names: Iterable[str], ranking: Sequence[str], qrels: Mapping[str, int]
) -> dict[str, float]:
    """Compute measures by name over one ranking.

    Raises:
        KeyError: if a name is no ranking measure.
    """
    judged = judge(ranking, qrels)
    values = {}
    for name in names:
        metric = parse(name)
        if metric is None:
            raise KeyError(name)
        values[name] = metric.compute(judged)
    return values


def resolve_case(case: Case, observation: Observation) -> gold.Resolved | str:
    """Resolve what a run retrieved and the case's gold, or say why that cannot be done."""
    if not case.relevant:
        return "the case has no `relevant`"
    if observation.retrieved is None:
        return gold.NOT_TOLD
    try:
        return gold.resolve(observation.retrieved, case.relevant, observation.documents)
    except gold.CannotTellError as error:
        return str(error)


def judge_case(case: Case, resolved: gold.Resolved | str) -> Judged | str:
    """Judge what :func:`resolve_case` gave, or say why that cannot be done."""
    if case.relevant and max(case.relevant.values()) < 1:
        return _NONE_RELEVANT
    return resolved if isinstance(resolved, str) else judge(resolved.ranking, resolved.qrels)
