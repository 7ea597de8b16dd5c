"""The embedded embedding model: WordLlama, offline and repeatable, behind LlamaIndex's API."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding

from pytest_rag.extras import require

__all__ = ["WordLlamaEmbedding"]

_BATCH = 32  # token vectors of a batch lie in memory together: 32 x 300 x 256 floats are 10 MB


class WordLlamaEmbedding(BaseEmbedding):
    """Static token embeddings of 256 dimensions, averaged and normalised to unit length.

    Weights and tokenizer are in the ``wordllama`` wheel: no network, no key, the same vector for
    the same text every time.
    """

    rag_record: ClassVar[bool] = False  # it computes here: a cassette has no need of it

    model_name: str = "wordllama"
    embed_batch_size: int = 256

    @classmethod
    def class_name(cls) -> str:
        """Name the class in LlamaIndex's traces."""
        return "WordLlamaEmbedding"

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        # Texts of one batch are padded to the longest: sorting keeps that short.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        pooled = _model().embed([texts[i] for i in order], batch_size=_BATCH)
        vectors = np.empty_like(pooled)
        vectors[order] = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-9)
        listed: list[list[float]] = vectors.tolist()
        return listed

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embeddings([query])[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._get_text_embeddings(texts)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


@functools.cache
def _model() -> Any:
    """Load the weights out of the installed package, once a process.

    ``import wordllama`` calls ``logging.basicConfig``; the root logger is put back as it was.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    wordllama = require("wordllama", "demo")
    root.handlers[:] = handlers
    root.setLevel(level)
    folder = Path(str(wordllama.__file__)).parent
    return wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
