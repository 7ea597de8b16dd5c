"""Writes calls of production to the ledger, in a thread of its own that nobody waits for."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import threading
import uuid
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from pytest_rag.costs.ledger import Ledger
from pytest_rag.errors import message_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Writer"]

_LOG = logging.getLogger("pytest_rag")
_END_S = 10.0


class Writer:
    """One for each ledger of a process; what goes wrong is logged once.

    Args:
        path: Of the ledger.
    """

    def __init__(self, path: Path) -> None:
        self._ledger = Ledger(path)
        self._thread: threading.Thread | None = None
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.flush)

    @staticmethod
    @functools.cache
    def of(path: Path) -> Writer:
        """Return the process's writer of a ledger."""
        return Writer(path)

    def put(self, name: str, calls: Callable[[], list[dict[str, Any]]]) -> None:
        """Hand over the calls of one query and return at once.

        Args:
            name: What they are listed under.
            calls: Makes them, as a record has them; called in the writer's thread.
        """
        with self._lock:
            self._waiting.put((name, calls))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, args=(self._waiting,), name="pytest-rag-ledger", daemon=True
                )
                self._thread.start()

    def flush(self) -> None:
        """Wait until everything that was handed over is written, for ten seconds at most."""
        if self._thread is not None and self._thread.is_alive():
            done = threading.Event()
            self._waiting.put(done)
            done.wait(_END_S)

    def _begin(self) -> None:
        """Begin anew, as a process does that was forked: the thread has stayed behind."""
        self._run = uuid.uuid4().hex
        self._number = 0
        self._waiting: SimpleQueue[Any] = SimpleQueue()
        self._thread = None
        self._lock = threading.RLock()  # the cycle collector ends streams anywhere
        self._troubled = False

    def _work(self, waiting: SimpleQueue[Any]) -> None:
        while True:
            item = waiting.get()
            if isinstance(item, threading.Event):
                item.set()
            else:
                self._write(*item)

    def _write(self, name: str, calls: Callable[[], list[dict[str, Any]]]) -> None:
        try:
            self._number += 1
            self._ledger.add_calls(self._run, name, self._number, calls())
        except Exception as error:  # noqa: BLE001 - production goes on, whatever it is
            if not self._troubled:
                _LOG.warning("Costs are not written to the ledger: %s", message_of(error))
            self._troubled = True
