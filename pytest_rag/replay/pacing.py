"""Paces the calls of models: limits of rate, tries again, and a bound on all of it."""

from __future__ import annotations

import asyncio
import fnmatch
import math
import random
import threading
import time
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llama_index_instrumentation.span import active_span_id

from pytest_rag.errors import BrokenAnswerError, BudgetError, PacingError
from pytest_rag.rates import RateLimit
from pytest_rag.replay import ceiling, scope
from pytest_rag.replay.aside import own_retries, set_aside
from pytest_rag.replay.faults import Fault, backoff, fault_of
from pytest_rag.replay.lanes import Lane
from pytest_rag.replay.requests import model_name, passes
from pytest_rag.trace import usage
from pytest_rag.trace.hub import HUB, not_asked
from pytest_rag.trace.marks import MARK, Mark

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_rag.replay.ceiling import Fare
    from pytest_rag.replay.lanes import Booking

__all__ = ["INSIDE", "Pacer", "Turn", "turn_of"]

_RETRIES = 2
_PATIENCE_S = 120.0
"""The longest a call waits where no case bounds it: while a pipeline is built."""
_CHARACTERS = 4.0
"""Of an English token, about; what a call really used is booked as soon as it is known."""

INSIDE: ContextVar[bool] = ContextVar("pytest_rag_paced", default=False)
"""Whether a call around has its turn."""


class Pacer:
    """Knows the lane of every model; one for all pipelines of a session.

    Args:
        limits: By model name or a pattern such as ``gpt-4*``.
        retries: Of a call, at most; 0 leaves them to the models' own clients, None takes as many
            as those would.
        processes: That share the limits, as xdist's workers do.
    """

    def __init__(
        self, limits: Mapping[str, RateLimit], retries: int | None = None, processes: int = 1
    ) -> None:
        self._limits = {name: _share(limit, processes) for name, limit in limits.items()}
        self._lanes: dict[str, Lane] = {}
        self._lock = threading.RLock()  # the cycle collector ends streams anywhere
        self._retries = retries
        self.chance = random.Random()  # noqa: S311 - spreads callers, and hides nothing

    @property
    def is_limiting(self) -> bool:
        """Whether any model has a limit."""
        return bool(self._limits)

    @property
    def leaves_retries(self) -> bool:
        """Whether models' own clients are to try again, and not we."""
        return self._retries == 0

    def lane(self, model: str) -> Lane:
        """Return the lane of a model."""
        with self._lock:
            if model not in self._lanes:
                self._lanes[model] = Lane(self._limit(model))
            return self._lanes[model]

    def retries(self, model: Any) -> int:
        """Return how often a call of a model's object is tried again."""
        if self._retries is not None:
            return self._retries
        own = own_retries(model)
        return _RETRIES if own is None else own

    def _limit(self, model: str) -> RateLimit:
        exact = self._limits.get(model)
        if exact is not None:
            return exact
        fitting = (limit for name, limit in self._limits.items() if fnmatch.fnmatch(model, name))
        return next(fitting, RateLimit())


