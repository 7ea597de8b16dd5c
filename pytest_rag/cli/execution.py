"""Evalsets → results, each kept and written as soon as it is there."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_rag import records
from pytest_rag.cli.verdict import unreviewed
from pytest_rag.costs.running import RunLedger, stopped, told_buildings, told_ceiling
from pytest_rag.evaluation import (
    build_pipeline,
    facts,
    jobs_of,
    no_pipeline,
    paying,
    stage_cache,
)
from pytest_rag.judge import broken
from pytest_rag.replay import Deck
from pytest_rag.report.reporters import View
from pytest_rag.resume import told_of_resumed
from pytest_rag.runner import Runner
from pytest_rag.writing import told_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_rag.cli.verdict import Judging
    from pytest_rag.config import Config
    from pytest_rag.costs.budget import Budget
    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.records import Result
    from pytest_rag.report.summary import Summary
    from pytest_rag.resume import Resumed
    from pytest_rag.types import EvalSet
    from pytest_rag.verdict import Held
    from pytest_rag.writing import RunWriter

__all__ = ["Execution"]


def _recording(path: str, case: str) -> str:
    """Return what to type to record a case of an evalset."""
    only = f" --case {shlex.quote(case)}" if case else ""
    return f"pytest-rag run {shlex.quote(path)}{only} --mode record"


class Execution:
    """Runs evalsets one after the other.

    Args:
        config: Of the project.
        judging: As the attribute.
        writer: Of the run record, or None.
        resumed: Results of an earlier run that are taken over, or None.
        warmup: How many cases of an evalset are asked once before all others; what comes of that
            is neither kept nor counted.
        budget: What the run may cost, or None.

    Attributes:
        judging: What results are held against.
        held: What was decided of each evalset, once it is closed.
        said: What else there is to say once it is closed, for the terminal.
        ledger: Where the run's calls are kept and its costs are told.
    """

    def __init__(
        self,
        config: Config,
        judging: Judging,
        writer: RunWriter | None,
        *,
        resumed: Resumed | None = None,
        warmup: int = 0,
        budget: Budget | None = None,
    ) -> None:
        self.held: dict[str, Held] = {}
        self.ledger = RunLedger(config, None if writer is None else writer.head["run_id"])
        self._config = config
        self.judging = judging
        self._declared = judging.declared
        self._min_pass: dict[tuple[str, str], int] = {}
        self._writer = writer
        self._deck = Deck(
            config.mode,
            _recording,
            lambda: (config.limits, config.retries),
            lambda: stage_cache(config),
            None if budget is None else partial(paying, budget, config),
        )
        self._resumed = resumed
        self.said: list[str] = []
        self._warmup = warmup
        self._limit = None if budget is None else budget.limit_usd
        self._runner = Runner(config, budget)
        self._results: dict[tuple[str, str, int], Result] = {}
        self._facts: dict[str, dict[str, Any]] = {}

    @property
    def results(self) -> list[Result]:
        """Everything there is so far."""
        return list(self._results.values())

    @property
    def stopped(self) -> int:
        """How many runs of cases the ceiling stopped."""
        return stopped(self._results.values())

    def told_costs(self) -> list[tuple[str, str]]:
        """Return what is to be said of costs, with a style, once everything has run."""
        over = self.stopped
        built = told_buildings(self.ledger.costs.buildings)
        told = told_ceiling(self._limit, self.ledger.costs, over)
        lines = [] if built is None else [(built, "dim")]
        lines += [] if told is None else [(told, "bad" if over else "dim")]
        return [*lines, *self.ledger.finish()]

    def view(self, summary: Summary, *, record: str | None) -> View:
        """Return what reporters render.

        Args:
            summary: Of the results.
            record: Where the run record is, or None.
        """
        head = records.header({}, self._config.root) if self._writer is None else self._writer.head
        view = View(
            summary=summary,
            header={**head, "evalsets": self._facts},
            results=tuple(self.results),
            buildings=tuple(self.ledger.costs.buildings),
            record=record,
            alerts=self._config.alerts,
        )
        return view.knowing(self._declared.values())

    def run(self, evalsets: Iterable[EvalSet], advance: Callable[[Result], object]) -> bool:
        """Run evalsets; an interrupt ends it and returns False.

        A pipeline that cannot be built gives every case of its evalset an ``error`` or
        ``not_run`` result, and the others run all the same.

        Args:
            evalsets: With the cases to run; each names its pipeline.
            advance: Called with every result.
        """
        try:
            for evalset in evalsets:
                for result in self._results_of(evalset):
                    self._keep(result)
                    advance(result)
        except KeyboardInterrupt:
            for result in self._runner.unclaimed():
                self._keep(result)  # paid for, though its turn had not come
            return False
        return True

    def close(self, *, ended: bool) -> str | None:
        """End the event loop, decide, and close the record; return where that is.

        Args:
            ended: False where the run was cut short.

        Raises:
            BaselineError: if a bar cannot be used.
        """
        self._runner.cancel()
        try:
            self.held = self.judging.hold(
                self._results.values(), self._facts, self._min_pass, ended=ended
            )
            return None if self._writer is None else self._close_record(self._writer, ended=ended)
        finally:
            self._runner.close()
            drafts = unreviewed(self._declared.values())
            notes = (*drafts, *self._deck.notes(), *told_of_resumed(self._resumed, self.results))
            self.said = [*self._saved(ended=ended), *notes]
            self._deck.close()

    def _saved(self, *, ended: bool) -> Iterator[str]:
        """Merge what was recorded into the cassettes and yield what to say of each."""
        for name, path in self._deck.paths.items():
            runs = [(case.id, n) for case in self._declared[name].cases for n in range(case.repeat)]
            whole = ended and all((name, *run) in self._results for run in runs)
            said = self._deck.save(name, path, complete=whole)
            if said is not None:
                yield said

    def _results_of(self, evalset: EvalSet) -> Iterator[Result]:
        self._min_pass.update(((evalset.name, c.id), c.min_pass) for c in evalset.cases)
        jobs = [job for case in evalset.cases for job in jobs_of(evalset, case, self._config)]
        self._facts[evalset.name] = facts(self._declared[evalset.name], None, self._config)
        try:
            pipeline = self._build(evalset)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - becomes every case's record
            yield from (broken(job, error, self._config) for job in jobs)
            return
        finally:
            self._keep_bills()
        self._facts[evalset.name] = facts(self._declared[evalset.name], pipeline, self._config)
        left = []
        now = self._facts[evalset.name]["fingerprint"]
        for job in jobs:
            known = None if self._resumed is None else self._resumed.take(job, now)
            if known is None:
                left.append(job)
            else:
                yield known
        for number in range(min(self._warmup, len(left))):
            for future in self._runner.start(pipeline, left[number : number + 1]):
                self.ledger.add([self._runner.result(future)])  # uncounted, and yet paid for
        for future in self._runner.start(pipeline, left):
            yield self._runner.result(future)

    def _build(self, evalset: EvalSet) -> Pipeline:
        if evalset.pipeline is None:
            raise no_pipeline()
        loop = self._runner.loop
        return build_pipeline(evalset.pipeline, evalset, self._config, loop, self._deck)

    def _keep_bills(self) -> None:
        for building in self.ledger.add_buildings(self._deck.take_bills()):
            if self._writer is not None:
                self._writer.add_building(building)

    def _keep(self, result: Result) -> None:
        if result.key not in self._results:
            if self._writer is not None:
                self._writer.note(result.evalset, self._facts[result.evalset])
                self._writer.add(result)
            self._results[result.key] = result
            if self._resumed is None or not self._resumed.gave(result):
                self.ledger.add([result])

    def _close_record(self, writer: RunWriter, *, ended: bool) -> str:
        """Close the record; it is complete where every case of every file has a result."""
        seen = {(result.evalset, result.case) for result in self.results}
        whole = len(seen) == sum(len(evalset.cases) for evalset in self._declared.values())
        writer.head["evalsets"] = self._facts
        writer.verdicts = {name: held.to_dict() for name, held in self.held.items()}
        whole = whole and self.judging.shard is None
        written = writer.close(complete=ended and whole, cut_short=not ended)
        return told_of(writer, written)
