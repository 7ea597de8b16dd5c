"""Postprocessors that leave nodes out or put them in another order, by score and text alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from llama_index.core.bridge.pydantic import Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor

from pytest_rag.pipelines.language import count_words

if TYPE_CHECKING:
    from llama_index.core.schema import NodeWithScore, QueryBundle

__all__ = ["BestAtEnds", "ContextLimit", "NearDuplicates", "ScoreDrop"]

_SHINGLE = 3
_LONG_WORD = 12  # what is longer on average is no word: a language without spaces


class ContextLimit(BaseNodePostprocessor):
    """Keeps the best nodes whose texts together have at most ``tokens`` words.

    The best node stays even where it alone is longer.
    """

    tokens: int = Field(ge=1)

    @classmethod
    def class_name(cls) -> str:
        """Name the class in LlamaIndex's traces."""
        return "ContextLimit"

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002
    ) -> list[NodeWithScore]:
        kept: list[NodeWithScore] = []
        words = 0
        for hit in nodes:
            words += len(count_words(hit.node.get_content()))
            if kept and words > self.tokens:
                break
            kept.append(hit)
        return kept


class ScoreDrop(BaseNodePostprocessor):
    """Keeps as many nodes as score well: a top_k that every query sets for itself.

    A node goes whose score lies below the best by more than ``drop`` of the best. Where a node has
    no score, or one that is no number, nothing is known and all stay.

    Attributes:
        drop: Part of the best score, 0 to 1.
        least: So many nodes stay in any case, the best ones.
    """

    drop: float = Field(default=0.5, ge=0.0, le=1.0)
    least: int = Field(default=1, ge=0)

    @classmethod
    def class_name(cls) -> str:
        """Name the class in LlamaIndex's traces."""
        return "ScoreDrop"

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002
    ) -> list[NodeWithScore]:
        scores = [hit.score for hit in nodes if hit.score is not None]
        if len(scores) < len(nodes) or not all(map(math.isfinite, scores)) or not scores:
            return nodes
        ordered = sorted(scores, reverse=True)
        floor = ordered[0] - self.drop * abs(ordered[0])
        if self.least:
            floor = min(floor, ordered[min(self.least, len(ordered)) - 1])
        return [hit for hit, score in zip(nodes, scores, strict=True) if score >= floor]


class NearDuplicates(BaseNodePostprocessor):
    """Leaves out a node whose text a better one has already said.

    Two nodes are compared by the runs of three words they have: a node goes if ``overlap`` of its
    runs stand in one node before it. A longer node stays that says more than a shorter one
    before it.

    Attributes:
        overlap: 0 to 1.
    """

    overlap: float = Field(default=0.8, gt=0.0, le=1.0)

    @classmethod
    def class_name(cls) -> str:
        """Name the class in LlamaIndex's traces."""
        return "NearDuplicates"

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002
    ) -> list[NodeWithScore]:
        kept: list[NodeWithScore] = []
        said: list[frozenset[tuple[str, ...]]] = []
        for hit in nodes:
            runs = _runs(hit.node.get_content())
            if runs and any(len(runs & other) >= self.overlap * len(runs) for other in said):
                continue
            said.append(runs)
            kept.append(hit)
        return kept


class BestAtEnds(BaseNodePostprocessor):
    """Puts the best nodes where a language model reads best: first and last, the worst between.

    The order that comes in is that of worth: 1 2 3 4 5 becomes 1 3 5 4 2. Scores stay, so that
    rankings are measured as before. Source: Liu et al., "Lost in the Middle: How Language Models
    Use Long Contexts", 2023. LlamaIndex's ``LongContextReorder`` orders by score alone, and has the
    best node now at the beginning and now at the end.
    """

    @classmethod
    def class_name(cls) -> str:
        """Name the class in LlamaIndex's traces."""
        return "BestAtEnds"

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002
    ) -> list[NodeWithScore]:
        return [*nodes[::2], *reversed(nodes[1::2])]


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    words = count_words(text.casefold())
    if sum(map(len, words)) > _LONG_WORD * len(words):
        words = list("".join(words))
    return frozenset(
        tuple(words[i : i + _SHINGLE]) for i in range(max(len(words) - _SHINGLE + 1, bool(words)))
    )
