"""What a recording has paid for, on disk at once, and merged into the cassette at the end."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from itertools import count
from typing import IO, TYPE_CHECKING

from pytest_rag.files import is_locked, lock
from pytest_rag.replay.cassette import Cassette, Entry, entry_id, head, lines_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Journal", "left_parts", "merge"]

Run = tuple[str, int]
"""A case and its repeat."""


class Journal:
    """Appends recorded calls to ``NAME.jsonl.PID.part`` as they come; safe in threads.

    Args:
        cassette: Where they go in the end.
        name: Of the evalset.
    """

    def __init__(self, cassette: Path, name: str) -> None:
        self._cassette = cassette
        self._name = name
        self._file: IO[str] | None = None
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> None:
        """Append a call."""
        self._line(entry.dumps())

    def note(self, what: str, run: Run) -> None:
        """Append that a run of a case is ``done``, or has ``failed``."""
        self._line(json.dumps({what: run}))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()

    def _line(self, line: str) -> None:
        with self._lock:
            if self._file is None:
                self._file = self._open()
            if not self._file.closed:  # else a thread that outlived the run
                self._file.write(line + "\n")
                self._file.flush()

    def _open(self) -> IO[str]:
        self._cassette.parent.mkdir(parents=True, exist_ok=True)
        for number in count():
            suffix = f".{os.getpid()}.part" if not number else f".{os.getpid()}-{number}.part"
            try:
                path = self._cassette.with_name(self._cassette.name + suffix)
                file = path.open("x", encoding="utf-8", newline="\n", errors="surrogatepass")
            except FileExistsError:
                continue
            lock(file)
            file.write(head(self._name) + "\n")
            return file
        raise AssertionError  # pragma: no cover - count() does not end


def left_parts(cassette: Path) -> list[Path]:
    """Return the journals of a cassette that nobody writes any more, the oldest first."""
    found = [p for p in cassette.parent.glob("*.part") if p.name.startswith(f"{cassette.name}.")]
    return sorted((p for p in found if not is_locked(p)), key=lambda p: p.stat().st_mtime_ns)


@dataclass(slots=True)
class _Recorded:
    entries: dict[object, Entry] = field(default_factory=dict)
    done: set[Run] = field(default_factory=set)
    failed: set[Run] = field(default_factory=set)


def merge(cassette: Path, name: str, *, since: float, complete: bool) -> int | None:
    """Merge what journals hold into the cassette, remove them, and return how many calls it has.

    A run of a case that was recorded to its end takes the place of what was there of it. What
    nobody asked for is dropped where the recording was complete and no case broke.

    Args:
        cassette: The file.
        name: Of the evalset.
        since: When this recording began, in seconds since the epoch; older journals are what
            killed recordings left.
        complete: Whether every case was run, as often as it says.

    Returns:
        None where nothing was recorded.

    Raises:
        RecordError: if the cassette or a journal cannot be read.
    """
    parts = left_parts(cassette)
    if not parts:
        return None
    older, now = _Recorded(), _Recorded()
    for part in parts:
        _read(part, now if part.stat().st_mtime >= since else older)
    known = Cassette(cassette)
    kept: dict[object, Entry] = {}
    if not complete or now.failed:
        kept = {entry_id(e): e for e in known.entries()}
        for recorded in (older, now):
            again = recorded.done - recorded.failed
            kept = {i: e for i, e in kept.items() if not e.case or (e.case, e.repeat) not in again}
            kept |= recorded.entries
    written = known.write(name, (kept | now.entries).values())
    for part in parts:
        part.unlink(missing_ok=True)
    return written


def _read(part: Path, into: _Recorded) -> None:
    for _, line in lines_of(part):
        if line.startswith((b'{"done"', b'{"failed"')):
            for what, (case, repeat) in json.loads(line).items():
                getattr(into, what).add((case, repeat))
    for entry in Cassette(part).entries():
        into.entries[entry_id(entry)] = entry
