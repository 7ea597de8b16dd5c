"""Asks a pipeline as many questions as are wanted at a time, or a second, and times them."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Literal

from pytest_rag.judge import Job
from pytest_rag.load.model import Sample, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.records import Result
    from pytest_rag.runner import Finish, Runner
    from pytest_rag.types import Case

__all__ = ["MOST_AT_A_TIME", "Arrivals", "Driver", "Plan"]

Arrivals = Literal["poisson", "fixed"]

MOST_AT_A_TIME = 256
"""Questions of an open loop that are being answered; more wait, and their time counts."""

_POLL_S = 0.25
_UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How each step goes.

    Attributes:
        duration_s: Seconds in which questions are asked, after the warm-up.
        warmup_s: Seconds before that.
        arrivals: How the questions of an open loop come.
        seed: Of their times and of the order of the cases.
    """

    duration_s: float
    warmup_s: float
    arrivals: Arrivals = "poisson"
    seed: int = 0


@dataclass(slots=True, eq=False)
class _Asked:
    """A question on its way; times on the performance counter."""

    due: float
    began: float
    future: Future[Finish]
    place: int = 0
    since: float = 0.0


class Driver:
    """Runs the steps of a ramp, one after the other.

    Args:
        runner: That asks; as many at a time as its configuration allows.
        pipeline: The system under test.
        evalset: The name of the evalset.
        cases: Whose questions are asked, in an order drawn at random, over and over.
        plan: How each step goes.
        most: Questions in all.
        keep: Called with every result.

    Attributes:
        stop: Why no further step may begin, or None.
    """

    def __init__(
        self,
        runner: Runner,
        pipeline: Pipeline,
        evalset: str,
        cases: Sequence[Case],
        plan: Plan,
        *,
        most: int,
        keep: Callable[[Result], object],
    ) -> None:
        self.stop: str | None = None
        self._runner = runner
        self._pipeline = pipeline
        self._plan = plan
        self._left = most
        self._most = most
        self._keep = keep
        self._patience_s = max(case.timeout_s for case in cases)
        self._random = random.Random(plan.seed)  # noqa: S311 - no secret
        self._jobs = self._endless(evalset, cases)
        self._ended: SimpleQueue[tuple[_Asked, float]] = SimpleQueue()
        self._under_way: set[_Asked] = set()
        self._samples: list[Sample] = []
        self._start = 0.0
        self._teams: list[Pipeline] = []

    def closed(self, concurrency: int) -> Step:
        """Keep so many questions under way, each asked as soon as one is answered."""
        pipeline = self._begin(concurrency)
        for place in range(concurrency):
            self._ask(pipeline, time.perf_counter(), place)
        until = self._start + self._plan.warmup_s + self._plan.duration_s
        return self._run(
            "closed",
            concurrency,
            lambda: self._watch(until, lambda ended, at: self._again(pipeline, ended, at, until)),
        )

    def open(self, rate: float) -> Step:
        """Ask so many questions a second on average, however long the answers take."""
        pipeline = self._begin(MOST_AT_A_TIME)
        until = self._start + self._plan.warmup_s + self._plan.duration_s

        def arrive() -> None:
            for due in self._arrivals(rate, until):
                self._watch(due)
                if self.stop is not None:
                    return
                self._ask(pipeline, due)
            self._watch(until)

        return self._run("open", rate, arrive)

    # --- a step ---

    def _begin(self, concurrency: int) -> Pipeline:
        """Return the pipeline for a step, which gets workers of its own."""
        own = self._pipeline.concurrency
        limit = concurrency if own is None else min(own, concurrency)
        pipeline = replace(self._pipeline, concurrency=limit)
        self._teams.append(pipeline)  # the runner knows it by its identity
        self._samples, self._under_way = [], set()
        self._ended = SimpleQueue()
        self._start = time.perf_counter()
        return pipeline

    def _run(self, loop: Literal["closed", "open"], load: float, ask: Callable[[], None]) -> Step:
        """Ask until the time is over, wait for answers, and return what was measured."""
        worked = time.process_time()
        interrupted = False
        try:
            ask()
        except KeyboardInterrupt:
            interrupted = True
        asked = time.perf_counter()
        busy = (time.process_time() - worked) / max(asked - self._start, 1e-9)
        if interrupted:
            self.stop = "interrupted"
        else:
            try:
                self._watch(asked + self._patience_s, last=True)
            except KeyboardInterrupt:
                self.stop = "interrupted"
        self._give_up()
        return Step(
            loop=loop,
            load=load,
            warmup_s=self._plan.warmup_s,
            duration_s=asked - self._start,
            samples=tuple(self._samples),
            busy=busy,
            cut=self.stop,
        )

    def _watch(
        self,
        until: float,
        then: Callable[[_Asked, float], None] | None = None,
        *,
        last: bool = False,
    ) -> None:
        """Take in answers until a time, or until nothing is under way any more."""
        while (left := until - time.perf_counter()) > 0 and not (last and not self._under_way):
            if self.stop is not None and not last:
                return
            try:
                ended, at = self._ended.get(timeout=min(left, _POLL_S))
            except Empty:
                self._runner.watch()
                continue
            if then is not None:
                then(ended, at)
            self._take(ended, at)

    def _again(self, pipeline: Pipeline, ended: _Asked, at: float, until: float) -> None:
        """Ask the next question in the place of one that has ended."""
        if at < until:
            self._ask(pipeline, time.perf_counter(), ended.place, since=at)

    def _ask(self, pipeline: Pipeline, due: float, place: int = 0, since: float = 0.0) -> None:
        if self._left <= 0:
            self.stop = self.stop or f"{self._most:,} questions were asked"
            return
        self._left -= 1
        began = time.perf_counter()
        (future,) = self._runner.start(pipeline, [next(self._jobs)])
        asked = _Asked(due, began, future, place, since or due)
        self._under_way.add(asked)
        ended = self._ended
        future.add_done_callback(lambda _: ended.put((asked, time.perf_counter())))

    def _take(self, ended: _Asked, at: float) -> None:
        """Keep what came of a question."""
        self._under_way.discard(ended)
        result = self._runner.result(ended.future)
        self._keep(result)
        error = None
        if result.outcome in ("error", "not_run"):
            error = str((result.error or {}).get("type", result.outcome))
        if error == "BudgetError":
            self.stop = "the ceiling on costs"
            return
        self._add(ended, at, error)

    def _add(self, asked: _Asked, at: float, error: str | None) -> None:
        self._samples.append(
            Sample(
                start=asked.due - self._start,
                ms=(at - asked.due) * 1000,
                error=error,
                late_ms=max(0.0, asked.began - asked.due) * 1000,
                cycle_s=at - asked.since,
            )
        )

    def _give_up(self) -> None:
        """Drop what has not started; what has no answer yet counts as an error of that kind."""
        self._runner.cancel()
        now = time.perf_counter()
        for asked in self._under_way:
            if self.stop is None:
                self._add(asked, now, _UNFINISHED)
        self._under_way = set()

    # --- what is asked ---

    def _arrivals(self, rate: float, until: float) -> Iterator[float]:
        due = self._start
        while True:
            gap = 1 / rate
            due += self._random.expovariate(rate) if self._plan.arrivals == "poisson" else gap
            if due >= until:
                return
            yield due

    def _endless(self, evalset: str, cases: Sequence[Case]) -> Iterator[Job]:
        """Yield the questions without checks, each case once before any comes again."""
        bare = [replace(case, checks=(), repeat=1, min_pass=1) for case in cases]
        for number in itertools.count():
            for case in self._random.sample(bare, len(bare)):
                yield Job(evalset=evalset, case=case, metrics=(), repeat=number)
