"""The embedded embedding model behind LlamaIndex's API."""

from __future__ import annotations

from typing import ClassVar

from llama_index.core.base.embeddings.base import BaseEmbedding

from pytest_rag.vectors import embed

__all__ = ["WordLlamaEmbedding"]


class WordLlamaEmbedding(BaseEmbedding):
    """WordLlama's 256 dimensions, of unit length: no network, no key, always the same."""

    rag_record: ClassVar[bool] = False  # it computes here: a cassette has no need of it

    model_name: str = "wordllama"
    embed_batch_size: int = 256

    @classmethod
    def class_name(cls) -> str:
        """Name the class in LlamaIndex's traces."""
        return "WordLlamaEmbedding"

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        listed: list[list[float]] = embed(texts).tolist()
        return listed

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embeddings([query])[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._get_text_embeddings(texts)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)
