"""One evalset in a pytest run: its pipeline, built once, and the futures of its cases."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING

import pytest

from pytest_rag.errors import PipelineError, message_of
from pytest_rag.evaluation import build_pipeline, building, facts, jobs_of, no_pipeline
from pytest_rag.judge import broken
from pytest_rag.pipelines.adapters import adapt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from pytest_rag.judge import Job
    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.plugin.collect import RagItem
    from pytest_rag.records import Result
    from pytest_rag.replay import Deck
    from pytest_rag.resume import Resumed
    from pytest_rag.runner import Finish, Runner
    from pytest_rag.types import EvalSet

__all__ = ["EvalRun"]

_AHEAD = 1000
"""Cases of an evalset under way at most before pytest asks for them; bounds what they hold."""


class EvalRun:
    """Starts the selected cases of an evalset together and hands each item its own results."""

    def __init__(
        self, evalset: EvalSet, runner: Runner, deck: Deck, resumed: Resumed | None = None
    ) -> None:
        self.evalset = evalset
        self.runner = runner
        self.deck = deck
        self.resumed = resumed
        self._taken: dict[str, list[Result]] = {}
        self.pipeline: Pipeline | None = None
        self._target: object = None
        self._failure: Exception | None = None
        self._alone = False
        self._ahead: deque[RagItem] | None = None
        self._told: set[str] = set()
        self._futures: dict[str, list[Future[Finish]]] = {}

    def use_fixture(self, request: pytest.FixtureRequest, scope: Callable[[], str]) -> None:
        """Take the pipeline from the ``rag_pipeline`` fixture.

        One that lives for the whole session serves all cases at once; one made anew for every
        test serves that test alone.
        """
        if isinstance(self._failure, UnusableFixtureError):
            return
        try:
            tape = self.deck.tape(self.evalset.name, self.evalset.path, self.evalset.mode)
            with building(tape, self.deck, self.runner.config, self.runner.loop):
                target = request.getfixturevalue("rag_pipeline")
            if target is not self._target or self.pipeline is None:
                self.deck.built(tape, target)
                made = adapt(target, self.runner.config.document_key)
                self.pipeline = replace(made, tape=tape)
            self._target = target
            self._failure = None
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - the case's result
            self._failure = _of_fixture(error)
        self._alone = scope() not in ("session", "package")

    def results(self, item: RagItem, together: Callable[[RagItem], list[RagItem]]) -> list[Result]:
        """Return the results of an item's case, one a repeat; waits until they are there.

        Args:
            item: The one that asks.
            together: Gives the items whose cases may run at the same time, the one among them.
        """
        try:
            pipeline = self.build()
        except Exception as error:  # noqa: BLE001 - becomes the result of every case
            jobs = jobs_of(self.evalset, item.case, self.runner.config)
            return [broken(job, error, self.runner.config) for job in jobs]
        if self._ahead is None:
            self._ahead = deque(() if self._alone else together(item))
        self._keep_ahead(pipeline, item, self._ahead)
        results = [self.runner.result(future) for future in self._futures[item.name]]
        del self._futures[item.name]  # a rerun asks anew
        return sorted([*self._taken.pop(item.name, []), *results], key=lambda r: r.repeat)

    def told_before(self, results: Sequence[Result]) -> bool:
        """Tell whether the same error was shown already, so that it need not be shown whole."""
        errors = {r.error["traceback"] for r in results if r.error and r.error["traceback"]}
        known = bool(errors) and errors <= self._told
        self._told |= errors
        return known

    def build(self) -> Pipeline:
        """Return the pipeline; what building it raised once is raised for everyone who asks.

        Raises:
            Exception: whatever building it raises.
        """
        if self.pipeline is None and self._failure is None and self.evalset.pipeline is not None:
            try:
                self.pipeline = build_pipeline(
                    self.evalset.pipeline,
                    self.evalset,
                    self.runner.config,
                    self.runner.loop,
                    self.deck,
                )
            except Exception as error:
                self._failure = error
                raise
        if self._failure is not None or self.pipeline is None:
            raise self._failure or no_pipeline()
        return self.pipeline

    def _keep_ahead(self, pipeline: Pipeline, item: RagItem, ahead: deque[RagItem]) -> None:
        """Start further cases where few are under way, and the one asked for if it is not."""
        if ahead and len(self._futures) <= _AHEAD // 2:
            free = min(_AHEAD - len(self._futures), len(ahead))
            self._start(pipeline, [ahead.popleft() for _ in range(free)])
        if item.name not in self._futures:  # a rerun, or one out of order
            if item in ahead:
                ahead.remove(item)
            self._start(pipeline, [item])

    def _start(self, pipeline: Pipeline, items: Iterable[RagItem]) -> None:
        jobs = {i.name: self._jobs(i, pipeline) for i in items}
        futures = iter(self.runner.start(pipeline, chain.from_iterable(jobs.values())))
        for name, repeats in jobs.items():
            self._futures[name] = list(islice(futures, len(repeats)))

    def _jobs(self, item: RagItem, pipeline: Pipeline) -> list[Job]:
        """Return what has to be run of a case; what an earlier run holds of it is taken over."""
        jobs = jobs_of(self.evalset, item.case, self.runner.config)
        if self.resumed is None:
            return jobs
        now = facts(self.evalset, pipeline, self.runner.config)["fingerprint"]
        found = [(job, self.resumed.take(job, now)) for job in jobs]
        self._taken[item.name] = [result for _, result in found if result is not None]
        return [job for job, result in found if result is None]


class UnusableFixtureError(PipelineError):
    """The ``rag_pipeline`` fixture is of a kind that a YAML case cannot have."""


_UNUSABLE = {
    "no parameter": "is parametrised, and a YAML case asks one pipeline. Give each its own evalset "
    "with `pipeline: …`, or ask both in a Python test.",
    "async fixture": "is asynchronous, and pytest does not await it. Return the pipeline from a "
    "plain fixture, or name an async factory under `pipeline`.",
    "Could not obtain a node": "lives for a module, and a YAML case has none. Give it "
    'scope="session", "package" or "function".',
}


def _of_fixture(error: BaseException) -> Exception:
    """Return what went wrong with the fixture, in our words where pytest's do not help."""
    text = message_of(error)
    for sign, sentence in _UNUSABLE.items():
        if sign in text:
            return UnusableFixtureError(f"The fixture rag_pipeline {sentence}")
    return error if isinstance(error, Exception) else PipelineError(text)
