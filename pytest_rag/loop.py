"""One event loop in a thread of its own, kept for the whole session.

LlamaIndex's HTTP clients are bound to the loop they were made on and fail on a second one.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import wait
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_rag.trace.cpu import metering_task_factory

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

__all__ = ["LoopThread", "in_thread"]

T = TypeVar("T")
_BEAT_S = 0.1


class LoopThread:
    """An event loop that runs until `close`, and knows when something blocks it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(metering_task_factory)  # type: ignore[arg-type]
        self._beat = time.monotonic()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="pytest-rag", daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def finish(self, coroutine: Coroutine[Any, Any, T], *, timeout_s: float) -> T:
        """Run a coroutine on the loop, in a copy of this thread's context, and wait for it.

        Raises:
            TimeoutError: if it took longer; it is cancelled then.
        """
        context = copy_context()

        async def begun() -> T:
            return await asyncio.get_running_loop().create_task(coroutine, context=context)

        future = self.submit(begun())
        done, _ = wait([future], timeout=None if timeout_s == math.inf else timeout_s)
        if not done:
            future.cancel()
            raise TimeoutError
        return future.result()

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function on the loop's thread, soon."""
        self._loop.call_soon_threadsafe(function, *args)

    def blocked_for(self) -> float:
        """Return for how many seconds nothing has run on the loop; near 0 in health."""
        return max(0.0, time.monotonic() - self._beat - _BEAT_S)

    def close(self) -> None:
        """Cancel what still runs and end the thread; a blocked loop is left to die with us."""
        if self._loop.is_closed():
            return
        self._closing = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._tick)
        try:
            while not self._closing:  # a pipeline that stops the loop stops only itself
                self._loop.run_forever()
        finally:
            self._end_tasks()
            self._loop.close()
            _threads.close()

    def _tick(self) -> None:
        self._beat = time.monotonic()
        self._loop.call_later(_BEAT_S, self._tick)

    def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=2))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())


class _Threads(threading.local):
    """Daemon threads of one event loop: as many as it needs at a time, each used again.

    Those of ``asyncio.to_thread`` are joined when Python ends; one that hangs would keep the
    process alive for ever.
    """

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)

    def start(self, work: Callable[[], None]) -> None:
        """Let a thread that has nothing to do call ``work``, or a new one."""
        self._work.put(work)
        if not self._idle.acquire(blocking=False):
            todo = (self._work, self._idle)
            threading.Thread(target=_serve, args=todo, name="pytest-rag case", daemon=True).start()

    def close(self) -> None:
        """End the threads that have nothing to do; the others end when they are done."""
        self._work.put(None)


def _serve(todo: SimpleQueue[Callable[[], None] | None], idle: threading.Semaphore) -> None:
    while (work := todo.get()) is not None:
        work()
        del work  # what it holds must not outlive it
        idle.release()
    todo.put(None)  # for the next


_threads = _Threads()


async def in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a daemon thread, in a copy of this context."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = copy_context()

    def settle(setter: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            setter(value)

    def work() -> None:
        try:
            result = context.run(function)
        except StopIteration as error:  # a future refuses it
            failure = RuntimeError(f"The pipeline raised {error!r}.")
            outcome: tuple[Callable[[Any], None], Any] = (done.set_exception, failure)
        except BaseException as error:  # noqa: BLE001 - handed to whoever awaits
            outcome = (done.set_exception, error)
        else:
            outcome = (done.set_result, result)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, *outcome)

    _threads.start(work)
    return await done
