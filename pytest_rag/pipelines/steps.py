"""What a cached engine does step by step, for a thread that waits and for a loop that awaits.

The course of a question is a generator. It yields what may take time, and is sent what came of it;
`drive` and `drive_async` do that, each in its own way.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.loop import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from pytest_rag.pipelines.flights import Flight

__all__ = ["Ask", "Do", "Pause", "Step", "Wait", "drive", "drive_async"]


@dataclass(frozen=True, slots=True)
class Do:
    """Call something that does not await; in a thread where it may block."""

    work: Callable[[], Any]
    blocks: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """Call what has a method of either kind, within a context.

    Attributes:
        sync: For a thread.
        awaited: For a loop.
        within: Makes the context.
    """

    sync: Callable[[], Any]
    awaited: Callable[[], Any]
    within: Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a flight to land, so many seconds at most."""

    flight: Flight
    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


Step = Do | Ask | Wait | Pause


def drive(course: Generator[Step, Any, Any]) -> Any:
    """Go through a course in this thread and return what it does."""
    try:
        step = next(course)
        while True:
            try:
                came = _do(step)
            except BaseException as error:  # noqa: BLE001 - handed on to the course
                step = course.throw(error)
            else:
                step = course.send(came)
    except StopIteration as end:
        return end.value


def _do(step: Step) -> Any:
    if isinstance(step, Do):
        return step.work()
    if isinstance(step, Ask):
        with step.within():
            return step.sync()
    if isinstance(step, Wait):
        concurrent.futures.wait([step.flight.landed], max(0.0, step.seconds))
        return None
    return time.sleep(step.seconds)


async def drive_async(course: Generator[Step, Any, Any]) -> Any:
    """Go through a course on this loop and return what it does."""
    try:
        step = next(course)
        while True:
            try:
                came = await _await(step)
            except BaseException as error:  # noqa: BLE001 - handed on to the course
                step = course.throw(error)
            else:
                step = course.send(came)
    except StopIteration as end:
        return end.value


async def _await(step: Step) -> Any:
    if isinstance(step, Do):
        return await in_thread(step.work) if step.blocks else step.work()
    if isinstance(step, Ask):
        with step.within():
            return await step.awaited()
    if isinstance(step, Wait):
        landed = asyncio.wrap_future(step.flight.landed)
        try:
            await asyncio.wait([landed], timeout=max(0.0, step.seconds))
        finally:
            landed.cancel()  # ends this wait, not the flight
        return None
    return await asyncio.sleep(step.seconds)
