"""Runs jobs against a pipeline with bounded concurrency, on one persistent event loop."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_rag.costs.admission import admitted, settling
from pytest_rag.costs.prices import load_list
from pytest_rag.costs.purse import purse_of
from pytest_rag.crew import Crew
from pytest_rag.errors import BudgetError, PipelineError
from pytest_rag.judge import Job, broken, judge
from pytest_rag.judging import Bench, awaited
from pytest_rag.loop import LoopThread, in_thread
from pytest_rag.observe import Attempt, ask, ask_here, read, timed_out
from pytest_rag.replay.ceiling import paid_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_rag.config import Config
    from pytest_rag.costs.budget import Budget
    from pytest_rag.metrics.awaited import AsyncMetric
    from pytest_rag.observe import Raw
    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.records import Result
    from pytest_rag.types import Call

__all__ = ["Finish", "Runner"]

Finish = Callable[[], "Result"]
"""What is left to do once a pipeline has answered: read, score and judge, off the event loop."""

_MANY = 100
_SOON_S = 0.002
_POLL_S = 0.25
_GRACE_S = 2.0
_CANCELLED = "The run was cancelled from inside the event loop: a pipeline cancelled its tasks."


@dataclass(eq=False, slots=True)
class _Pending:
    job: Job
    attempt: Attempt
    future: Future[Finish] = field(default_factory=Future)
    judged: Sequence[Call] = ()
    answered: bool = False


@dataclass(eq=False, slots=True)
class _Team:
    """The workers of one pipeline and what they have to do."""

    pipeline: Pipeline
    limit: int
    waiting: deque[_Pending] = field(default_factory=deque)
    running: set[_Pending] = field(default_factory=set)
    workers: int = 0


class Runner:
    """Runs jobs; as many of a pipeline at a time as ``config.concurrency`` and itself allow.

    Args:
        config: Concurrency, document ids and prices.
        budget: The ceiling on what the run may cost, or None.

    Attributes:
        loop: The event loop everything asynchronous of this session runs on.
        bench: Where awaited metrics are computed.
    """

    def __init__(self, config: Config, budget: Budget | None = None) -> None:
        self.config = config
        self.budget = budget
        self.loop = LoopThread()
        self.bench = Bench(config)
        self._teams: dict[int, _Team] = {}
        self._crews: dict[int, Crew[_Pending]] = {}
        self._unclaimed: dict[Future[Finish], None] = {}
        self._closing = False
        self._froze = False

    def start(self, pipeline: Pipeline, jobs: Iterable[Job]) -> list[Future[Finish]]:
        """Queue jobs and return, in order, a future of each for `result`."""
        now = time.perf_counter()
        pending = [_Pending(job=job, attempt=_attempt(job, now)) for job in jobs]
        self._unclaimed.update((each.future, None) for each in pending)
        if len(pending) >= _MANY:
            self._freeze()
        self._assign(pipeline, pending)
        return [each.future for each in pending]

    def _assign(self, pipeline: Pipeline, pending: Sequence[_Pending]) -> None:
        """Hand cases to threads where the pipeline is synchronous, else to the event loop."""
        key = id(pipeline)
        if key not in self._teams and key not in self._crews:
            self._prepare()
            limit = min(self.config.concurrency, pipeline.concurrency or self.config.concurrency)
            if pipeline.is_async or self.budget is not None:  # whose door is on the loop
                self._teams[key] = _Team(pipeline, limit)
            else:
                self._crews[key] = Crew(partial(self._run_here, pipeline), limit)
        if key in self._crews:
            self._crews[key].add(pending)
        else:
            self._teams[key].waiting.extend(pending)
            self.loop.call(self._staff, self._teams[key])

    def _freeze(self) -> None:
        """Keep from the cycle collector what is there: it lives to the end, and is much to walk.

        Cases and results that came since the last time are young, and little to be gone through.
        """
        if self._froze or not gc.get_freeze_count():  # which would be somebody else's
            gc.collect(1)
            gc.freeze()
            self._froze = True

    def _prepare(self) -> None:
        """Load what the first cases would otherwise load in several threads at once."""
        load_list()
        if self.config.cache != "off" and "llama_index.core" in sys.modules:
            import_module("pytest_rag.pipelines.nodevalues")

    def result(self, future: Future[Finish]) -> Result:
        """Wait for a result; a case that blocks the event loop is given up after its time.

        Raises:
            CancelledError: if `cancel` came first.
        """
        timeout = _SOON_S if self._crews else _POLL_S
        while True:
            try:
                finish = future.result(timeout=timeout)
            except TimeoutError:
                for crew in self._crews.values():
                    crew.fill()
                if timeout == _POLL_S:
                    self.watch()
                timeout = _POLL_S
            else:
                result = finish()
                self._unclaimed.pop(future, None)
                return result

    def unclaimed(self) -> list[Result]:
        """Return results that are there and nobody has asked for: they are paid for."""
        futures = list(self._unclaimed)
        done = (f for f in futures if f.done() and not f.cancelled() and f.exception() is None)
        return [future.result()() for future in done]

    def cancel(self) -> None:
        """Drop what has not started."""
        for team in self._teams.values():
            while team.waiting:
                team.waiting.popleft().future.cancel()
        for crew in self._crews.values():
            crew.cancel()

    def close(self, *, thaw: bool = True) -> None:
        """Drop what has not started, abandon what runs and end the loop.

        Args:
            thaw: False for who calls `thaw` when everything is told.
        """
        self._closing = True
        self.cancel()
        with suppress(Exception):  # a blocked loop is left to die with us
            self.loop.submit(self.bench.close()).result(timeout=_GRACE_S)
        self.loop.close()
        if thaw:
            self.thaw()

    def thaw(self) -> None:
        """Give back to the cycle collector what was kept from it."""
        if self._froze:
            gc.unfreeze()
            self._froze = False

    # --- in a thread of a crew ---

    def _run_here(self, pipeline: Pipeline, pending: _Pending) -> None:
        try:
            finish = self._answered_here(pipeline, pending)
        except CancelledError:
            if self._closing:
                pending.future.set_exception(CancelledError())
                return
            finish = self._broken(pending, PipelineError(_CANCELLED))
        except Exception as error:  # noqa: BLE001 - goes into the record
            finish = self._broken(pending, error)
        _settle(pending.future, finish)

    def _answered_here(self, pipeline: Pipeline, pending: _Pending) -> Finish:
        job, attempt = pending.job, pending.attempt
        raw = ask_here(pipeline, job.case.query, job.case.filters, attempt, self.loop)
        pending.answered = True
        asked = awaited(job.metrics)
        if asked:
            return self.loop.submit(self._with_judges(pending, raw, asked)).result()
        return partial(_judged, job, attempt, raw, self.config)

    # --- on the loop's thread ---

    def _staff(self, team: _Team) -> None:
        """Start workers for what waits, up to the limit."""
        for _ in range(min(team.limit - team.workers, len(team.waiting))):
            team.workers += 1
            task = asyncio.ensure_future(self._work(team))
            task.add_done_callback(_retrieve_exception)

    async def _work(self, team: _Team) -> None:
        try:
            while team.waiting:
                pending = team.waiting.popleft()
                if pending.future.set_running_or_notify_cancel():
                    await self._run(team, pending)
        finally:
            team.workers -= 1

    async def _run(self, team: _Team, pending: _Pending) -> None:
        team.running.add(pending)
        try:
            _settle(pending.future, await self._paid(team.pipeline, pending))
        except asyncio.CancelledError:
            if self._closing:
                pending.future.set_exception(CancelledError())
                raise
            _settle(pending.future, self._broken(pending, PipelineError(_CANCELLED)))
        finally:
            team.running.discard(pending)

    async def _paid(self, pipeline: Pipeline, pending: _Pending) -> Finish:
        """Run a case once its cost is set aside; refuse it where it could pass the ceiling."""
        try:
            hold = await admitted(self.budget, pending.job.evalset, by_call=pipeline.may_be_free)
        except BudgetError as error:
            return self._broken(pending, error)
        purse = purse_of(hold, self.config, pipeline.pacer)
        with paid_by(purse):
            finish = await self._attempt(pipeline, pending)
        if purse is not None and purse.refused is not None:  # whatever the pipeline made of it
            finish = self._broken(pending, purse.refused)
        return settling(hold, finish)

    async def _attempt(self, pipeline: Pipeline, pending: _Pending) -> Finish:
        case = pending.job.case
        task = asyncio.ensure_future(ask(pipeline, case.query, case.filters, pending.attempt))
        done, _ = await asyncio.wait({task}, timeout=case.timeout_s)
        if not done:
            task.cancel()
            task.add_done_callback(_retrieve_exception)
            return self._broken(pending, PipelineError(timed_out(case.timeout_s)))
        try:
            raw = task.result()
        except asyncio.CancelledError:
            return self._broken(pending, PipelineError(_CANCELLED))
        except Exception as error:  # noqa: BLE001 - goes into the record
            return self._broken(pending, error)
        asked = awaited(pending.job.metrics)
        if asked:
            return await self._with_judges(pending, raw, asked)
        # Not `pending`: its future would hold itself, and wait for the cycle collector.
        return partial(_judged, pending.job, pending.attempt, raw, self.config)

    async def _with_judges(
        self, pending: _Pending, raw: Raw, asked: Sequence[tuple[AsyncMetric, Any]]
    ) -> Finish:
        """Let judges have the answer; the time of the pipeline is over, its slot is not."""
        try:
            seen = await in_thread(partial(read, raw, self.config))
        except Exception as error:  # noqa: BLE001 - goes into the record
            return self._broken(pending, error)
        job, tape = pending.job, raw.pipeline.tape
        found = await self.bench.judge(asked, job.case, seen, tape=tape, repeat=job.repeat)
        pending.judged = found.calls
        return partial(judge, job, found.seen(seen), found.scores)

    def _broken(self, pending: _Pending, error: BaseException) -> Finish:
        return partial(broken, pending.job, error, self.config, pending.attempt, pending.judged)

    # --- on the waiting thread ---

    def watch(self) -> None:
        """Give up cases that have taken too long, and the loop where one of them blocks it."""
        for pending in self._at_work():
            if not pending.answered and pending.attempt.is_overdue():
                self._give_up(pending, PipelineError(timed_out(pending.job.case.timeout_s)))
        running = [pending for team in self._teams.values() for pending in list(team.running)]
        late = any(pending.attempt.is_overdue() for pending in running)
        if self.loop.blocked_for() < _GRACE_S or not late:
            return
        self.loop = LoopThread()
        lost, self._teams = self._teams, {}
        for key, team in lost.items():
            fresh = self._teams[key] = _Team(team.pipeline, team.limit, team.waiting)
            team.waiting = deque()
            for pending in list(team.running):
                _settle(pending.future, self._broken(pending, _blocking(pending)))
            self.loop.call(self._staff, fresh)
        for pending in self._at_work():
            if pending.answered:  # its judges were on the loop
                self._give_up(pending, _blocking(pending))

    def _at_work(self) -> list[_Pending]:
        return [pending for crew in self._crews.values() for pending in crew.running.copy()]

    def _give_up(self, pending: _Pending, error: PipelineError) -> None:
        _settle(pending.future, self._broken(pending, error))
        for crew in self._crews.values():
            crew.abandon(pending)


def _judged(job: Job, attempt: Attempt, raw: Raw, config: Config) -> Result:
    try:
        return judge(job, read(raw, config))
    except Exception as error:  # noqa: BLE001 - goes into the record
        return broken(job, error, config, attempt)


def _attempt(job: Job, now: float) -> Attempt:
    case = job.case
    return Attempt(queued=now, case=case.id, repeat=job.repeat, timeout_s=case.timeout_s)


def _blocking(pending: _Pending) -> PipelineError:
    return PipelineError(
        f"{timed_out(pending.job.case.timeout_s)} Synchronous code blocks the event loop: use "
        "`await`, or make the pipeline a plain function, which runs in a thread."
    )


def _settle(future: Future[Finish], finish: Finish) -> None:
    if not future.done():
        future.set_result(finish)


def _retrieve_exception(task: asyncio.Future[Any]) -> None:
    """Take note of a task's exception, so that asyncio does not print it."""
    if not task.cancelled():
        task.exception()
