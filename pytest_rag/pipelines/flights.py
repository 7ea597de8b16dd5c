"""One computation of a key at a time: in this process by flights, between processes by leases."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_rag.cache import Cache, Key

__all__ = ["Flight", "Flights", "Landing", "Lease"]


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """How a flight ended.

    Attributes:
        body: What can be shared with those who waited, or None.
        error: What the computation raised, or None.
        again: True where it was given up, so that another should begin anew.
    """

    body: dict[str, Any] | None = None
    error: Exception | None = None
    again: bool = False


@dataclass(slots=True, eq=False)
class Flight:
    """One computation that others may wait for.

    Attributes:
        landed: Done when the flight has ended; never raises.
        is_stream: Whether its answer is being read by somebody, who may stop to.
        moved: When it was last seen to go on, on the monotonic clock.
    """

    landed: Future[Landing] = field(default_factory=Future)
    is_stream: bool = False
    moved: float = field(default_factory=time.monotonic)
    thread: int = field(default_factory=threading.get_ident)
    task: Any = field(default_factory=_current_task)

    def __post_init__(self) -> None:
        """Let nobody who waits cancel it."""
        self.landed.set_running_or_notify_cancel()

    def is_mine(self) -> bool:
        """Tell whether to wait here would be to wait for oneself."""
        task = _current_task()
        if task is not None and self.task is not None:
            return self.task is task
        return self.thread == threading.get_ident()

    def is_stalled(self, seconds: float) -> bool:
        """Tell whether it is a stream that nobody has read for some time."""
        return self.is_stream and time.monotonic() - self.moved > seconds


class Flights:
    """The flights of one process."""

    def __init__(self) -> None:
        self._flights: dict[Key, Flight] = {}
        self._resting: dict[Key, float] = {}
        self._lock = threading.RLock()  # the cycle collector ends streams anywhere
        self._process = os.getpid()

    def join(self, key: Key) -> tuple[Flight, bool]:
        """Return the flight of a key, and whether it was begun here and is ours to land."""
        with self._lock:
            if self._process != os.getpid():  # those of the parent are no longer ours
                self._flights, self._process = {}, os.getpid()
            found = self._flights.get(key)
            if found is not None:
                return found, False
            made = self._flights[key] = Flight()
            return made, True

    def land(self, key: Key, flight: Flight, landing: Landing) -> None:
        """End a flight; nothing happens where it has ended."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
            if not flight.landed.done():
                flight.landed.set_result(landing)

    def is_quiet(self, key: Key) -> bool:
        """Tell whether nobody computes a key here, and none who tried failed just now."""
        with self._lock:
            resting = self._resting.get(key)
            if resting is not None and time.monotonic() >= resting:
                resting = self._resting.pop(key) and None
            return resting is None and key not in self._flights

    def rest(self, key: Key, seconds: float) -> None:
        """Leave a key alone for some time."""
        with self._lock:
            self._resting[key] = time.monotonic() + seconds


class Lease:
    """The right to compute a key for all processes; kept until it is released or we die."""

    def __init__(self, cache: Cache, key: Key, seconds: float) -> None:
        self._cache = cache
        self._key = key
        self._seconds = seconds
        self._token = uuid.uuid4().hex
        self._is_held = False
        self._lock = threading.RLock()  # the cycle collector ends streams anywhere

    def take(self) -> bool:
        """Ask for it; True where it is ours."""
        with self._lock:
            self._is_held = self._cache.lease(self._key, self._token, self._seconds)
            return self._is_held

    def keep(self, is_wanted: Callable[[], bool]) -> None:
        """Extend it from time to time, as long as it is held and wanted."""

        def extend() -> None:
            with self._lock:
                if self._is_held and is_wanted():
                    self._cache.lease(self._key, self._token, self._seconds)

        if self._is_held:
            _KEEPER.hold(self._token, extend, self._seconds / 3)

    def release(self) -> None:
        """Give it back, if it is ours."""
        _KEEPER.drop(self._token)
        with self._lock:
            if self._is_held:
                self._is_held = False
                self._cache.release(self._key, self._token)


class _Keeper:
    """A thread that extends leases, and ends when there are none."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Callable[[], None], float]] = {}
        self._changed = threading.Condition()
        self._pause = 0.0
        self._process: int | None = None

    def hold(self, token: str, extend: Callable[[], None], every: float) -> None:
        """Call ``extend`` every so many seconds, until it is dropped."""
        with self._changed:
            if self._process != os.getpid():  # the leases of a parent are not ours
                self._held, self._process, self._pause = {}, os.getpid(), every
                threading.Thread(target=self._run, name="pytest-rag leases", daemon=True).start()
            self._held[token] = (extend, every)
            if every < self._pause:
                self._changed.notify()

    def drop(self, token: str) -> None:
        """Extend it no more."""
        with self._changed:
            self._held.pop(token, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._held:
                    self._process = None
                    return
                self._pause = min(every for _, every in self._held.values())
                self._changed.wait(self._pause)
                held = list(self._held.values())
            for extend, _ in held:
                # Whatever a foreign cache raises, the leases of others must go on.
                with suppress(Exception):
                    extend()


_KEEPER = _Keeper()
