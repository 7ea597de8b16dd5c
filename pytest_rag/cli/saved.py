"""A saved run and the evalsets of the tree → what is judged, without asking any pipeline."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_rag import calibration, records
from pytest_rag.errors import UsageError
from pytest_rag.gate import by_case, facts_of, limits_of
from pytest_rag.verdict import Asked, hold

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_rag.baseline.source import Bars
    from pytest_rag.config import Config
    from pytest_rag.records import Result, Run
    from pytest_rag.report.reporters import View
    from pytest_rag.report.summary import Summary
    from pytest_rag.types import EvalSet
    from pytest_rag.verdict import Held, Update

__all__ = ["Saved", "fingerprints", "open_saved", "saved_of", "tell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A saved run with the evalset files that are there now.

    Attributes:
        run: As it was recorded.
        config: Of the project.
        evalsets: By name, those found; empty where only the record is to count.
        notes: What a person should know, in whole sentences.
    """

    run: Run
    config: Config
    evalsets: Mapping[str, EvalSet] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> Mapping[str, dict[str, Any]]:
        """What the header says, by evalset."""
        found: Mapping[str, dict[str, Any]] = self.run.header.get("evalsets", {})
        return found

    @property
    def shard(self) -> str | None:
        """Which part of the cases the run is, or None."""
        shard: str | None = self.run.header.get("config", {}).get("shard")
        return shard

    @property
    def cut_short(self) -> bool:
        """Whether the run was killed, interrupted or stopped by ``-x``."""
        foot = self.run.footer
        return foot is None or bool(foot.get("cut_short"))

    def results_of(self, name: str) -> list[Result]:
        """Return the results of an evalset."""
        return [result for result in self.run.results if result.evalset == name]

    def file_of(self, name: str) -> Path:
        """Return where the file of an evalset is, or was."""
        if name in self.evalsets:
            return self.evalsets[name].path
        path: str = self.facts[name]["path"]
        return self.config.root / path

    def rejudged(self) -> Saved:
        """Return it with every case judged by the limits that its file has now."""
        results: list[Result] = []
        facts, notes = dict(self.facts), list(self.notes)
        for name in dict.fromkeys(result.evalset for result in self.run.results):
            evalset = self.evalsets.get(name)
            some = self.results_of(name)
            if evalset is not None and name in facts:
                facts[name] = {**facts[name], "gate": facts_of(evalset.gate, evalset.alpha)}
                some, left = _rejudged(some, evalset, self.facts[name], self.config)
                if left:
                    notes.append(f"{name} no longer declares {', '.join(left)}.")
            results += some
        header = {**self.run.header, "evalsets": facts}
        run = replace(self.run, results=tuple(results), header=header)
        return replace(self, run=run, notes=tuple(notes))

    def hold(self, bars: Bars, update: Update | None = None) -> dict[str, Held]:
        """Decide over every evalset; nothing is written.

        Raises:
            BaselineError: if a bar cannot be used.
        """
        return {
            name: hold(self._asked(name), self.results_of(name), self.facts[name], bars, update)
            for name in self.facts
        }

    def _asked(self, name: str) -> Asked:
        facts, cases = self.facts[name], by_case(self.results_of(name))
        evalset, file = self.evalsets.get(name), self.file_of(name)
        trust = calibration.read(file, name) if evalset is None else evalset.trust
        declared: Sequence[str] | None = None
        if evalset is not None:
            declared = [case.id for case in evalset.cases]
        elif len(cases) == facts["cases"]:
            declared = list(cases)
        whole = declared is not None and cases.keys() >= set(declared)
        gate, alpha = limits_of(facts.get("gate") or {})
        return Asked(
            name=name,
            file=file,
            gate=gate,
            alpha=alpha,
            declared=declared,
            min_pass={case: _needed(runs) for case, runs in cases.items()},
            whole=whole and not self.cut_short and self.shard is None,
            cut_short=self.cut_short,
            size=facts["cases"],
            shard=self.shard,
            trust=trust,
        )

    def summary(self, held: Mapping[str, Held]) -> Summary:
        """Summarise it, with what was decided of each evalset."""
        from pytest_rag.report.summary import summarise

        needed = {
            (name, case): _needed(runs)
            for name in {result.evalset for result in self.run.results}
            for case, runs in by_case(self.results_of(name)).items()
        }
        return summarise(self.run.results, held, min_pass=needed)

    def view(self, summary: Summary, record: Path) -> View:
        """Return what reporters render.

        Args:
            summary: Of the run.
            record: Where it is kept.
        """
        from pytest_rag.report.reporters import View

        view = View(
            summary=summary,
            header=self.run.header,
            results=self.run.results,
            buildings=self.run.buildings,
            record=str(record),
            alerts=self.config.alerts,
        )
        return view.knowing(self.evalsets.values())


