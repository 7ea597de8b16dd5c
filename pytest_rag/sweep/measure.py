"""One candidate: asked look by look, its record written as it goes, nothing asked twice."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from hashlib import sha256
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from pytest_rag import records
from pytest_rag.evaluation import facts, jobs_of
from pytest_rag.resume import Resumed
from pytest_rag.sweep.figures import broke, missing
from pytest_rag.sweep.seats import LostError
from pytest_rag.writing import RunWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_rag.config import Config
    from pytest_rag.costs.running import RunLedger
    from pytest_rag.judge import Job
    from pytest_rag.records import Result
    from pytest_rag.sweep.plan import Sweep
    from pytest_rag.sweep.seats import Seat
    from pytest_rag.types import Case, EvalSet, PipelineSpec

__all__ = ["Candidate", "Desk", "Part", "Tried"]

State = Literal["complete", "stopped", "error", "not_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A configuration.

    Attributes:
        number: 0 is the current configuration.
        values: Of the knobs in use; of the current configuration those that are known.
        spec: The pipeline with them.
    """

    number: int
    values: Mapping[str, Any]
    spec: PipelineSpec

    @property
    def digest(self) -> str:
        """What names its files: the same parameters, the same name."""
        told = repr((self.spec.factory, sorted(self.spec.params.items())))
        return sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(slots=True, kw_only=True)
