"""A sweep from its first candidate to its verdict; one that was cut short is gone on with."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pytest_rag.checks import BUDGETS
from pytest_rag.costs.lasting import change_ceiling, lasting_budget
from pytest_rag.costs.money import money
from pytest_rag.costs.running import RunLedger
from pytest_rag.costs.schema import make_folder
from pytest_rag.errors import RagError, UsageError
from pytest_rag.evaluation import need_judge
from pytest_rag.files import lock, write_atomically
from pytest_rag.sweep.importance import importance
from pytest_rag.sweep.measure import Candidate, Desk, Part
from pytest_rag.sweep.outcome import Outcome, idle_knobs, judge_heldout
from pytest_rag.sweep.plan import current_values
from pytest_rag.sweep.proposer import Proposer
from pytest_rag.sweep.race import looks
from pytest_rag.sweep.search import LAG, Search
from pytest_rag.sweep.seats import Here, Setting, There
from pytest_rag.sweep.split import split
from pytest_rag.sweep.standing import frontier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_rag.config import Config
    from pytest_rag.costs.budget import Budget
    from pytest_rag.records import Result
    from pytest_rag.sweep.measure import Tried
    from pytest_rag.sweep.outcome import Verdict
    from pytest_rag.sweep.plan import Sweep
    from pytest_rag.sweep.seats import Seat
    from pytest_rag.sweep.split import Split
    from pytest_rag.sweep.standing import Standing

__all__ = ["Sitting", "SweepError", "folder_of"]

_RESERVE = 1.25  # of what the verdict should cost


class SweepError(RagError):
    """Nothing can be searched: the current configuration itself gives no figures."""


def folder_of(sweep: Sweep, root: Path) -> Path:
    """Return where a sweep's records are where nobody names another place."""
    return root / ".pytest_rag" / "sweeps" / sweep.name