def _needed(runs: Sequence[Result]) -> int:
    """Return how many runs of a case must pass; the share is what was recorded."""
    return max(1, math.ceil(runs[0].min_pass * len(runs) - 1e-9))


def _rejudged(
    results: Iterable[Result], evalset: EvalSet, facts: Mapping[str, Any], config: Config
) -> tuple[list[Result], list[str]]:
    """Return the results of declared cases, judged anew, and the other cases."""
    from pytest_rag.evaluation import with_repeat
    from pytest_rag.rejudge import rejudge

    same_qrels = fingerprints(evalset, config)["qrels"] == facts["fingerprint"]["qrels"]
    declared = {case.id: case for case in evalset.cases}
    cases = by_case(results)
    again = [
        rejudge(run, with_repeat(declared[case], len(runs)), evalset, config, same_qrels=same_qrels)
        for case, runs in cases.items()
        if case in declared
        for run in runs
    ]
    return again, [case for case in cases if case not in declared]


def fingerprints(evalset: EvalSet, config: Config) -> Mapping[str, str | None]:
    """Return the fingerprints of an evalset as its file is now."""
    from pytest_rag.evaluation import facts

    found: Mapping[str, str | None] = facts(evalset, None, config)["fingerprint"]
    return found


def open_saved(path: Path, files: Sequence[Path] = ()) -> Saved:
    """Read a saved run and the evalsets it is of, as their files are now.

    Args:
        path: Of the record.
        files: Evalset files to use in place of those the record names.

    Raises:
        UsageError: if a file cannot be read, or is of an evalset that the run does not hold.
    """
    return saved_of(records.read(path), path, files)


def saved_of(run: Run, path: Path | None = None, files: Sequence[Path] = ()) -> Saved:
    """Find the evalsets of a run; see `open_saved`.

    Raises:
        UsageError: likewise.
    """
    from pytest_rag import config as configuration
    from pytest_rag.cli.project import find_root

    config = configuration.load(find_root(Path.cwd()))
    facts = run.header.get("evalsets", {})
    found = _given(files, facts, str(path))
    notes = []
    for name, of in facts.items():
        if name in found:
            continue
        file = config.root / of["path"]
        evalset = _load(file) if file.is_file() else None
        if evalset is not None and evalset.name == name:
            found[name] = evalset
        else:
            notes.append(f"{of['path']} is not here: {name} is judged by the limits of the record.")
    return Saved(run=run, config=config, evalsets=found, notes=tuple(notes))


def _given(files: Sequence[Path], facts: Mapping[str, Any], path: str) -> dict[str, EvalSet]:
    from pytest_rag.cli.selection import load_all
    from pytest_rag.registry import did_you_mean

    found = {evalset.name: evalset for evalset in (load_all(files) if files else ())}
    for name, evalset in found.items():
        if name not in facts:
            raise UsageError(
                f"{path} holds no run of {name!r} ({evalset.path.name}); it holds "
                f"{', '.join(map(repr, facts)) or 'none'}.{did_you_mean(name, facts)}"
            )
    return found


def _load(file: Path) -> EvalSet:
    from pytest_rag import evalset as evalsets

    return evalsets.load(file)


def tell(
    saved: Saved, summary: Summary, *, record: str | None = None, verbose: bool = False
) -> None:
    """Print what was decided of a saved run.

    Args:
        saved: For its notes, and what to type to run it again.
        summary: Of it.
        record: Where the record is, if that is to be told.
        verbose: Whether every case that moved is shown.
    """
    from pytest_rag.cli.terminal import say, width
    from pytest_rag.cli.verdict import command_again
    from pytest_rag.report.text import lines

    say((note, "bold") for note in saved.notes)
    files = [saved.file_of(name) for name in saved.facts]
    here = Path.cwd()
    near = [file.relative_to(here) if file.is_relative_to(here) else file for file in files]
    again = command_again(near, summary)
    say(lines(summary, verbose=verbose, width=width(), record=record, again=again))