class Tried:
    """What became of a candidate.

    Attributes:
        candidate: Which.
        state: ``complete``, ``stopped`` because it could not catch up, ``error``, or ``not_run``
            for the sake of the ceiling.
        results: In the order the cases were asked.
        cases: How many cases were asked.
        reason: Why it broke, or was not run.
        asked: How many runs were not on record.
        took_s: Seconds it took now.
        record: Where its run record is.
    """

    candidate: Candidate
    state: State
    results: list[Result]
    cases: int
    reason: str | None = None
    asked: int = 0
    took_s: float = 0.0
    record: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the cases, and where its records are.

    Attributes:
        folder: One file a candidate.
        cases: In the order they are asked.
        looks: After how many of them it may be decided to stop; the last is all.
    """

    folder: Path
    cases: Sequence[Case]
    looks: Sequence[int]


@dataclass(slots=True, kw_only=True)
class Desk:
    """Measures candidates.

    Attributes:
        sweep: What is to be done.
        config: Of the project.
        ledger: Where what is paid is kept.
        options: What the header of a record says of the sweep.
        noticed: Called with every result that was not on record.
    """

    sweep: Sweep
    config: Config
    ledger: RunLedger
    options: Mapping[str, Any] = field(default_factory=dict)
    noticed: Callable[[Result], object] = lambda _: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def measure(
        self,
        candidate: Candidate,
        part: Part,
        seat: Seat,
        stops: Callable[[Sequence[Result]], bool] = lambda _: False,
    ) -> Tried:
        """Ask a candidate the cases of a part.

        Args:
            candidate: Which.
            part: Of the cases.
            seat: Where it is asked.
            stops: Told the results so far at each look but the last; True ends it.

        Raises:
            KeyboardInterrupt: if it was interrupted; what there is is on record.
        """
        started = perf_counter()
        sheet = _Sheet(self, candidate, part, seat)
        state: State = "error"
        reason = None
        try:
            state, reason = self._asked(sheet, part, stops)
        except LostError as error:
            reason = str(error)
        finally:
            sheet.close(complete=state == "complete", cut_short=state == "error" and not reason)
            seat.leave()
        return Tried(
            candidate=candidate,
            state=state,
            results=sheet.results,
            cases=len({result.case for result in sheet.results}),
            reason=reason,
            asked=sheet.asked,
            took_s=perf_counter() - started,
            record=sheet.path,
        )

    def _asked(
        self, sheet: _Sheet, part: Part, stops: Callable[[Sequence[Result]], bool]
    ) -> tuple[State, str | None]:
        done = 0
        for upto in part.looks:
            sheet.go_on(part.cases[done:upto])
            done = upto
            bad = broke(sheet.results)
            if bad is not None:
                return _why(bad)
            lost = missing(self.sweep, sheet.results)
            if lost is not None:
                return "error", lost
            if upto != part.looks[-1] and stops(sheet.results):
                return "stopped", None
        return "complete", None

    def note(self, result: Result) -> None:
        """Take note of a result that was paid for now."""
        with self._lock:
            self.ledger.add([result])
            self.noticed(result)


def _why(bad: Result) -> tuple[State, str]:
    error = bad.error or {}
    told = f"case {bad.case!r}: {error.get('type', bad.outcome)}: {error.get('message', '')}"
    return ("not_run" if error.get("type") == "BudgetError" else "error"), told


class _Sheet:
    """The record of a candidate: what is on it already, and what is added."""

    def __init__(self, desk: Desk, candidate: Candidate, part: Part, seat: Seat) -> None:
        self.results: list[Result] = []
        self.asked = 0
        self.path = part.folder / f"{candidate.digest}.jsonl"
        self._desk, self._candidate, self._seat = desk, candidate, seat
        whole = replace(desk.sweep.evalset, pipeline=candidate.spec)
        self._evalset: EvalSet = replace(whole, cases=tuple(part.cases))
        self._known = _on_record(self.path, desk.sweep)
        self._taken: list[Result] = []
        self._now = _fingerprint(self._evalset, self._known, desk.config)
        self._writer: RunWriter | None = None

    def go_on(self, cases: Sequence[Case]) -> None:
        """Ask these cases too, those alone that are not on record."""
        jobs = [job for case in cases for job in jobs_of(self._evalset, case, self._desk.config)]
        found: dict[tuple[str, int], Result] = {}
        left: list[Job] = []
        for job in jobs:
            known = None if self._known is None else self._known.take(job, self._now)
            if known is None:
                left.append(job)
            else:
                found[job.case.id, job.repeat] = known
                self._taken.append(known)
        try:
            self._ask(left, found)
        finally:
            order = [(job.case.id, job.repeat) for job in jobs]
            self.results.extend(found[run] for run in order if run in found)

    def _ask(self, jobs: Sequence[Job], found: dict[tuple[str, int], Result]) -> None:
        """Ask what is not on record; an interrupt, wherever it comes, loses no answer there is."""
        if not jobs:
            return
        runs = [(job.case.id, job.repeat) for job in jobs]
        result: Result | None = None
        try:
            for result in self._seat.ask(self._evalset, runs):
                self._keep(result, found)
        except KeyboardInterrupt:
            held = [] if result is None else [result]
            for each in [*held, *self._seat.left()]:  # paid for, though their turn had not come
                if (each.case, each.repeat) not in found:
                    self._keep(each, found)
            raise

    def _keep(self, result: Result, found: dict[tuple[str, int], Result]) -> None:
        self._write(result)
        found[result.case, result.repeat] = result
        self.asked += 1
        self._desk.note(result)

    def _write(self, result: Result) -> None:
        if self._writer is None:
            self._writer = self._begun()
        self._writer.add(result)

    def _begun(self) -> RunWriter:
        """Return a record that holds what is taken from an earlier one."""
        head = records.header(self._options(), self._desk.config.root)
        told = self._seat.open(self._evalset)
        writer = RunWriter(self.path, head)
        writer.head["evalsets"] = {self._evalset.name: dict(told)}
        writer.note(self._evalset.name, told)
        for known in self._taken:
            writer.add(known)
        return writer

    def _options(self) -> dict[str, Any]:
        values = dict(self._candidate.values)
        return {**self._desk.options, "candidate": self._candidate.number, "params": values}

    def close(self, *, complete: bool, cut_short: bool) -> None:
        """End the record; what earlier, interrupted runs left beside a whole one goes."""
        if self._writer is None:
            return
        self._writer.close(complete=complete, cut_short=cut_short)
        if not cut_short:
            for left in self.path.parent.glob(f"{self.path.name}.*"):
                left.unlink(missing_ok=True)


def _on_record(path: Path, sweep: Sweep) -> Resumed | None:
    """Return what is on record; a check that cannot be measured is no reason to ask again."""

    def measured(result: Result) -> bool:
        return broke([result]) is None and missing(sweep, [result]) is None

    there = path.exists() or any(path.parent.glob(f"{path.name}.*"))
    return Resumed.of(path, also=measured) if there else None


def _fingerprint(evalset: EvalSet, known: Resumed | None, config: Config) -> Mapping[str, Any]:
    """Return what results on record must agree with.

    The documents are taken for those of the record: whether they are still the same is looked at
    once, for the whole sweep, and no pipeline is built to find it out again.
    """
    now: Mapping[str, Any] = facts(evalset, None, config)["fingerprint"]
    before = {} if known is None else known.fingerprints.get(evalset.name, {})
    return {**now, "corpus": before.get("corpus")}
