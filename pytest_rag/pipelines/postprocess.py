"""Steps between retrieval and answer: an optional reranker and the limit on the context."""

from __future__ import annotations

from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding  # noqa: TC002  pydantic reads it
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from pytest_rag.pipelines.language import count_words
from pytest_rag.sentences import split_sentences

__all__ = ["ContextLimit", "SentenceRerank"]


class ContextLimit(BaseNodePostprocessor):
    """Keeps the best nodes whose texts together have at most ``tokens`` words.

    The best node stays even where it alone is longer.
    """

    tokens: int

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


class SentenceRerank(BaseNodePostprocessor):
    """Orders nodes by their retrieval score and their best sentence, half and half.

    The new score is the mean of the score as a part of the best one and the highest cosine of
    the query with a sentence of the node.
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
        best = max(hit.get_score() for hit in nodes) or 1.0
        similar = self._similarities(nodes, query_bundle.query_str)
        scores = [
            (hit.get_score() / best + cosine) / 2
            for hit, cosine in zip(nodes, similar, strict=True)
        ]
        order = sorted(range(len(nodes)), key=lambda i: -round(scores[i], 6))
        return [NodeWithScore(node=nodes[i].node, score=scores[i]) for i in order]

    def _similarities(self, nodes: list[NodeWithScore], query: str) -> list[float]:
        sentences = [_sentences(hit) for hit in nodes]
        texts = [text for found in sentences for text in found]
        vectors: Any = np.asarray(self.embed_model.get_text_embedding_batch(texts), np.float32)
        cosines = vectors @ np.asarray(self.embed_model.get_query_embedding(query), np.float32)
        ends = np.cumsum([len(found) for found in sentences])[:-1]
        return [float(part.max()) for part in np.split(cosines, ends)]


def _sentences(hit: NodeWithScore) -> list[str]:
    text = hit.node.get_content()
    return [sentence.text for sentence in split_sentences(text)] or [text]
