"""Two rankings into one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["reciprocal_rank", "weighted"]

_RRF_K = 60


def reciprocal_rank(rankings: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the reciprocal-rank score of every id: the sum of 1 / (60 + rank).

    Source: Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and
    individual Rank Learning Methods", SIGIR 2009.
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            scores[name] = scores.get(name, 0.0) + 1.0 / (_RRF_K + rank)
    return scores


def weighted(
    lexical: Mapping[str, float], dense: Mapping[str, float], *, dense_weight: float
) -> dict[str, float]:
    """Return ``(1 - w) * lexical + w * dense`` of scores divided by the best of their half.

    Zero is the worst BM25 can give and where unrelated texts lie in cosine; an id missing from a
    half gets the lowest score that half gave.

    Source: Bruch, Gai, Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023:
    a convex combination of scores scaled from a fixed minimum beats reciprocal rank fusion.
    """
    scaled_lexical, lexical_floor = _scale(lexical)
    scaled_dense, dense_floor = _scale(dense)
    return {
        name: (1 - dense_weight) * scaled_lexical.get(name, lexical_floor)
        + dense_weight * scaled_dense.get(name, dense_floor)
        for name in {**lexical, **dense}
    }


def _scale(scores: Mapping[str, float]) -> tuple[dict[str, float], float]:
    best = max(scores.values(), default=0.0)
    scaled = {name: max(0.0, score) / best if best > 0 else 0.0 for name, score in scores.items()}
    return scaled, min(scaled.values(), default=0.0)
