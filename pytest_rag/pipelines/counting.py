"""What a cached engine did and saved, counted here and in the cache."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_rag.cache import Cache

__all__ = ["CacheUse", "Tally"]

_FLUSH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """What happened to the questions put to a cached engine.

    Every question is one of ``hits``, ``stale_hits``, ``semantic_hits``, ``shared`` and ``misses``.

    Attributes:
        hits: Answered from the cache.
        stale_hits: Answered from the cache, past their time, while the answer was made anew.
        semantic_hits: Answered with what was answered to a similar question.
        shared: Answered with what somebody else had just asked for.
        misses: Answered by the engine.
        refreshes: Answers made anew in the background.
        stored: Answers put into the cache.
        not_stored: Answers that were not: empty, refusals, nothing JSON can hold, or too much for
            the cache, or while it was away.
        errors: Questions at which the engine raised.
        corrupt: Values that were torn or foreign; each of them is a miss as well.
        bytes: Read from the cache.
        saved_ms: What the answers from the cache had taken when they were made.
        saved_usd: What they had cost, as far as that is known.
        unpriced_hits: Answers from the cache whose cost is not known.
    """

    hits: int = 0
    stale_hits: int = 0
    semantic_hits: int = 0
    shared: int = 0
    misses: int = 0
    refreshes: int = 0
    stored: int = 0
    not_stored: int = 0
    errors: int = 0
    corrupt: int = 0
    bytes: int = 0
    saved_ms: float = 0.0
    saved_usd: float = 0.0
    unpriced_hits: int = 0

    @classmethod
    def of(cls, totals: Mapping[str, float]) -> Self:
        """Return the counts among a cache's totals."""
        floats = ("saved_ms", "saved_usd")
        known: dict[str, Any] = {
            name: totals[name] if name in floats else round(totals[name])
            for name in cls.__dataclass_fields__
            if name in totals
        }
        return cls(**known)

    @property
    def answered(self) -> int:
        """Questions that the engine was not asked."""
        return self.hits + self.stale_hits + self.semantic_hits + self.shared


class Tally:
    """Counts in this process, and brings the counts to the cache about once a second."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._all: Counter[str] = Counter()
        self._new: Counter[str] = Counter()
        self._lock = threading.RLock()  # the cycle collector ends streams anywhere
        self._process = os.getpid()
        self._flushed = time.monotonic()

    def add(self, **counts: float) -> None:
        """Count."""
        with self._lock:
            if self._process != os.getpid():  # the parent brings its own
                self._new, self._process = Counter(), os.getpid()
            for name, count in counts.items():
                self._all[name] += count  # type: ignore[assignment]
                self._new[name] += count  # type: ignore[assignment]

    def use(self) -> CacheUse:
        """Return what was counted in this process."""
        with self._lock:
            return CacheUse.of(self._all)

    def flush_if_due(self) -> None:
        """Bring the counts to the cache, if that was not done just now."""
        if time.monotonic() - self._flushed > _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Bring the counts to the cache."""
        with self._lock:
            self._flushed = time.monotonic()
            new, self._new = self._new, Counter()
            mine = self._process == os.getpid()
        if new and mine:
            self._cache.tally(new)
