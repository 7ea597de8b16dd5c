"""Lends the session's event loop to LlamaIndex's way from blocking code to asynchronous code.

That way, as with ``use_async=True`` in a factory, takes a loop of the thread's or makes one and
closes it. A client that was first used there fails on any other loop, where the cases run.
"""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from pytest_rag.loop import LoopThread

__all__ = ["lent"]

_BORROWER = "llama_index.core.async_utils"


class _Lent:
    """What that way needs of an event loop."""

    def __init__(self, loop: LoopThread) -> None:
        self._loop = loop

    def is_running(self) -> bool:
        """Say that it can be given something to run until it is complete."""
        return False

    def run_until_complete(self, awaitable: Awaitable[Any]) -> Any:
        """Run something on the session's loop, and wait for it here."""

        async def awaited() -> Any:
            return await awaitable

        return self._loop.finish(awaited(), timeout_s=math.inf)


@contextmanager
def lent(loop: LoopThread) -> Iterator[None]:
    """Let what LlamaIndex runs on a loop of this thread's inside run on the session's.

    Nobody else who asks for a loop is told of it.
    """
    borrower = threading.get_ident()
    original: Callable[[], Any] = asyncio.get_event_loop

    def get_event_loop() -> Any:
        name = sys._getframe(1).f_globals.get("__name__")  # noqa: SLF001 - LlamaIndex may come late
        is_here = threading.get_ident() == borrower and name == _BORROWER
        return _Lent(loop) if is_here and not _is_running() else original()

    asyncio.get_event_loop = get_event_loop
    try:
        yield
    finally:
        asyncio.get_event_loop = original


def _is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
