"""One run in a process of its own, as ``aa`` and ``ab`` start them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_rag import records
from pytest_rag.costs.running import stopped
from pytest_rag.errors import RagError
from pytest_rag.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_rag.config import Config
    from pytest_rag.costs.budget import Budget
    from pytest_rag.records import Result, Run

__all__ = ["CeilingError", "Child", "ChildError", "Shared", "environment", "of_evalset"]

_SHARED = "PYTEST_RAG_SHARED"
_INTERRUPTED = 130
_NOTHING = 3
_GRACE_S = 10
_TOLD = 1200  # characters of what a process said
_LAUNCH = """
import atexit, json, sys

told = sys.argv.pop(1)

def tell():
    found = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    with open(told, "w", encoding="utf-8") as file:
        json.dump(sorted({name for name in found if isinstance(name, str)}), file)

atexit.register(tell)
from pytest_rag.cli import main
main()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all runs of one command share, those in worktrees too.

    Attributes:
        ledger: Where their calls are kept, or None.
        budget: The file of their one ceiling, or None.
    """

    ledger: str | None
    budget: str | None = None

    @classmethod
    def of(cls, config: Config, budget: Budget | None) -> Shared:
        """Return what the runs of a command share in a project."""
        ledger = None if config.ledger_path is None else str(config.ledger_path)
        return cls(ledger=ledger, budget=None if budget is None else str(budget.path))

    @classmethod
    def given(cls) -> Shared | None:
        """Return what the command has that started this process; None where none did."""
        told = os.environ.get(_SHARED)
        return None if told is None else cls(**json.loads(told))

    def env(self) -> dict[str, str]:
        """Return it as a variable of a run's environment."""
        return {_SHARED: json.dumps({"ledger": self.ledger, "budget": self.budget})}

    def applied(self, config: Config) -> Config:
        """Return a configuration whose ledger is the shared one."""
        return replace(config, ledger=self.ledger)


class ChildError(RagError):
    """A run did not come about; `status` is what to exit with."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class CeilingError(ChildError):
    """The ceiling stopped cases of a run, so that it cannot be compared with others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """How a side is run.

    Attributes:
        name: What to call it in messages.
        files: The evalsets.
        evalsets: Their names, of each of which something must be measured.
        cwd: Where.
        env: Environment variables.
        options: Further words for ``pytest-rag run``.
        place: The checkout whose code is meant, or None for whatever is found.
        top: The repository's own working tree, of which then nothing may be imported.
    """

    name: str
    files: Sequence[Path]
    evalsets: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    options: Sequence[str] = ()
    place: Path | None = None
    top: Path | None = None

    def run(self, out: Path) -> Run:
        """Run once, and return the record; no baseline is read or written.

        Args:
            out: A file that does not exist yet.

        Raises:
            CeilingError: if the command's ceiling stopped a part of it.
            ChildError: if it cannot run, imports what is not its own, or measures nothing of an
                evalset.
            KeyboardInterrupt: if it was interrupted.
        """
        imported = out.with_suffix(".imported.json")
        words = [sys.executable, "-c", _LAUNCH, str(imported), "run", *map(str, self.files)]
        words += ["--out", str(out), "--baseline", "none", *self.options]
        status, said = self._wait(words)
        if status == _INTERRUPTED:
            raise KeyboardInterrupt
        if status not in (0, 1, _NOTHING) or not out.exists():
            told = _tail(said) or f"its process ended with status {status}"
            raise ChildError(f"{self.name} cannot run: {told}", 2 if status == 2 else _NOTHING)
        self._check_imported(imported)
        run = records.read(out)
        held_back = stopped(run.results)
        if held_back:
            many = f"{held_back:,} run{'' if held_back == 1 else 's'} of cases"
            raise CeilingError(f"{self.name}: --max-cost stopped {many}.", _NOTHING)
        for evalset in self.evalsets:
            self._check(evalset, of_evalset(run, evalset))
        return run

    def _wait(self, words: Sequence[str]) -> tuple[int, str]:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            words,
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        try:
            _, said = process.communicate()
        except BaseException:
            _end(process)
            raise
        return process.returncode, said

    def _check_imported(self, told: Path) -> None:
        """Refuse a run of the other side's code, which would be no comparison."""
        if self.top is None or self.place is None or self.place == self.top:
            return
        if not told.exists():
            raise ChildError(f"{self.name} does not tell whose code it ran.", _NOTHING)
        for name in json.loads(told.read_text(encoding="utf-8")):
            file = Path(name).resolve()
            in_tree = file.is_relative_to(self.top) and not file.is_relative_to(self.place)
            if in_tree and _is_ours(file):
                raise ChildError(
                    f"{self.name} imported {file}, which is not its own, so nothing can be "
                    "compared. Does an installed package, a .pth file or the code itself point "
                    "into the working tree?",
                    _NOTHING,
                )

    def _check(self, evalset: str, results: Sequence[Result]) -> None:
        if any(result.outcome in ("passed", "failed") for result in results):
            return
        errors = (r.error for r in results if r.error is not None)
        error = next(errors, None)
        why = "it says nothing of why" if error is None else f"{error['type']}: {error['message']}"
        raise ChildError(f"{self.name} measured nothing of {evalset!r}. {_tail(why)}", _NOTHING)


def of_evalset(run: Run, evalset: str) -> list[Result]:
    """Return the results of one evalset."""
    return [result for result in run.results if result.evalset == evalset]


def _end(process: subprocess.Popen[str]) -> None:
    """End a process: Ctrl-C at a terminal has reached it already, nothing else has."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
        return
    process.kill()
    process.wait()


def _tail(said: str) -> str:
    text = str(redact(said.strip()))
    return text if len(text) <= _TOLD else f"… {text[-_TOLD:]}"


def environment(top: Path, place: Path, cwd: Path) -> dict[str, str]:
    """Return the environment in which code of one checkout is imported, and of no other.

    The checkout's root and its ``src`` come first in ``PYTHONPATH``; then every folder of the
    repository that Python looks in now, such as the one an editable install names, as the
    checkout has it; then the rest of ``PYTHONPATH``.

    Args:
        top: The repository's own working tree.
        place: The checkout, which may be the same.
        cwd: The folder that relative entries start from.
    """
    old = [cwd / entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    looked = (Path(entry) for entry in sys.path if entry)
    known = [folder.resolve() for folder in (*old, *looked)]
    inside = [place / p.relative_to(top) for p in known if p.is_relative_to(top) and _is_ours(p)]
    outside = [entry for entry in old if not entry.resolve().is_relative_to(top)]
    folders = [place, place / "src", *inside, *outside]
    there = (str(folder) for folder in folders if folder.is_dir())
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(there))}


def _is_ours(path: Path) -> bool:
    """Tell a folder of the project from one of the interpreter or its packages."""
    return not any(path.is_relative_to(folder) for folder in _INSTALLED)


def _resolved(folders: Iterable[str]) -> set[Path]:
    return {Path(folder).resolve() for folder in folders}


_PATHS = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
_INSTALLED = _resolved(sysconfig.get_path(name) for name in _PATHS)