def _share(limit: RateLimit, processes: int) -> RateLimit:
    values = {name: getattr(limit, name) for name in RateLimit.__slots__}
    shared = {n: None if v is None else max(1, v // processes) for n, v in values.items()}
    return RateLimit(**shared)


def turn_of(model: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> Turn | None:
    """Return a call's turn, or None where it goes on as it is.

    That is the case outside of runs, for calls inside one that has its turn, and where models
    compute here or answer from a cassette.

    Args:
        model: LlamaIndex's object.
        args: Positional arguments of the call; what is asked, the first of them or of the others,
            tells its tokens about.
        options: Keyword arguments of the call.

    Raises:
        BudgetError: if the run has a ceiling and the call no price.
    """
    if INSIDE.get() or passes(model):
        return None
    purse = ceiling.current()
    take = scope.current() if purse is None else scope.own()
    paces = None if take is None else take.tape.pacer
    if paces is None and purse is None:
        return None
    if paces is None and purse is not None:
        paces = purse.pacer
    pacer = _UNLIMITED if paces is None else paces()
    asked = args[0] if args else next(iter(options.values()), "")
    fare, more = None, dict[str, int]()
    if purse is not None:
        try:
            fare, more = ceiling.fare_of(purse, model, (args, options), alone=pacer.leaves_retries)
        except BudgetError:
            not_asked(Mark())
            raise
    return Turn(
        pacer=pacer,
        model=model,
        deadline=math.inf if take is None else take.deadline,
        tokens=_expected(model, asked),
        fare=fare,
        options=more,
    )


def _expected(model: Any, asked: Any) -> int:
    most = getattr(model, "max_tokens", None)
    return math.ceil(_length(asked) / _CHARACTERS) + (most if type(most) is int else 0)


def _length(asked: Any) -> int:
    if isinstance(asked, str):
        return len(asked)
    if isinstance(asked, list | tuple):
        return sum(map(_length, asked))
    return len(str(getattr(asked, "content", None) or ""))


@dataclass(slots=True, eq=False, kw_only=True)
class Turn:
    """One call on its way through its lane, with every attempt it takes.

    Attributes:
        pacer: Of the session.
        model: LlamaIndex's object.
        deadline: When its case is given up, on the performance counter.
        tokens: It is expected to use.
        fare: Who pays for it; None where there is no ceiling, or it is free.
        options: Keyword arguments that the model is given beside those of the call.
    """

    pacer: Pacer
    model: Any
    deadline: float
    tokens: int
    fare: Fare | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    _lane: Lane = field(init=False)
    _mark: Mark = field(init=False)
    _own: ExitStack = field(default_factory=ExitStack)
    _attempts: int = 0
    _delay_s: float = 0.0
    _first: float = 0.0
    _began: float = 0.0
    _booking: Booking | None = None
    _entered: bool = False

    def __post_init__(self) -> None:
        self.name = model_name(self.model)
        self._lane = self.pacer.lane(self.name)
        self._mark = MARK.get() or Mark()
        self._first = time.perf_counter()

    # --- waiting ---

    def wait(self) -> None:
        """Wait for money, a slot, the limits and the back-off, in this thread.

        Raises:
            PacingError: if that takes longer than the case may.
            BudgetError: if the call could pass the ceiling.
        """
        start = time.perf_counter()
        try:
            if self.fare is not None:
                ceiling.pay(self.fare, self.deadline)
            self._wait(start)
        except BaseException:
            self._pay_nothing()
            raise

    def _wait(self, start: float) -> None:
        place = self._lane.enter()
        if not place.done() and ceiling.is_on_a_loop() and place.cancel():
            self._lane.force()  # the loop that would free a slot is the one that would wait
        else:
            try:
                place.result(self._left())
            except TimeoutError:
                if place.cancel():
                    raise self._too_late(None) from None
        self._entered = True
        time.sleep(self._booked())
        self._waited(start)

    async def await_turn(self) -> None:
        """Wait likewise, and let the event loop go on.

        Raises:
            PacingError: if that takes longer than the case may.
            BudgetError: if the call could pass the ceiling.
        """
        start = time.perf_counter()
        try:
            if self.fare is not None:
                await ceiling.apay(self.fare, self.deadline)
            await self._await(start)
        except BaseException:
            self._pay_nothing()
            raise

    async def _await(self, start: float) -> None:
        place = self._lane.enter()
        if not place.done():
            try:
                await asyncio.wait_for(asyncio.wrap_future(place), self._left())
            except TimeoutError:
                if place.cancelled():
                    raise self._too_late(None) from None
            except BaseException:
                self._entered = not place.cancelled()
                self._release()
                raise
        self._entered = True
        try:
            await asyncio.sleep(self._booked())
        except BaseException:
            self._release()
            raise
        self._waited(start)

    def _left(self) -> float | None:
        left = self.deadline - time.perf_counter()
        return None if left == math.inf else max(0.0, left)

    def _booked(self) -> float:
        """Return how long to wait until the call may start."""
        now = time.perf_counter()
        latest = min(self.deadline, now + max(_PATIENCE_S, self._left() or 0.0))
        due = now + self._delay_s
        self._booking = self._lane.book(self.tokens, due, latest)
        if self._booking is None:
            self._release()
            raise self._too_late(None)
        return max(0.0, self._booking.at - now)

    def _too_late(self, seconds: float | None) -> PacingError:
        what = "the limits of its rate" if seconds is None else f"{seconds:g} s"
        return PacingError(
            f"A call of {self.name} would have to wait for {what} beyond the case's timeout_s. "
            "Raise timeout_s or the limits in [tool.pytest-rag.limits], or lower "
            "--rag-concurrency."
        )

    def _waited(self, start: float) -> None:
        self._began = self._mark.started = time.perf_counter()
        self._attempts += 1
        if not self.pacer.leaves_retries and self._attempts == 1:
            self._own.enter_context(set_aside(self.model))
        if self._began - start > _NOTHING_S:
            HUB.waited(active_span_id.get(), start, self._began)

    # --- an attempt ---

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Let the model be asked inside; what it calls in turn has its turn already."""
        token = MARK.set(self._mark)
        paced = INSIDE.set(True)
        try:
            yield
        finally:
            INSIDE.reset(paced)
            MARK.reset(token)

    def failed(self, error: Exception, *, spoke: bool = False) -> bool:
        """Note that an attempt broke; return whether to try again, after `wait`.

        Args:
            error: What was raised; it is told why it is not tried again.
            spoke: Whether the caller has already been given text.
        """
        fault = fault_of(error)
        now = time.perf_counter()
        HUB.broke(self._mark, active_span_id.get(), paid=fault.paid)
        if self.fare is not None:
            self.fare.end(paid=fault.paid or spoke)
        if fault.refused:
            self._lane.refused(self._began, now, fault.after_s)
        if self._booking is not None and not fault.paid:
            self._booking.tokens = 0
        delay = fault.after_s
        if delay is None:
            delay = backoff(self._attempts, self.pacer.chance.random())
        reason = self._final(fault, delay, now, spoke=spoke)
        self._leave()
        if reason is None:
            self._delay_s = delay
            return True
        said = ". ".join(part for part in (fault.text, reason) if part)
        if said:
            error.add_note(f"{self.name}: {said}.")
        self.end()
        return False

    def _final(self, fault: Fault, delay: float, now: float, *, spoke: bool) -> str | None:
        """Return why this was the last attempt, or None where it was not."""
        if not fault.again or self.pacer.leaves_retries:
            return ""
        if spoke:
            return "Part of the answer had been given to the pipeline, so it is not asked again"
        if self._attempts > self.pacer.retries(self.model):
            times = "once" if self._attempts == 1 else f"{self._attempts} times"
            return f"Asked {times} within {now - self._first:.1f} s"
        if now + delay > self.deadline or delay > _PATIENCE_S:
            whose = "that the provider asks for " if fault.after_s is not None else ""
            return f"The wait of {delay:g} s {whose}is longer than the case's timeout_s leaves"
        return None

    def succeeded(self, said: Any, last: Any = None) -> None:
        """Note that an answer came in whole.

        Args:
            said: The response, or the piece of it in which the provider told its tokens.
            last: The last piece of a stream.
        """
        tokens = usage.of_response(said)
        if self.fare is not None:
            counted = tokens.output_tokens is not None
            most = 0 if counted else ceiling.said_tokens(self.name, last or said)
            self.fare.settle(tokens, most)
        used = (tokens.input_tokens or 0) + (tokens.output_tokens or 0)
        if self._booking is not None and used:
            self._booking.tokens = used
        self._lane.served()
        self.end()

    def cut_short(self) -> BrokenAnswerError:
        """Return the error of an answer that ended without a word on why."""
        self.end()
        return BrokenAnswerError(
            f"The answer of {self.name} was cut short: the stream stopped with neither a "
            "finish_reason nor [DONE]. What is missing is unknown."
        )

    def end(self) -> None:
        """Make room for others; what is still open has to be paid for. May be called again."""
        if self.fare is not None:
            self.fare.end(paid=True)
        self._release()

    def _pay_nothing(self) -> None:
        not_asked(self._mark)
        if self.fare is not None:
            self.fare.end(paid=False)

    def _release(self) -> None:
        self._leave()
        self._own.close()

    def _leave(self) -> None:
        if self._entered:
            self._entered = False
            self._lane.leave()


_NOTHING_S = 0.0005
_UNLIMITED = Pacer({})