@dataclass(slots=True, kw_only=True)
class Sitting:
    """Runs a sweep.

    Attributes:
        sweep: What is to be done.
        config: Of the project.
        folder: Where its records are.
        jobs: How many candidates are measured at a time, each in a process of its own.
        limit: US dollars that the whole sweep may cost, or None.
        told: Called with every candidate that is decided, and the best so far.
        noticed: Called with every result that is new.
    """

    sweep: Sweep
    config: Config
    folder: Path
    jobs: int = 1
    limit: float | None = None
    told: Callable[[Standing, Standing | None], object] = lambda *_: None
    noticed: Callable[[Result], object] = lambda _: None
    notes: list[str] = field(default_factory=list)
    asked: int = 0
    _ledger: RunLedger | None = None

    def run(self) -> Outcome:
        """Search, recommend and judge.

        Raises:
            SweepError: if the current configuration gives no figures.
            UsageError: if another process runs this sweep, or the cases are too few.
            MissingExtraError: if Optuna is not installed.
            KeyboardInterrupt: if it was interrupted; what was measured is on record.
        """
        started = perf_counter()
        values = current_values(self.sweep)
        proposer = Proposer(self.sweep, values)
        config = self._with_metrics()
        need_judge(self.sweep.evalset, config)
        parts = split(self.sweep.evalset.cases, holdout=self.sweep.holdout, seed=self.sweep.seed)
        with self._held():
            ledger = self._ledger = RunLedger(config)
            desk = Desk(
                sweep=self.sweep,
                config=config,
                ledger=ledger,
                options={"sweep": self.sweep.name},
                noticed=self._notice,
            )
            budget = self._budget(config)
            pool = _Pool(self.jobs, Setting(config=config, budget=_path(budget)), desk)
            try:
                found, verdict = self._searched(pool, parts, proposer, values, budget)
            finally:
                pool.close()
        if self.sweep.space.knobs and not self.sweep.space.holds(values):
            self.notes.append(_unknown(self.sweep, values))
        return Outcome(
            sweep=self.sweep,
            found=tuple(found.found),
            frontier=tuple(each.number for each in frontier(self.sweep, found.found)),
            best=found.best,
            verdict=verdict,
            importance=importance(self.sweep, found.found, found.best),
            idle=tuple(idle_knobs(self.sweep, found.found)),
            cases=(len(parts.search), len(parts.heldout)),
            asked=self.asked,
            took_s=perf_counter() - started,
            cost_usd=ledger.costs.total_usd,
            notes=tuple(self.notes),
        )

    def finish(self) -> list[tuple[str, str]]:
        """Close the ledger; returns what is to be said of costs, with a style."""
        return [] if self._ledger is None else self._ledger.finish()

    def _searched(
        self,
        pool: _Pool,
        parts: Split,
        proposer: Proposer,
        values: dict[str, Any],
        budget: Budget | None,
    ) -> tuple[Search, Verdict | None]:
        part = Part(
            folder=self.folder / "candidates",
            cases=parts.search,
            looks=looks(len(parts.search)),
        )
        whole = replace(part, looks=[len(parts.search)])
        now = Candidate(number=0, values=values, spec=self.sweep.pipeline)
        self._same_documents(pool, now, whole)
        current = pool.measure(now, whole).result()
        if current.state != "complete":
            raise self._no_figures(current, len(parts.search), budget)
        if budget is not None:
            self._set_aside(budget, current, len(parts.heldout))
        search = Search(
            sweep=self.sweep,
            proposer=proposer,
            measure=partial(self._measured, pool, part),
            tests=max(1, len(part.looks) - 1),
            lag=max(LAG, self.jobs),
            told=self.told,
        )
        search.run(current, values)
        if search.spent:
            self.notes.append(f"the ceiling ended the search after {len(search.found)} candidates")
        if budget is not None and self.limit is not None:
            change_ceiling(budget, self.limit)
        best = search.best
        if best is None or not best.number:
            return search, None
        return search, self._verdict(pool, parts, now, best)

    def _measured(
        self,
        pool: _Pool,
        part: Part,
        candidate: Candidate,
        stops: Callable[[Sequence[Result]], bool],
    ) -> Future[Tried]:
        return pool.measure(candidate, part, stops)

    def _verdict(self, pool: _Pool, parts: Split, now: Candidate, best: Standing) -> Verdict:
        """Ask both configurations what the search has not seen."""
        folder = self.folder / "heldout"
        part = Part(folder=folder, cases=parts.heldout, looks=[len(parts.heldout)])
        both = [pool.measure(each, part) for each in (now, best.tried.candidate)]
        current, chosen = (future.result() for future in both)
        judged = {path.stem for path in folder.glob("*.jsonl")} - {now.digest}
        return judge_heldout(self.sweep, current, chosen, looks=max(1, len(judged)))

    # --- what comes before ------------------------------------------------------------------------

    def _with_metrics(self) -> Config:
        """Return the settings with every metric that decides."""
        named = [each.metric for each in self.sweep.objectives]
        named += [each.metric for each in self.sweep.limits]
        others = {*BUDGETS, "passed", *self.sweep.evalset.rubrics, *self.config.metrics}
        more = dict.fromkeys(name for name in named if name not in others)
        return replace(self.config, metrics=(*self.config.metrics, *more))

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Keep the folder for this process."""
        if self.folder.parent.parent.name == ".pytest_rag":
            make_folder(self.folder.parent.parent)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / "lock").open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"Cannot write in {self.folder}: {error.strerror or error}.") from None
        with file:
            if not lock(file):
                raise UsageError(
                    f"Another process runs this sweep in {self.folder}. Wait for it, or name "
                    "another folder: --out FOLDER"
                )
            yield

    def _budget(self, config: Config) -> Budget | None:
        if self.limit is None:
            return None
        return lasting_budget(self.folder / "budget.sqlite", self.limit, config)

    def _same_documents(self, pool: _Pool, now: Candidate, part: Part) -> None:
        """Put records aside that were made over other documents."""
        evalset = replace(self.sweep.evalset, pipeline=now.spec, cases=tuple(part.cases))
        told = pool.open(evalset)
        corpus = told["fingerprint"]["corpus"]
        file = self.folder / "corpus"
        before = file.read_text(encoding="utf-8").strip() if file.exists() else None
        if before is not None and corpus is not None and before != corpus:
            for name in ("candidates", "heldout"):
                folder = self.folder / name
                if folder.exists():
                    folder.rename(_free(folder))
            self.notes.append("the documents have changed: what was measured before was put aside")
        if corpus is not None:
            write_atomically(file, f"{corpus}\n")

    def _notice(self, result: Result) -> None:
        self.asked += 1
        self.noticed(result)

    def _no_figures(self, current: Tried, cases: int, budget: Budget | None) -> SweepError:
        if current.state == "not_run" and budget is not None:
            done = sum(result.outcome in ("passed", "failed") for result in current.results)
            spent = budget.spent_usd
            about = f", about {money(spent / done * cases)} for all" if done and spent else ""
            return SweepError(
                f"The ceiling of {money(budget.limit_usd)} does not pay for one candidate: of the "
                f"current configuration {done} of {cases} cases ran for {money(spent)}{about}. "
                "Raise --max-cost; what was paid is on record."
            )
        return SweepError(
            f"The current configuration gives no figures, so that nothing can be held against it: "
            f"{current.reason}"
        )

    def _set_aside(self, budget: Budget, current: Tried, heldout: int) -> None:
        """Lower the ceiling by what the verdict should cost, until it is due.

        Raises:
            SweepError: if that is more than is left.
        """
        costs = [(r.cost_usd or 0) + (r.judge_cost_usd or 0) for r in current.results]
        wanted = _RESERVE * 2 * heldout * fmean(costs)
        limit, spent = budget.limit_usd, budget.spent_usd
        if wanted and limit - spent <= wanted:
            raise SweepError(
                f"Of the ceiling of {money(limit)} {money(spent)} is spent, and the verdict on "
                f"held-out cases takes about {money(wanted)}: nothing is left to search with. "
                "Raise --max-cost; what was paid is on record."
            )
        change_ceiling(budget, limit - wanted)


class _Pool:
    """Seats, and candidates on their way to one."""

    def __init__(self, jobs: int, setting: Setting, desk: Desk) -> None:
        self._desk = desk
        self._stop = threading.Event()
        self._all: list[Seat] = [Here(setting)]
        if jobs > 1:
            self._all = [There(setting, self._stop) for _ in range(jobs)]
        self._free: queue.LifoQueue[Seat] = queue.LifoQueue()
        for seat in reversed(self._all):
            self._free.put(seat)
        self._threads = ThreadPoolExecutor(jobs) if jobs > 1 else None

    def open(self, evalset: Any) -> Any:
        """Build a pipeline at the first seat, and return what a record says of it."""
        return self._all[0].open(evalset)

    def measure(
        self,
        candidate: Candidate,
        part: Part,
        stops: Callable[[Sequence[Result]], bool] = lambda _: False,
    ) -> Future[Tried]:
        """Measure a candidate, at once where there is one seat."""
        if self._threads is not None:
            return self._threads.submit(self._seated, candidate, part, stops)
        done: Future[Tried] = Future()
        done.set_result(self._seated(candidate, part, stops))
        return done

    def _seated(
        self, candidate: Candidate, part: Part, stops: Callable[[Sequence[Result]], bool]
    ) -> Tried:
        seat = self._free.get()
        try:
            if self._stop.is_set():
                raise KeyboardInterrupt
            return self._desk.measure(candidate, part, seat, stops)
        finally:
            self._free.put(seat)

    def close(self) -> None:
        """End everything that is under way."""
        self._stop.set()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for seat in self._all:
            seat.close()


def _path(budget: Budget | None) -> str | None:
    return None if budget is None else str(budget.path)


def _free(folder: Path) -> Path:
    names = (folder.with_name(f"{folder.name}.old{n}") for n in range(1, 10_000))
    return next(path for path in names if not path.exists())


def _unknown(sweep: Sweep, values: dict[str, Any]) -> str:
    """Return why the search did not begin with the current configuration, and what to do."""
    knobs = {knob.name: knob for knob in sweep.space.knobs}
    off = [f"{name} is {values[name]!r}" for name in values if not knobs[name].holds(values[name])]
    if off:
        return f"The current configuration is none of those searched: {', '.join(off)}."
    lost = ", ".join(knob.name for knob in sweep.space.knobs if knob.name not in values)
    return (
        f"The search began anywhere: neither the evalset nor a default of the factory tells the "
        f"current {lost}. Write them under the evalset's `params`."
    )
