"""Threads that answer the cases of a synchronous pipeline, one after the other.

A case that took the way over the event loop would wake it twice, for nothing it has to do there.
"""

from __future__ import annotations

import threading
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future
    from typing import Any

__all__ = ["Crew"]


class _Task(Protocol):
    @property
    def future(self) -> Future[Any]: ...


T = TypeVar("T", bound=_Task)


class Crew(Generic[T]):
    """Daemon threads that share what there is to do, up to a limit.

    Daemons, since one that hangs must not keep the process alive. What is handed over at once is
    begun by one thread, and `fill` sends the others: threads that answer within microseconds
    would only stand in each other's way.

    Args:
        work: Settles a task's future; never raises.
        limit: How many threads work at a time.

    Attributes:
        running: What is being worked at.
    """

    def __init__(self, work: Callable[[T], None], limit: int) -> None:
        self._work = work
        self._limit = limit
        self._threads = 0
        self._waiting: deque[T] = deque()
        self._lock = threading.Lock()
        self.running: set[T] = set()

    def add(self, tasks: Iterable[T]) -> None:
        """Take in tasks, and start a thread for them if there may be a further one."""
        with self._lock:
            self._waiting.extend(tasks)
        self._start(1)

    def fill(self) -> None:
        """Start as many threads as there may be, and is something to do for."""
        if self._waiting and self._threads < self._limit:
            self._start(self._limit)

    def _start(self, most: int) -> None:
        with self._lock:
            fresh = min(most, self._limit - self._threads, len(self._waiting))
            self._threads += fresh
        for _ in range(fresh):
            threading.Thread(target=self._serve, name="pytest-rag case", daemon=True).start()

    def cancel(self) -> None:
        """Drop what has not started."""
        with self._lock:
            left = list(self._waiting)
            self._waiting.clear()
        for task in left:
            task.future.cancel()

    def abandon(self, task: T) -> None:
        """Leave a task that takes too long to its thread, and let another do the rest."""
        with self._lock:
            if task not in self.running:
                return
            self.running.discard(task)
            self._threads -= 1
        self.fill()

    def _serve(self) -> None:
        task: T | None = None
        while (task := self._next(task)) is not None:
            copy_context().run(self._work, task)

    def _next(self, done: T | None) -> T | None:
        """Put away what is done and return what is next; None where this thread has to end."""
        with self._lock:
            if done is not None:
                if done not in self.running:
                    return None  # it was abandoned, and this thread with it
                self.running.discard(done)
            while self._waiting:
                task = self._waiting.popleft()
                if task.future.set_running_or_notify_cancel():
                    self.running.add(task)
                    return task
            self._threads -= 1
        return None
