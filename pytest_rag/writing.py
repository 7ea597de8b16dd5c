"""Writes a run record as it is made, and never over what somebody may still want."""

from __future__ import annotations

import contextlib
import os
import stat
from itertools import count
from typing import IO, TYPE_CHECKING, Any

from pytest_rag import records
from pytest_rag.errors import RecordError
from pytest_rag.files import is_locked, lock, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_rag.buildings import Building
    from pytest_rag.records import Result

__all__ = ["RunWriter", "check_target", "told_of", "write_atomically"]


def check_target(path: Path) -> None:
    """Refuse a place no run record can go, before anything is paid for.

    Raises:
        RecordError: if it is a folder, a device, a file that is no run record, or out of reach.
    """
    path = path.resolve()
    if path.is_dir():
        raise RecordError(f"{path} is a folder. Name a file in it: {path / 'run.jsonl'}")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise RecordError(f"{path} is no regular file, so no run record can be kept there.")
    if path.exists() and path.stat().st_size and not _is_record(path):
        raise RecordError(f"{path} is no run record, and was left as it is. Name another file.")
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise RecordError(f"{path} cannot be written: {folder} is no folder one may write in.")


def _is_record(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(200).lstrip().startswith(b'{"kind":"header"')


def _is_finished(path: Path) -> bool:
    """Tell whether a record ends with its footer."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return b'{"kind":"footer"' in file.read()


class RunWriter:
    """Writes a run as it is made: every line is flushed, so a crash loses nothing paid for.

    Lines go to the file itself, or to one beside it, ``RUN.jsonl.part``, where a finished record
    is there already. When the record is closed, header, results and footer replace the file in
    one step. An unfinished record that a killed run left is kept as ``RUN.jsonl.unfinished``; one
    that another run is writing, or has written meanwhile, is left alone.

    Attributes:
        path: The record.
        stream: Where the lines go until then.
        head: The header; what is put in it before `close` is written with it.
        verdicts: What was decided, by evalset; written with the footer.
        kept: Where the unfinished record of an earlier run is now, or None.
    """

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path = path.resolve()
        self.head = head
        self.verdicts: dict[str, Any] = {}
        self._buildings: list[Building] = []
        self._results: dict[tuple[str, str, int], Result] = {}
        self._noted: set[str] = set()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.kept: Path | None = None
        if self.path.exists() and not _is_finished(self.path) and not is_locked(self.path):
            self.kept = self.path.rename(_free(self.path, "unfinished"))
        self._before = _identity(self.path)
        self.stream, self._file = _create(self.path)
        lock(self._file)
        self._line(head)

    def add(self, result: Result) -> None:
        """Append a result; a later one of the same case and repeat takes its place."""
        self._results[result.key] = result
        self._line(result.to_dict())

    def add_building(self, building: Building) -> None:
        """Append what the building of a pipeline took; the header will say it in the end."""
        self._buildings.append(building)
        self._line({"kind": "building", **building.to_dict()})

    def note(self, evalset: str, facts: Mapping[str, Any]) -> None:
        """Write what the header will say of an evalset, for whoever reads a run that was killed."""
        if evalset not in self._noted:
            self._noted.add(evalset)
            self._line({"kind": "evalset", "name": evalset, "facts": facts})

    def close(self, *, complete: bool, cut_short: bool = False) -> Path:
        """Write the footer, put everything in its place and return where that is.

        Args:
            complete: Whether everything that was declared was run.
            cut_short: True after an interrupt or ``-x``: a record that was there is then left
                as it is, and this one stays beside it.
        """
        results = self._results.values()
        foot = records.footer(
            results, complete=complete, verdicts=self.verdicts, cut_short=cut_short
        )
        if self._buildings:
            self.head["buildings"] = [building.to_dict() for building in self._buildings]
        text = records.text_of(self.head, results, foot)
        with self._file:
            target = self._target(cut_short=cut_short)
            write_atomically(target, text)
        if target == self.path != self.stream:
            self.stream.unlink(missing_ok=True)
        return target

    def _target(self, *, cut_short: bool) -> Path:
        found = _identity(self.path)
        if self.stream != self.path:
            return self.stream if cut_short or found != self._before else self.path
        own = found is not None and found[0] == os.fstat(self._file.fileno()).st_ino
        return self.path if own else _free(self.path, "part")

    def _line(self, line: Mapping[str, Any]) -> None:
        self._file.write(records.dumps(line) + "\n")
        self._file.flush()


def told_of(writer: RunWriter, written: Path) -> str:
    """Return where a record is, and what of an earlier run was kept, for the terminal."""
    notes = []
    if written != writer.path:
        notes.append(f"{writer.path} holds another run and was left as it is")
    if writer.kept is not None:
        notes.append(f"the unfinished one that was there is {writer.kept}")
    return "; ".join([str(written), *notes])


def _create(path: Path) -> tuple[Path, IO[str]]:
    """Open the record itself where nothing is there, else a new file beside it."""
    while True:
        wanted = path if not path.exists() else _free(path, "part")
        with contextlib.suppress(FileExistsError):
            return wanted, wanted.open("x", encoding="utf-8", newline="\n")


def _free(path: Path, suffix: str) -> Path:
    """Return the first name of ``RUN.jsonl.part``, ``RUN.jsonl.part2``, … that is not taken."""
    names = (f"{path.name}.{suffix}{n if n > 1 else ''}" for n in count(1))
    return next(p for p in map(path.with_name, names) if not p.exists())


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells one file of a name from the next; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
