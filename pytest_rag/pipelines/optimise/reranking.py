"""A reranker that needs nothing but an embedding model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding  # noqa: TC002  pydantic reads it
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher

from pytest_rag.pipelines.relevance import sentences_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SentenceRerank"]

_dispatcher = get_dispatcher(__name__)


class SentenceRerank(BaseNodePostprocessor):
    """Orders nodes by their retrieval score and their best sentence, half and half.

    The new score is the mean of the score as a part of the best one and the highest cosine of
    the query with a sentence of the node. A node without a score counts as the worst.
    """

    embed_model: BaseEmbedding

    @classmethod
    def class_name(cls) -> str:
        """Name the class in LlamaIndex's traces."""
        return "SentenceRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None or not nodes:
            return nodes
        texts, ends = _sentences(nodes)
        vectors = self.embed_model.get_text_embedding_batch(texts)
        return _ordered(
            nodes, vectors, self.embed_model.get_query_embedding(query_bundle.query_str), ends
        )

    @_dispatcher.span  # LlamaIndex opens one for the synchronous method alone
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None or not nodes:
            return nodes
        texts, ends = _sentences(nodes)
        vectors = await self.embed_model.aget_text_embedding_batch(texts)
        query = await self.embed_model.aget_query_embedding(query_bundle.query_str)
        return _ordered(nodes, vectors, query, ends)


def _sentences(nodes: Sequence[NodeWithScore]) -> tuple[list[str], list[int]]:
    """Return all sentences, and where those of each node but the last end."""
    texts, ends = [], []
    for hit in nodes:
        text = hit.node.get_content()
        texts += [found.sentence.text for found in sentences_of([text])] or [text]
        ends.append(len(texts))
    return texts, ends[:-1]


def _ordered(
    nodes: Sequence[NodeWithScore], vectors: Any, query: Sequence[float], ends: Sequence[int]
) -> list[NodeWithScore]:
    cosines = np.asarray(vectors, np.float32) @ np.asarray(query, np.float32)
    best = [float(part.max()) for part in np.split(cosines, ends)]
    scores = [(a + b) / 2 for a, b in zip(_parts(nodes), best, strict=True)]
    order = sorted(range(len(nodes)), key=lambda i: -round(scores[i], 6))
    return [NodeWithScore(node=nodes[i].node, score=scores[i]) for i in order]


def _parts(nodes: Sequence[NodeWithScore]) -> list[float]:
    """Return each score as a part of the best one; between worst and best where none is above 0."""
    known = [hit.score for hit in nodes if hit.score is not None and math.isfinite(hit.score)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    given = [hit.score if hit.score in known else low for hit in nodes]
    if high > 0:
        return [float(score) / high for score in given if score is not None]
    return [(float(score) - low) / ((high - low) or 1.0) for score in given if score is not None]
