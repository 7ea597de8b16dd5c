"""Runs jobs against a pipeline with bounded concurrency, on one persistent event loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import PipelineError
from pytest_rag.judge import Job, broken, judge
from pytest_rag.loop import LoopThread
from pytest_rag.observe import Attempt, observe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_rag.config import Config
    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.records import Result

__all__ = ["Runner"]

_POLL_S = 0.25
_GRACE_S = 2.0


@dataclass(eq=False)
class _Pending:
    job: Job
    pipeline: Pipeline
    attempt: Attempt
    future: Future[Result] = field(default_factory=Future)


class Runner:
    """Runs jobs on one persistent event loop.

    Args:
        config: Concurrency, document ids and prices.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.loop = LoopThread()
        self._waiting: dict[int, deque[_Pending]] = {}
        self._workers: dict[int, int] = {}
        self._running: set[_Pending] = set()

    def start(self, pipeline: Pipeline, jobs: Iterable[Job]) -> list[Future[Result]]:
        """Queue jobs and return a future for the result of each, in order.

        As many run at a time as ``config.concurrency`` and the pipeline allow.
        """
        now = time.perf_counter()
        pending = [
            _Pending(job=job, pipeline=pipeline, attempt=Attempt(queued=now)) for job in jobs
        ]
        self._waiting.setdefault(id(pipeline), deque()).extend(pending)
        self.loop.call(self._staff, pipeline)
        return [each.future for each in pending]

    def result(self, future: Future[Result]) -> Result:
        """Wait for a result; a case that blocks the event loop is given up after its time.

        Raises:
            CancelledError: if `cancel` came first.
        """
        while True:
            try:
                return future.result(timeout=_POLL_S)
            except TimeoutError:
                self._watch()

    def cancel(self) -> None:
        """Drop what has not started and abandon what runs."""
        for queue in self._waiting.values():
            while queue:
                queue.popleft().future.cancel()
        for pending in list(self._running):
            pending.future.cancel()

    def close(self) -> None:
        """Cancel everything and end the loop."""
        self.cancel()
        self.loop.close()

    # --- on the loop's thread ---

    def _staff(self, pipeline: Pipeline) -> None:
        """Start workers for a pipeline's queue, up to the limit."""
        key = id(pipeline)
        limit = min(self.config.concurrency, pipeline.concurrency or self.config.concurrency)
        wanted = min(limit - self._workers.get(key, 0), len(self._waiting[key]))
        for _ in range(wanted):
            self._workers[key] = self._workers.get(key, 0) + 1
            task = asyncio.ensure_future(self._work(key, self._waiting[key]))
            task.add_done_callback(_retrieve_exception)

    async def _work(self, key: int, queue: deque[_Pending]) -> None:
        loop = self.loop
        try:
            while queue and loop is self.loop:
                pending = queue.popleft()
                if pending.future.set_running_or_notify_cancel():
                    await self._run(pending)
        finally:
            self._workers[key] -= 1

    async def _run(self, pending: _Pending) -> None:
        self._running.add(pending)
        try:
            result = await self._attempt(pending)
        except BaseException as error:
            _settle(pending.future, error=error)
            raise
        else:
            _settle(pending.future, result)
        finally:
            self._running.discard(pending)

    async def _attempt(self, pending: _Pending) -> Result:
        job, case = pending.job, pending.job.case
        task = asyncio.ensure_future(
            observe(pending.pipeline, case.query, case.filters, self.config, pending.attempt)
        )
        done, _ = await asyncio.wait({task}, timeout=case.timeout_s)
        try:
            if not done:
                task.cancel()
                task.add_done_callback(_retrieve_exception)
                raise PipelineError(_timed_out(case.timeout_s))
            return judge(job, task.result())
        except Exception as error:  # noqa: BLE001 - becomes the record of the run
            return self._broken(pending, error)
        except asyncio.CancelledError as error:  # the pipeline cancelled itself
            return self._broken(pending, error)

    def _broken(self, pending: _Pending, error: BaseException) -> Result:
        return broken(pending.job, error, self.config, pending.attempt)

    # --- on the waiting thread ---

    def _watch(self) -> None:
        """Give up the loop where a case has blocked it for longer than that case may take."""
        now = time.perf_counter()
        overdue = [
            pending
            for pending in list(self._running)
            if now - pending.attempt.started > pending.job.case.timeout_s + _GRACE_S
        ]
        if not overdue or self.loop.blocked_for() < _GRACE_S:
            return
        lost, self._running = self._running, set()
        self.loop = LoopThread()
        self._workers = {}
        for pending in lost:
            error = PipelineError(
                f"{_timed_out(pending.job.case.timeout_s)} Synchronous code blocks the event loop: "
                "use `await`, or make the pipeline a plain function, which runs in a thread."
            )
            _settle(pending.future, self._broken(pending, error))
        pipelines = {id(p.pipeline): p.pipeline for q in self._waiting.values() for p in q}
        for pipeline in pipelines.values():
            self.loop.call(self._staff, pipeline)


def _timed_out(seconds: float) -> str:
    return f"The pipeline gave no answer within timeout_s: {seconds:g}."


def _settle(
    future: Future[Result], result: Result | None = None, error: BaseException | None = None
) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error if isinstance(error, Exception) else CancelledError())
    elif result is not None:
        future.set_result(result)


def _retrieve_exception(task: asyncio.Future[Any]) -> None:
    """Take note of a task's exception, so that asyncio does not print it."""
    if not task.cancelled():
        task.exception()
