"""Processor time of a coroutine, apart from what other tasks of its event loop used."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any, TypeVar

__all__ = ["cpu_clock", "metered", "metering_task_factory"]

T = TypeVar("T")


class _Meter:
    """Adds up the thread time of the steps of one coroutine."""

    __slots__ = ("spent", "step_start", "thread")

    def __init__(self) -> None:
        self.spent = 0.0
        self.step_start = 0.0
        self.thread = 0

    def begin(self) -> None:
        self.thread = threading.get_ident()
        self.step_start = time.thread_time()

    def pause(self) -> None:
        self.spent += time.thread_time() - self.step_start
        self.thread = 0

    def now(self) -> float:
        return self.spent + time.thread_time() - self.step_start


_meter: ContextVar[_Meter | None] = ContextVar("pytest_rag_meter", default=None)


def cpu_clock() -> tuple[object, float]:
    """Return the clock in force here and its reading in seconds.

    Readings of one clock may be subtracted from each other; those of two clocks may not. The
    clock is the coroutine's own where one is being metered in this thread, else the thread's.
    """
    meter = _meter.get()
    thread = threading.get_ident()
    if meter is not None and meter.thread == thread:
        return meter, meter.now()
    return thread, time.thread_time()


class _Metered(Awaitable[T]):
    """Drives a coroutine and meters each of its steps."""

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self.coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, T]:
        meter = _Meter()
        token = _meter.set(meter)
        sent: Any = None
        raised: BaseException | None = None
        try:
            while True:
                meter.begin()
                try:
                    if raised is not None:
                        waited_for = self.coroutine.throw(raised)
                    else:
                        waited_for = self.coroutine.send(sent)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                finally:
                    meter.pause()
                sent, raised = None, None
                try:
                    sent = yield waited_for
                except BaseException as error:  # noqa: BLE001 - handed on to the coroutine
                    raised = error
        finally:
            _meter.reset(token)
            self.coroutine.close()


async def metered(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine with a clock of its own for the processor time it uses."""
    return await _Metered(coroutine)


def metering_task_factory(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], **kwargs: Any
) -> asyncio.Task[T]:
    """Make a task; give it a clock of its own where the task that starts it is metered."""
    if _meter.get() is not None and asyncio.iscoroutine(coroutine):
        coroutine = metered(coroutine)
    return asyncio.Task(coroutine, loop=loop, **kwargs)
