"""Where candidates are asked: in this process, or in one of their own."""

from __future__ import annotations

import json
import multiprocessing
import signal
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pytest_rag.costs.budget import join
from pytest_rag.errors import RagError
from pytest_rag.evaluation import build_pipeline, facts, jobs_of, paying, stage_cache
from pytest_rag.judge import broken
from pytest_rag.pipelines.keeping import Kept, keeping
from pytest_rag.records import Result
from pytest_rag.replay import Deck
from pytest_rag.runner import Runner

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from multiprocessing.connection import Connection

    from pytest_rag.config import Config
    from pytest_rag.judge import Job
    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.types import EvalSet

__all__ = ["Here", "LostError", "Run", "Seat", "Setting", "There"]

Run = tuple[str, int]
"""A case's id and a repeat of it."""

_POLL_S = 0.2


class LostError(RagError):
    """The process of a candidate ended before it had answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a seat needs to know.

    Attributes:
        config: Of the project, with every metric that is wanted.
        budget: The file of the ceiling, or None.
    """

    config: Config
    budget: str | None = None


class Seat(Protocol):
    """Asks one candidate after the other."""

    def ask(self, evalset: EvalSet, runs: Sequence[Run]) -> Iterator[Result]:
        """Yield the results of runs; the pipeline is built once, until `leave`.

        Args:
            evalset: With the candidate's pipeline.
            runs: Which of its cases.
        """
        ...

    def open(self, evalset: EvalSet) -> Mapping[str, Any]:
        """Build the pipeline where it is not there, and return what a record says of it."""
        ...

    def left(self) -> Sequence[Result]:
        """Return results that are there after an interrupt and that `ask` has not yielded."""
        ...

    def leave(self) -> None:
        """Let go of the candidate."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


# --- in this process ----------------------------------------------------------------------------


class Here:
    """Asks in this process; what one build computed serves the next."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._kept = Kept()
        self._table: _Table | None = None

    def open(self, evalset: EvalSet) -> Mapping[str, Any]:
        """Build the pipeline where it is not there, and return what a record says of it."""
        return self._at(evalset).facts

    def ask(self, evalset: EvalSet, runs: Sequence[Run]) -> Iterator[Result]:
        """Yield results as they come."""
        yield from self._at(evalset).ask(runs)

    def left(self) -> Sequence[Result]:
        """Return results that are there after an interrupt and that `ask` has not yielded."""
        return () if self._table is None else self._table.left()

    def _at(self, evalset: EvalSet) -> _Table:
        if self._table is None:
            self._table = _Table(self._setting, evalset, self._kept)
        return self._table

    def leave(self) -> None:
        """Close the candidate's pipeline."""
        if self._table is not None:
            self._table.close()
            self._table = None

    def close(self) -> None:
        """Close what is open."""
        self.leave()


class _Table:
    """A candidate's pipeline and what it takes to ask it."""

    def __init__(self, setting: Setting, evalset: EvalSet, kept: Kept) -> None:
        config = setting.config
        budget = None if setting.budget is None else join(setting.budget, config)
        self._config, self._evalset = config, evalset
        self._runner = Runner(config, budget)
        self._deck = Deck(
            config.mode,
            lambda path, case: f"pytest-rag run {path} --case {case} --mode record",
            lambda: (config.limits, config.retries),
            lambda: stage_cache(config),
            None if budget is None else partial(paying, budget, config),
        )
        self._error: BaseException | None = None
        self._pipeline = self._built(kept)
        self.facts = facts(evalset, self._pipeline, config)

    def _built(self, kept: Kept) -> Pipeline | None:
        spec = self._evalset.pipeline
        assert spec is not None  # noqa: S101 - checked when the sweep was loaded
        try:
            with keeping(kept):
                return build_pipeline(
                    spec, self._evalset, self._config, self._runner.loop, self._deck
                )
        except (Exception, SystemExit) as error:  # noqa: BLE001 - becomes every case's record
            self._error = error
            return None

    def ask(self, runs: Sequence[Run]) -> Iterator[Result]:
        jobs = self._jobs(runs)
        if self._pipeline is None:
            assert self._error is not None  # noqa: S101
            yield from (broken(job, self._error, self._config) for job in jobs)
            return
        waiting: list[Future[Any]] = self._runner.start(self._pipeline, jobs)
        for future in waiting:
            yield self._runner.result(future)

    def left(self) -> Sequence[Result]:
        return self._runner.unclaimed()

    def _jobs(self, runs: Sequence[Run]) -> list[Job]:
        cases = {case.id: case for case in self._evalset.cases}
        wanted: dict[str, list[Job]] = {}
        for name, _ in runs:
            wanted.setdefault(name, jobs_of(self._evalset, cases[name], self._config))
        return [wanted[name][repeat] for name, repeat in runs]

    def close(self) -> None:
        self._runner.close()
        self._deck.close()


# --- in a process of its own --------------------------------------------------------------------


class There:
    """Asks in a process of its own, which ends with this one."""

    def __init__(self, setting: Setting, stop: threading.Event) -> None:
        self._setting, self._stop = setting, stop
        self._facts: dict[str, Any] = {}
        self._process: Any = None
        self._line: Connection | None = None

    def open(self, evalset: EvalSet) -> Mapping[str, Any]:
        """Build the pipeline where it is not there, and return what a record says of it."""
        if not self._facts:
            list(self.ask(evalset, ()))
        return self._facts

    def ask(self, evalset: EvalSet, runs: Sequence[Run]) -> Iterator[Result]:
        """Yield results as they come.

        Raises:
            LostError: if the process ended.
            KeyboardInterrupt: once the sweep is to stop.
        """
        line = self._line or self._start()
        try:
            line.send({"ask": runs, "evalset": evalset})
            while True:
                kind, text = self._next(line)
                if kind == "done":
                    return
                if kind == "facts":
                    self._facts = json.loads(text)
                else:
                    yield Result.from_dict(json.loads(text))
        except (EOFError, OSError) as error:
            raise self._lost() from error

    def left(self) -> Sequence[Result]:
        """Return nothing: what the process has not sent went with it."""
        return ()

    def _next(self, line: Connection) -> tuple[str, str]:
        while not line.poll(_POLL_S):
            if self._stop.is_set():
                self.close()
                raise KeyboardInterrupt
        kind, text = line.recv()
        return str(kind), str(text)

    def leave(self) -> None:
        """Tell the process to let go of the candidate."""
        self._facts = {}
        if self._line is not None:
            try:
                self._line.send({"leave": True})
            except OSError:
                self.close()

    def close(self) -> None:
        """End the process."""
        if self._line is not None:
            self._line.close()
            self._process.terminate()
            self._process.join(5)
        self._line = self._process = None

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._setting), daemon=True)
        self._process.start()
        theirs.close()
        return self._line

    def _lost(self) -> LostError:
        self._process.join(5)
        code = self._process.exitcode
        self.close()
        return LostError(f"The candidate's process ended with status {code}.")


def _serve(line: Connection, setting: Setting) -> None:
    """Answer what is asked over a pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asks decides
    seat = Here(setting)
    try:
        while True:
            asked = line.recv()
            if "leave" in asked:
                seat.leave()
                continue
            line.send(("facts", json.dumps(dict(seat.open(asked["evalset"])))))
            for result in seat.ask(asked["evalset"], asked["ask"]):
                line.send(("result", json.dumps(result.to_dict())))
            line.send(("done", ""))
    except (EOFError, OSError):
        return
    finally:
        seat.close()
