"""The state of one pytest run: evalsets, running cases, results, and what is said at the end."""

from __future__ import annotations

import os
import shlex
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rag import config as configuration
from pytest_rag.costs.running import RunCosts
from pytest_rag.errors import ConfigError
from pytest_rag.evaluation import paying, stage_cache
from pytest_rag.plugin.accepting import ACCEPTED
from pytest_rag.plugin.asking import RAG
from pytest_rag.plugin.collect import CaseFailure, RagItem
from pytest_rag.plugin.evalrun import EvalRun
from pytest_rag.plugin.markers import hold
from pytest_rag.plugin.reporting import Progress
from pytest_rag.plugin.results import Collected
from pytest_rag.plugin.settings import Settings
from pytest_rag.replay import Deck
from pytest_rag.report.junit import properties

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_rag.buildings import Bills
    from pytest_rag.config import Config
    from pytest_rag.costs.budget import Budget
    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.records import Result
    from pytest_rag.replay.pacing import Pacer
    from pytest_rag.runner import Runner
    from pytest_rag.types import EvalSet

__all__ = ["RESULTS", "RagSession"]

RESULTS: pytest.StashKey[list[Result]] = pytest.StashKey()
"""Results that a test item made, on their way to its report."""


class RagSession:
    """Runs cases, gathers results and has the last word on the exit status."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.settings = Settings.of(config)
        self.is_worker = hasattr(config, "workerinput")
        self._process = os.getpid()
        self.pipeline_scope = "function"
        self.collected = Collected(config, self.settings)
        mode = "live" if self.settings.plan else self.settings.mode
        self.deck = Deck(
            mode,
            _recording,
            lambda: (self.project.limits, self.project.retries),
            lambda: stage_cache(self.project),
            self._paying if self.settings.max_cost and not self.settings.plan else None,
        )
        self._runs: dict[Path, EvalRun] = {}
        self._runner: Runner | None = None
        self._project: Config | None = None
        self._in_hand: list[Result] = []
        self._budget: Budget | None = None
        self.costs = RunCosts()
        self._progress = Progress(config)
        self._cases = 0

    @property
    def project(self) -> Config:
        """The project's configuration with the command line's options.

        Raises:
            pytest.exit.Exception: if ``[tool.pytest-rag]`` is wrong.
        """
        try:
            return self.load_project()
        except ConfigError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)

    def load_project(self) -> Config:
        """Read the project's configuration once.

        Raises:
            ConfigError: if it is wrong.
        """
        if self._project is None:
            loaded = configuration.load(self.config.rootpath)
            self._project = loaded.with_options(
                concurrency=self.settings.concurrency,
                mode=self.settings.mode,
                cache=self.settings.cache,
            )
        return self._project

    @property
    def budget(self) -> Budget:
        """The ceiling on what the run may cost; workers of xdist share the controller's."""
        if self._budget is None:
            from pytest_rag.costs.budget import join, open_budget

            shared = getattr(self.config, "workerinput", {}).get("rag_budget")
            limit, project = self.settings.max_cost or 0.0, self.project
            self._budget = join(shared, project) if shared else open_budget(limit, project)
        return self._budget

    def _paying(self, pacer: Callable[[], Pacer]) -> AbstractContextManager[None]:
        return paying(self.budget, self.project, pacer)

    def add(self, evalset: EvalSet) -> EvalSet:
        """Make a collected evalset known.

        Raises:
            ConfigError: if another file has the same name.
        """
        return self.collected.declare(evalset)

    def find_bar(self, evalset: EvalSet) -> None:
        """Look for the baseline before anything is paid for; one process of several will do.

        Raises:
            BaselineError: if it cannot be used.
        """
        first = not self.is_worker or os.environ.get("PYTEST_XDIST_WORKER") == "gw0"
        if first and not self.settings.plan:
            self.settings.bars.of(evalset.path, evalset.name)

    def runner(self, project: Config) -> Runner:
        """Return the session's one runner; the first configuration it is asked with counts."""
        if self._runner is None:
            from pytest_rag.runner import Runner

            self._runner = Runner(project, self.budget if self.settings.max_cost else None)
            self.config.add_cleanup(self._runner.thaw)
        return self._runner

    def run_item(self, request: pytest.FixtureRequest) -> None:
        """Run the case of a YAML item, or take the result a fan-out already has.

        Raises:
            CaseFailure: if it did not pass.
            pytest.skip.Exception: if it was not run, for want of a key.
        """
        item: RagItem = request.node
        # The first configuration counts, so the fixture is asked for it once.
        runner = self._runner or self.runner(request.getfixturevalue("rag_config"))
        run = self._runs.get(item.evalset.path)
        if run is None:
            run = self._runs[item.evalset.path] = EvalRun(
                item.evalset, runner, self.deck, self.settings.resume
            )
        if item.evalset.pipeline is None:
            run.use_fixture(request, lambda: self.pipeline_scope)
        try:
            results = run.results(item, self._together)
        except CancelledError:
            pytest.skip("the run was stopped before this case")
        item.stash[RESULTS] = self._in_hand = results
        for result in results:
            self.costs.add(result.calls)
        if run.pipeline is not None:
            self.collected.note_pipeline(item.evalset, run.pipeline, runner.config)
        self._verdict(item, run, results)

    def pipeline_of(self, evalset: EvalSet, project: Config) -> Pipeline:
        """Return the pipeline an evalset names, built once for items and Python tests alike.

        Raises:
            Exception: whatever building it raises.
        """
        fresh = EvalRun(evalset, self.runner(project), self.deck)
        run = self._runs.setdefault(evalset.path, fresh)
        pipeline = run.build()
        self.collected.note_pipeline(evalset, pipeline, project)
        return pipeline

    def _together(self, item: RagItem) -> list[RagItem]:
        """Return the items whose cases may start now: under xdist the others may be elsewhere."""
        if self.is_worker:
            return [item]
        items = (i for i in item.session.items if isinstance(i, RagItem))
        return [i for i in items if i.evalset is item.evalset]

    def _verdict(self, item: RagItem, run: EvalRun, results: Sequence[Result]) -> None:
        from pytest_rag.gate import case_outcome
        from pytest_rag.report.failure import case_failure

        outcome = case_outcome(results, item.case.min_pass)
        if outcome == "not_run":
            error = next(r.error for r in results if r.error is not None)
            pytest.skip(error["message"])
        if outcome != "passed":
            told = run.told_before(results)
            head, *details = case_failure(results, item.case, told=told)
            raise CaseFailure(head, "\n".join(details))

    # --- hooks ---

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Note how long the pipeline's fixture lives."""
        if fixturedef.argname == "rag_pipeline":
            self.pipeline_scope = fixturedef.scope

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Any, Any]:
        """Hand the item's results to the process that decides, as text on the report."""
        report = yield
        if call.when == "call":
            results = self._take(item, call.excinfo)
            bills = self._take_bills()
            if results or bills:
                item.user_properties.extend(properties(results))
                if self._decides():
                    self.collected.keep_bills(bills)
                    self._keep(results)
                else:
                    report.rag = self.collected.pack(results, self.deck, bills)
                own = isinstance(item, RagItem) and report.failed
                report.rag_outcome = _worst(results) if own else None
            if item.stash.get(ACCEPTED, None):
                report.rag_accepted = item.stash[ACCEPTED]
            if call.excinfo is not None and isinstance(call.excinfo.value, CaseFailure):
                report.sections.insert(0, ("details", call.excinfo.value.details))
        return report

    def _take(self, item: pytest.Item, raised: Any) -> list[Result]:
        """Return the results an item has made, once."""
        results = item.stash.get(RESULTS, [])
        item.stash[RESULTS] = []
        asked = item.stash.get(RAG, None)
        if asked is not None:
            results = [*results, *asked.take(raised)]
        return results

    def _take_bills(self) -> Bills:
        """Return what pipelines asked of models while they were built, once."""
        bills = self.deck.take_bills()
        for _, calls in bills:
            self.costs.add(calls)
        return bills

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Hold a marked Python test to its budget, and to having evaluated something."""
        result = yield
        if not isinstance(item, RagItem):
            hold(item)
        return result

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """Show a case that broke as an error, which is no failure of quality."""
        if report.when == "call" and getattr(report, "rag_outcome", None) == "error":
            return "error", "E", "ERROR"
        return None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the cases that were selected; the controller of workers has none of the items."""
        self._cases = sum(isinstance(item, RagItem) for item in session.items) or self._cases

    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Show the plan in place of a run where that was asked for."""
        if not self.settings.plan:
            return None
        self.collected.plan(item for item in session.items if isinstance(item, RagItem))
        return True

    def _decides(self) -> bool:
        """Tell whether this process sees the end of the run: no worker, and no fork of it."""
        return not self.is_worker and os.getpid() == self._process

    def receive(self, carried: str) -> None:
        """Take in the results of one report."""
        self._keep(self.collected.unpack(carried))

    def _keep(self, results: Iterable[Result]) -> None:
        results = list(results)
        self.collected.keep(results)
        self._progress.add(results, self._total())
        self._in_hand = []

    def _total(self) -> int | None:
        """Return how many cases there are, or None where that is not known."""
        return self._cases or None

    def expect(self, cases: int) -> None:
        """Be told how many cases there are, as the controller is by its workers."""
        self._cases = cases

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Stop what still runs, close the record, and judge the whole."""
        if self._runner is not None:
            self._runner.cancel()
            if not self.is_worker:
                self.collected.keep_bills(self._take_bills())
                self.collected.keep([*self._in_hand, *self._runner.unclaimed()])
            self._runner.close(thaw=False)
        self.deck.let_go()
        if self.is_worker:
            # A worker has collected; who decides has not.
            self.config.workeroutput["rag_idle"] = self.collected.idle  # type: ignore[attr-defined]
        else:
            status = self.collected.finish(session)
            self.collected.save(self.deck)
            if status is not None and session.exitstatus in (0, 5):
                session.exitstatus = status

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Learn from a worker that no case fell to this shard."""
        told = getattr(node, "workeroutput", None) or {}
        self.collected.idle = self.collected.idle or told.get("rag_idle", False)

    def pytest_unconfigure(self) -> None:
        """Let the models and the network be as they were."""
        self.deck.close()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the summary."""
        if not self.is_worker:
            self.collected.print(terminalreporter)


def _recording(path: str, case: str) -> str:
    """Return what to type to record a case of an evalset."""
    return f"pytest {shlex.quote(f'{path}::{case}' if case else path)} --rag-mode=record"


def _worst(results: Sequence[Result]) -> str:
    outcomes = {result.outcome for result in results}
    return "failed" if "failed" in outcomes else "error"
