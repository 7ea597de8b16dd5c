"""What building a local pipeline computed, kept for the next one that is built of the same.

    with keeping(Kept()):
        build(…, top_k=5)
        build(…, top_k=10)  # cuts, stems and embeds nothing again

Only builds are answered from it, never questions, so that latency stays what it is.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_rag.pipelines.survey import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    import numpy as np
    from llama_index.core.base.embeddings.base import BaseEmbedding

    Vector = np.ndarray[tuple[int], np.dtype[np.float32]]

__all__ = ["Kept", "embedded", "keeping", "kept"]

T = TypeVar("T")

_PARTS = 6  # of a kind: those of a corpus of 10,000 nodes take some 100 MB
_VECTORS = 100_000  # 256 dimensions each are 100 MB


class Kept:
    """Parts by what they were made of, the ones used last.

    Attributes:
        made: How many parts of each kind had to be made.
        embedded: How many texts had to be embedded.
    """

    def __init__(self) -> None:
        self.made: dict[str, int] = {}
        self.embedded = 0
        self._parts: dict[str, OrderedDict[Hashable, Any]] = {}
        self._vectors: OrderedDict[tuple[str, str], Vector] = OrderedDict()

    def part(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """Return the part of a key, made where it is not there."""
        parts = self._parts.setdefault(kind, OrderedDict())
        if key not in parts:
            parts[key] = make()
            self.made[kind] = self.made.get(kind, 0) + 1
        parts.move_to_end(key)
        while len(parts) > _PARTS:
            parts.popitem(last=False)
        found: T = parts[key]
        return found

    def vectors(self, model: BaseEmbedding, settings: str, texts: Sequence[str]) -> list[Any]:
        """Return the vectors of texts, embedding those alone that are new."""
        import numpy as np

        keys = [(settings, text) for text in texts]
        new = [text for key, text in zip(keys, texts, strict=True) if key not in self._vectors]
        new = list(dict.fromkeys(new))
        self.embedded += len(new)
        made = model.get_text_embedding_batch(new) if new else []
        fresh = {(settings, t): np.asarray(v, np.float32) for t, v in zip(new, made, strict=True)}
        found = [fresh[key] if key in fresh else self._vectors[key] for key in keys]
        self._vectors.update(fresh)
        while len(self._vectors) > _VECTORS:
            self._vectors.popitem(last=False)
        return found


_KEPT: ContextVar[Kept | None] = ContextVar("pytest_rag_kept", default=None)


@contextmanager
def keeping(parts: Kept) -> Iterator[None]:
    """Let pipelines built meanwhile take what is there, and leave there what they make."""
    token = _KEPT.set(parts)
    try:
        yield
    finally:
        _KEPT.reset(token)


def kept(kind: str, key: Hashable, make: Callable[[], T]) -> T:
    """Return a part: the one kept, or else what ``make`` makes.

    Args:
        kind: Of part.
        key: Everything that the part depends on.
        make: Makes it.
    """
    parts = _KEPT.get()
    return make() if parts is None else parts.part(kind, key, make)


def embedded(model: BaseEmbedding, texts: Sequence[str]) -> list[Any]:
    """Return the vectors of texts; a model whose settings cannot be told embeds all of them."""
    parts = _KEPT.get()
    settings = None if parts is None else settings_of(model)
    if parts is None or settings is None:
        return list(model.get_text_embedding_batch(list(texts)))
    return parts.vectors(model, settings, texts)
