"""Questions that were answered before and are like a new one."""

from __future__ import annotations

import base64
import threading
import time
from typing import TYPE_CHECKING, Any

from pytest_rag.cache import Key
from pytest_rag.cache.envelope import CorruptEntryError, pack, unpack
from pytest_rag.pipelines.survey import digest, survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_rag.cache import Cache

__all__ = ["SemanticIndex"]

_SHARE = 50
_SHORTEST_S = 1.0


class SemanticIndex:
    """Vectors of questions by namespace, in memory and in the cache.

    What other processes add is read at most once a second, and never for more than a fiftieth of
    the time.
    """

    def __init__(self, cache: Cache, embed_model: Any, floor: float) -> None:
        self._cache = cache
        self._floor = floor
        self._model = digest(survey(embed_model).config)
        self._vectors: dict[str, dict[str, Any]] = {}
        self._matrix: dict[str, Any] = {}
        self._read_again_at: dict[str, float] = {}
        self._lock = threading.RLock()  # the cycle collector ends streams anywhere

    def nearest(self, key: Key, vector: Sequence[float]) -> tuple[Key, float] | None:
        """Return the most similar question of a key's namespace and its cosine similarity.

        None where none reaches the floor.
        """
        wanted = _unit(vector)
        if wanted is None:
            return None
        with self._lock:
            self._read(key.namespace)
            names, matrix = self._matrix_of(key.namespace, len(wanted))
            if not names:
                return None
            similarities = matrix @ wanted
            best = int(similarities.argmax())
            similarity = min(1.0, float(similarities[best]))
        if similarity < self._floor:
            return None
        return Key(namespace=key.namespace, digest=names[best]), similarity

    def add(self, key: Key, vector: Sequence[float], ttl: float | None) -> None:
        """Remember the vector of a question that has been answered."""
        made = _unit(vector)
        if made is None:
            return
        place = self._place(key.namespace, key.digest)
        text = base64.b64encode(made.astype("<f4").tobytes()).decode()
        self._cache.put(place, pack(place, {"vector": text}), ttl=ttl)
        with self._lock:
            self._vectors.setdefault(key.namespace, {})[key.digest] = made
            self._matrix.pop(key.namespace, None)

    def forget(self, key: Key) -> None:
        """Forget a question whose answer is gone."""
        self._cache.delete(self._place(key.namespace, key.digest))
        with self._lock:
            self._vectors.get(key.namespace, {}).pop(key.digest, None)
            self._matrix.pop(key.namespace, None)

    def drop(self, namespace: str) -> None:
        """Let go of a namespace that nobody asks for any more."""
        with self._lock:
            for held in (self._vectors, self._matrix, self._read_again_at):
                held.pop(namespace, None)

    def _place(self, namespace: str, name: str) -> Key:
        return Key(namespace=f"{namespace}/semantic-{self._model}", digest=name)

    def _read(self, namespace: str) -> None:
        if time.monotonic() < self._read_again_at.get(namespace, 0.0):
            return
        started = time.monotonic()
        found = {}
        for place, value in self._cache.scan(self._place(namespace, "").namespace):
            vector = _vector(place, value)
            if vector is not None:
                found[place.digest] = vector
        self._vectors[namespace] = found
        self._matrix.pop(namespace, None)
        took = time.monotonic() - started
        self._read_again_at[namespace] = started + max(_SHORTEST_S, _SHARE * took)

    def _matrix_of(self, namespace: str, dimensions: int) -> Any:
        import numpy as np

        if namespace not in self._matrix:
            held = self._vectors.get(namespace, {})
            names = [name for name, vector in held.items() if len(vector) == dimensions]
            rows = np.stack([held[n] for n in names]) if names else np.empty((0, dimensions))
            self._matrix[namespace] = (names, rows)
        return self._matrix[namespace]


def _unit(vector: Sequence[float]) -> Any:
    """Return a vector of length 1, or None of one that points nowhere."""
    import numpy as np

    made = np.asarray(vector, dtype=np.float32)
    length = float(np.linalg.norm(made))
    return made / length if np.isfinite(length) and length > 0 else None


def _vector(place: Key, value: bytes) -> Any:
    import numpy as np

    try:
        made = base64.b64decode(unpack(place, value)["vector"], validate=True)
        return np.frombuffer(made, dtype="<f4")
    except (CorruptEntryError, KeyError, TypeError, ValueError):
        return None
