"""One lane a model: how many calls and tokens a minute, how many calls at a time."""

from __future__ import annotations

import math
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_rag.rates import RateLimit

__all__ = ["Booking", "Lane"]

_MINUTE_S = 60.0


@dataclass(slots=True, eq=False)
class Booking:
    """A call's place in the minute.

    Attributes:
        at: When it may start, on the clock of the lane.
        tokens: What it is expected to use, until it is known.
    """

    at: float
    tokens: int


class Lane:
    """Lets calls of one model start, from any thread or event loop.

    In no minute, wherever it begins, do more requests or tokens start than the limit says. How
    many run at a time is halved when the provider refuses one and creeps up by one for as many as
    run that succeed (additive increase, multiplicative decrease: Chiu and Jain, 1989).

    Args:
        limit: Requests and tokens a minute, calls at a time.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._lock = threading.RLock()  # the cycle collector ends streams anywhere
        self._booked: deque[Booking] = deque()
        self._not_before = -math.inf
        self._most = math.inf if limit.concurrency is None else float(limit.concurrency)
        self.allowed = self._most
        self._halved = -math.inf
        self._running = 0
        self._waiting: deque[Future[None]] = deque()

    # --- how many at a time ---

    def enter(self) -> Future[None]:
        """Return what is done once the call may go on; every call that was let in must `leave`."""
        place: Future[None] = Future()
        with self._lock:
            self._waiting.append(place)
            self._admit()
        return place

    def force(self) -> None:
        """Let a call in that cannot wait."""
        with self._lock:
            self._running += 1

    def leave(self) -> None:
        """Note that a call ended."""
        with self._lock:
            self._running -= 1
            self._admit()

    def refused(self, began: float, now: float, after_s: float | None) -> None:
        """Note that the provider refused a call because there are too many.

        Args:
            began: When the call did.
            now: On the same clock.
            after_s: Seconds for which nobody should ask, or None.
        """
        with self._lock:
            if after_s is not None:
                self._not_before = max(self._not_before, now + after_s)
            if began < self._halved:
                return  # it was under way when the number was halved, and says nothing new
            self._halved = now
            self.allowed = max(1.0, min(self.allowed, self._running) / 2)

    def served(self) -> None:
        """Note that a call succeeded."""
        with self._lock:
            if self.allowed < self._most:
                self.allowed = min(self._most, self.allowed + 1 / self.allowed)
                self._admit()

    def _admit(self) -> None:
        while self._waiting and self._running + 1 <= self.allowed:
            place = self._waiting.popleft()
            if place.set_running_or_notify_cancel():
                self._running += 1
                place.set_result(None)

    # --- how many a minute ---

    def book(self, tokens: int, now: float, latest: float) -> Booking | None:
        """Return when a call may start, or None where that is later than it can wait.

        Args:
            tokens: It will use, as far as is known.
            now: Seconds on any clock that only grows.
            latest: On the same clock.
        """
        with self._lock:
            at = max(now, self._not_before)
            if self._limit.rpm is None and self._limit.tpm is None:
                return Booking(at, tokens) if at <= latest else None
            if self._booked:
                at = max(at, self._booked[-1].at)
            at = self._free(at, tokens)
            if at > latest:
                return None
            booking = Booking(at, tokens)
            self._booked.append(booking)
            while self._booked[0].at <= at - _MINUTE_S:
                self._booked.popleft()
            return booking

    def _free(self, at: float, tokens: int) -> float:
        """Return when the minute before has room; one call alone always has."""
        rpm, tpm = self._limit.rpm or math.inf, self._limit.tpm or math.inf
        inside = [booking for booking in self._booked if booking.at > at - _MINUTE_S]
        used, count = sum(booking.tokens for booking in inside), len(inside)
        for oldest in inside:
            if count < rpm and used + tokens <= tpm:
                break
            at = max(at, oldest.at + _MINUTE_S)
            used, count = used - oldest.tokens, count - 1
        return at
