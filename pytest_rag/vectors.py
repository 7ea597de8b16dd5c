"""The embedded embedding model: WordLlama's vectors of texts, offline and repeatable.

Weights and tokenizer are in the ``wordllama`` wheel: no network, no key, the same vector for the
same text every time.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_rag.extras import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]

__all__ = ["embed"]

_BATCH = 32  # token vectors of a batch lie in memory together: 32 x 300 x 256 floats are 10 MB


def embed(texts: Sequence[str]) -> Vectors:
    """Return static token embeddings, averaged and normalised to unit length.

    Args:
        texts: n texts.

    Returns:
        Of shape (n, 256); a text without a known token has the zero vector.

    Raises:
        MissingExtraError: if ``wordllama`` is not installed.
    """
    import numpy as np

    # Texts of one batch are padded to the longest: sorting keeps that short.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    pooled = _model().embed([_encodable(texts[i]) for i in order], batch_size=_BATCH)
    vectors: Vectors = np.empty_like(pooled)
    vectors[order] = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-9)
    return vectors


def _encodable(text: str) -> str:
    """Return a text with a question mark for half a character, which no tokenizer takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


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
