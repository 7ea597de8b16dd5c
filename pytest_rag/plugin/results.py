"""Results of a pytest run on their way: report → record → verdict on the whole → terminal."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rag import records
from pytest_rag.costs.running import RunLedger, stopped, told_buildings, told_ceiling
from pytest_rag.errors import BaselineError, ConfigError, RecordError, UsageError
from pytest_rag.records import Result
from pytest_rag.resume import told_of_resumed
from pytest_rag.writing import RunWriter, told_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_rag.buildings import Bills
    from pytest_rag.config import Config
    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.plugin.collect import RagItem
    from pytest_rag.plugin.settings import Settings
    from pytest_rag.replay import Deck
    from pytest_rag.report.summary import Summary
    from pytest_rag.types import EvalSet
    from pytest_rag.verdict import Held

__all__ = ["Collected"]


class Collected:
    """Gathers results on the one process that decides, writes the record and tells the end.

    A worker packs the results of an item, with what it knows of the evalset, into the text that
    its report carries; the controller, which has collected nothing itself, unpacks it.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.config = config
        self.settings = settings
        self.results: dict[tuple[str, str, int], Result] = {}
        self._evalsets: dict[str, EvalSet] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._packed: set[str] = set()
        self._writer: RunWriter | None = None
        self._said: list[tuple[str, str]] = []
        self.accepted: list[str] = []  # by Python tests
        self._held: dict[str, Held] = {}
        self._min_pass: dict[tuple[str, str], int] = {}
        self._cut_short = False
        self._tapes: dict[str, Path] = {}
        self._ledger: RunLedger | None = None
        self.idle = False  # a shard that no case fell to

    # --- where items run ---

    def declare(self, evalset: EvalSet) -> EvalSet:
        """Make an evalset known.

        Raises:
            ConfigError: if another file has the same name.
        """
        known = self._evalsets.setdefault(evalset.name, evalset)
        if known.path != evalset.path:
            raise ConfigError(
                f"{evalset.path} and {known.path} are both called {evalset.name!r}. Give one of "
                "them another `evalset:` name."
            )
        return evalset

    def note_pipeline(self, evalset: EvalSet, pipeline: Pipeline, project: Config) -> None:
        """Remember what the header says of an evalset, once its pipeline is built."""
        if evalset.name not in self._facts:
            from pytest_rag.evaluation import facts

            self._facts[evalset.name] = facts(evalset, pipeline, project)

    def pack(self, results: Iterable[Result], deck: Deck, bills: Bills) -> str:
        """Return results, facts not yet sent, and what was built, as the text a report carries."""
        results = list(results)
        new = {r.evalset for r in results} & (self._facts.keys() - self._packed)
        self._packed |= new
        facts = {name: self._facts[name] for name in new}
        tapes = {name: str(path) for name, path in deck.paths.items()}
        lines = [result.to_dict() for result in results]
        return records.dumps({"facts": facts, "results": lines, "tapes": tapes, "bills": bills})

    # --- where it is decided ---

    def unpack(self, carried: str) -> list[Result]:
        """Take in the facts a report carries and return its results."""
        message = json.loads(carried)
        self._facts.update(message["facts"])
        self._tapes.update({name: Path(path) for name, path in message["tapes"].items()})
        self.keep_bills(message["bills"])
        return [Result.from_dict(line) for line in message["results"]]

    def keep_bills(self, bills: Bills) -> None:
        """Keep what the building of pipelines asked of models, and write it at once."""
        for building in self.ledger.add_buildings(bills) if bills else ():
            writer = self._open()
            if writer is not None:
                writer.add_building(building)

    def keep(self, results: Iterable[Result]) -> None:
        """Keep results and write them at once; a later run of a case takes the place of one."""
        for result in results:
            self.results[result.key] = result
            if self.settings.resume is None or not self.settings.resume.gave(result):
                self.ledger.add([result])
            writer = self._open()
            if writer is not None:
                if result.evalset in self._facts:
                    writer.note(result.evalset, self._facts[result.evalset])
                writer.add(result)

    def finish(self, session: pytest.Session) -> int | None:
        """Judge the whole, close the record, and return the exit status where it must not be 0."""
        cut_short = bool(session.shouldstop or session.shouldfail or session.exitstatus == 2)
        self._cut_short = cut_short
        if not self.results:
            return self._accept_figures() or self._idle(cut_short=cut_short)
        self._min_pass = self._needed()
        usable = self._judge(cut_short=cut_short)
        self._close(complete=not cut_short and self._complete(), cut_short=cut_short)
        over = stopped(self.results.values())
        built = told_buildings(self.ledger.costs.buildings)
        told = told_ceiling(self.settings.max_cost, self.ledger.costs, over)
        self._said.extend([(built, "dim")] if built else ())
        self._said.extend([(told, "bad" if over else "dim")] if told else ())
        self._said.extend(self.ledger.finish())
        if not usable:
            return pytest.ExitCode.INTERRUPTED
        written = self._accept()
        self._accept_figures()
        reported = self._report(cut_short=cut_short)
        measured = any(r.outcome in ("passed", "failed") for r in self.results.values())
        bad = over or any(held.bad for held in self._held.values())
        good = measured and reported and written and not bad
        return pytest.ExitCode.TESTS_FAILED if not good else None

    @property
    def ledger(self) -> RunLedger:
        """The run's part of the ledger; opened when the first result is there."""
        if self._ledger is None:
            from pytest_rag.config import load

            self._ledger = RunLedger(load(self.config.rootpath))
        return self._ledger

    def save(self, deck: Deck) -> None:
        """Merge what was recorded into the cassettes, and say so."""
        for name, path in {**self._tapes, **deck.paths}.items():
            evalset = self._known(name)
            # Of a test file nobody knows how many questions it asks.
            whole = evalset is not None and not self._cut_short and self._has_all(evalset)
            try:
                said = deck.save(name, path, complete=whole and self.settings.repeat is None)
            except RecordError as error:
                self._said.append((f"cassette: {error}", "bad"))
            else:
                self._said.extend([] if said is None else [(said, "dim")])
        notes = [*deck.notes(), *told_of_resumed(self.settings.resume, self.results.values())]
        self._said.extend((note, "dim") for note in notes)

    def _idle(self, *, cut_short: bool) -> int | None:
        """Write the record of a shard without cases, so that it is not called missing."""
        if self.settings.shard is not None and not cut_short:
            self._open()
            self._close(complete=False, cut_short=False)
        return pytest.ExitCode.OK if self.idle else None

    def print(self, terminal: Any) -> None:
        """Print the summary of the run."""
        if self._said and not self.results:
            terminal.section("RAG evaluation")
        if self.results:
            from pytest_rag.report.text import lines

            terminal.section("RAG evaluation")
            summary = self._summary
            verbose = self.config.get_verbosity() > 0
            for line in lines(summary, verbose=verbose, width=terminal._tw.fullwidth):  # noqa: SLF001
                terminal.write_line(line.text, **_STYLES[line.style])
        for text, style in (*self._said, *self._red()):
            terminal.write_line(text, **_STYLES[style])

    @cached_property
    def _summary(self) -> Summary:
        """What every report shows, made once everything has been decided."""
        from pytest_rag.report.summary import summarise

        return summarise(list(self.results.values()), self._held, min_pass=self._min_pass)

    def _report(self, *, cut_short: bool) -> bool:
        """Write the reports; False where one that was asked for is not there."""
        bad = any(r.outcome in ("failed", "error") for r in self.results.values())
        if cut_short and not bad:  # it would say green of what is not known
            if self.settings.reports:
                self._said.append(("no report was written, since the run was cut short", "bold"))
            return True
        from pytest_rag.plugin.reporting import told_reports

        told = told_reports(
            self.config,
            self.settings,
            self._summary,
            self.results.values(),
            head=None if self._writer is None else self._writer.head,
            buildings=self.ledger.costs.buildings,
            evalsets=self._evalsets.values(),
        )
        found = list(told)
        self._said.extend((text, "dim" if well else "bad") for text, well in found)
        return all(well for _, well in found)

    def _red(self) -> Iterator[tuple[str, str]]:
        """Say what makes the run red beside its cases, which pytest's last line does not tell."""
        for held in self._held.values():
            if held.bad:
                yield f"FAILED {held.evalset}: {'; '.join(held.reasons)}", "bad"

    def plan(self, items: Iterable[RagItem]) -> None:
        """Say what the selected cases would run and cost."""
        from pytest_rag.config import load
        from pytest_rag.costs.ledger import ledger_of
        from pytest_rag.report.plan import plan_lines

        cases = defaultdict(list)
        for item in items:
            cases[item.evalset.name].append(item.case)
        chosen = [replace(self._evalsets[name], cases=tuple(of)) for name, of in cases.items()]
        ledger = ledger_of(load(self.config.rootpath))
        lines = plan_lines(chosen, self._earlier(), option="--rag-out", ledger=ledger)
        self._said.extend((line, "") for line in lines)

    def _earlier(self) -> records.Run | None:
        out = self.settings.out
        return records.read(out) if out is not None and out.exists() else None

    def _open(self) -> RunWriter | None:
        if self._writer is None and self.settings.out is not None:
            shard = self.settings.shard
            options: dict[str, Any] = {
                "concurrency": self.settings.concurrency,
                "repeat": self.settings.repeat,
            }
            if shard is not None:
                options["shard"] = str(shard)
            head = records.header(options, self.config.rootpath)
            head["run_id"] = self.ledger.run
            self._writer = RunWriter(self.settings.out, head)
        return self._writer

    def _close(self, *, complete: bool, cut_short: bool) -> None:
        if self._writer is None:
            return
        self._writer.head["evalsets"] = self._facts
        self._writer.verdicts = {name: held.to_dict() for name, held in self._held.items()}
        written = self._writer.close(complete=complete, cut_short=cut_short)
        self._said.append((f"run record: {told_of(self._writer, written)}", "dim"))

    def _judge(self, *, cut_short: bool) -> bool:
        """Hold every evalset to its limits and its baseline; False where a bar is unusable."""
        from pytest_rag.verdict import hold_all

        known = {name: self._known(name) for name in {key[0] for key in self.results}}
        try:
            self._held = hold_all(
                {name: evalset for name, evalset in known.items() if evalset is not None},
                self.results.values(),
                self._facts,
                self.settings.bars,
                min_pass=self._min_pass,
                update=self.settings.update,
                cut_short=cut_short,
                shard=None if self.settings.shard is None else str(self.settings.shard),
            )
        except BaselineError as error:
            self._said.append((str(error), "bad"))
            return False
        return True

    def _accept(self) -> bool:
        """Write baselines once everything has been decided; False where one asked for is not."""
        from pytest_rag.verdict import write_all

        try:
            self._said.extend((text, "bold") for text in write_all(list(self._held.values())))
        except BaselineError as error:
            self._said.append((str(error), "bad"))
            return self.settings.update is None
        return True

    def _accept_figures(self) -> int | None:
        """Write what Python tests accepted with `rag_baseline`."""
        if not self.accepted:
            return None
        from pytest_rag.plugin.accepting import write_accepted

        try:
            said = write_accepted(self.accepted, self.settings.update)
        except (BaselineError, OSError) as error:
            self._said.append((str(error), "bad"))
            return pytest.ExitCode.INTERRUPTED
        self._said.extend((text, "bold") for text in said)
        return None

    def _needed(self) -> dict[tuple[str, str], int]:
        """Return how many repeats of each case must pass."""
        from pytest_rag.evaluation import with_repeat

        known = (self._known(name) for name in {result.evalset for result in self.results.values()})
        return {
            (evalset.name, case.id): with_repeat(case, self.settings.repeat).min_pass
            for evalset in known
            if evalset is not None
            for case in evalset.cases
        }

    def _complete(self) -> bool:
        """Tell whether every case of every evalset met has a result; of a shard, never."""
        if self.settings.shard is not None:
            return False
        known = [self._known(name) for name in {*self._evalsets, *self._facts}]
        return all(self._has_all(evalset) for evalset in known if evalset is not None)

    def _has_all(self, evalset: EvalSet) -> bool:
        seen = {(of, case) for of, case, _ in self.results}
        return all((evalset.name, case.id) in seen for case in evalset.cases)

    def _known(self, name: str) -> EvalSet | None:
        """Return an evalset; the controller of workers reads it again, for its limits."""
        if name not in self._evalsets and name in self._facts:
            from pytest_rag import evalset as evalsets

            path = self.config.rootpath / self._facts[name]["path"]
            try:
                self._evalsets[name] = evalsets.load(path)
            except UsageError as error:
                self._said.append((str(error), "bad"))
        return self._evalsets.get(name)


_STYLES: dict[str, dict[str, bool]] = {
    "": {},
    "good": {"green": True},
    "bad": {"red": True},
    "dim": {"light": True},
    "bold": {"bold": True},
}
