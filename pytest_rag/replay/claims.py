"""Which requests are on their way to a model, so that nobody asks the same meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Claims"]


class Claims:
    """The requests of one process that somebody has gone to ask, by key."""

    def __init__(self) -> None:
        self._open: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def claim(self, key: str) -> Future[None] | None:
        """Return what is done when another has an answer, or None: then it is ours to ask for."""
        with self._lock:
            found = self._open.get(key)
            if found is None:
                made: Future[None] = Future()
                made.set_running_or_notify_cancel()  # so that nobody who waits cancels it
                self._open[key] = made
            return found

    def release(self, keys: Iterable[str]) -> None:
        """Tell whoever waits that the answers are there, or will not be."""
        for key in keys:
            with self._lock:
                done = self._open.pop(key, None)
            if done is not None:
                done.set_result(None)
