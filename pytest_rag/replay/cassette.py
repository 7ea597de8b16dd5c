"""Recorded calls in a file: one a line, sorted, found by their request without reading them all."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import RecordError
from pytest_rag.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["SCHEMA_VERSION", "Cassette", "Entry", "Place", "cassette_path", "head", "lines_of"]

SCHEMA_VERSION = 1
_START = b'{"key":"'
_KEY = slice(len(_START), len(_START) + 32)
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ESCAPED = json.JSONEncoder(allow_nan=False, separators=(",", ":"))

Place = tuple[str, int, int]
"""The case that asked (empty where the pipeline was built), its repeat, and which of several
identical requests of that run it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One recorded call.

    Attributes:
        key: Of the request.
        case: That asked; empty for calls made while the pipeline was built, and for embeddings,
            which are the same whoever asks.
        repeat: Of the case.
        nth: Which of several identical requests of one run it was, from 0.
        kind: Of call.
        model: Its name.
        request: As plain JSON values.
        response: Likewise; a vector is a text.
        usage: Tokens by name.
        latency_ms: From request to the last token.
    """

    key: str
    case: str = ""
    repeat: int = 0
    nth: int = 0
    kind: str
    model: str
    request: Mapping[str, Any]
    response: Any
    usage: Mapping[str, int]
    latency_ms: float

    @property
    def place(self) -> Place:
        """Who asked, when."""
        return self.case, self.repeat, self.nth

    def dumps(self) -> str:
        """Return the entry as its line, the key in front."""
        told = {name: getattr(self, name) for name in self.__slots__}
        text = _JSON.encode(told)
        return text if text.isascii() or _encodes(text) else _ESCAPED.encode(told)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def cassette_path(evalset: Path, name: str) -> Path:
    """Return where the cassette of an evalset lies: beside its file."""
    safe = re.sub(r"[^\w.-]+", "_", name)
    return evalset.parent / "cassettes" / f"{safe}.jsonl"


def head(name: str) -> str:
    """Return the first line of a cassette."""
    return _JSON.encode({"cassette": name, "schema_version": SCHEMA_VERSION})


class Cassette:
    """Recorded calls by the key of their request.

    Args:
        path: The file; where there is none, the cassette is empty.
        parts: Journals of recordings that were cut short; what is in them counts as well.

    Raises:
        RecordError: if a file is no cassette, is broken, or of a newer pytest-rag.
    """

    def __init__(self, path: Path, parts: Iterable[Path] = ()) -> None:
        self.path = path
        self._lines: list[tuple[Path, int, bytes]] = []
        self._by_key: dict[bytes, list[int]] = defaultdict(list)
        self._groups: dict[bytes, dict[Place, Entry]] = {}
        for each in (path, *parts):
            self._index(each)

    def __len__(self) -> int:
        return len(self._lines)

    def _index(self, path: Path) -> None:
        for number, line in lines_of(path):
            key = line[_KEY] if line.startswith(_START) else _key_of(path, number, line)
            if key is not None:
                self._by_key[key].append(len(self._lines))
                self._lines.append((path, number, line))

    def group(self, key: str) -> Mapping[Place, Entry]:
        """Return everything recorded of one request, by who asked."""
        coded = key.encode()
        if coded not in self._groups:
            found = (_entry(*self._lines[n]) for n in self._by_key.get(coded, ()))
            self._groups[coded] = {entry.place: entry for entry in found}
        return self._groups[coded]

    def find(self, key: str, place: Place) -> Entry | None:
        """Return what was recorded of a request, or None.

        An answer recorded for the case itself comes first; one of another case serves where this
        case has none, as when a case is new or a pipeline is built while one is asked. A repeat
        that was not recorded has no answer.
        """
        group = self.group(key)
        if place in group or not group:
            return group.get(place)
        case, repeat, nth = place
        if any(asked == case for asked, _, _ in group):
            return None
        others = sorted(p for p in group if p[2] == nth)
        return next((group[p] for p in others if p[1] == repeat), None) or (
            group[others[0]] if others else None
        )

    def any(self, key: str) -> Entry | None:
        """Return an answer to a request that is the same whoever asks, or None."""
        return next(iter(self.group(key).values()), None)

    def entries(self) -> Iterator[Entry]:
        """Yield every entry; of one that was recorded again, the last."""
        last = {entry_id(e): e for e in (_entry(*line) for line in self._lines)}
        yield from last.values()

    def alike(self, kind: str, case: str, limit: int) -> list[Entry]:
        """Return entries of a kind, those of a case in front; for messages, not for answers."""
        sign = _JSON.encode(kind).encode()
        own = _JSON.encode(case).encode()
        lines = [line for line in self._lines if b'"kind":' + sign in line[2]]
        lines.sort(key=lambda line: b'"case":' + own not in line[2])
        return [_entry(*line) for line in lines[:limit]]

    def write(self, name: str, entries: Iterable[Entry]) -> int:
        """Replace the file by these entries, sorted, in one step; return how many they are."""
        ordered = sorted(entries, key=lambda e: (e.case, e.repeat, e.kind, e.key, e.nth))
        write_atomically(self.path, "\n".join([head(name), *(e.dumps() for e in ordered), ""]))
        return len(ordered)


def entry_id(entry: Entry) -> tuple[str, Place]:
    """Return what two recordings of the same call have in common."""
    return entry.key, entry.place


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the numbered lines of a cassette or journal behind its head; none where it is missing.

    Raises:
        RecordError: if it is no cassette, or of a newer pytest-rag.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not any(lines):
        return
    _check_head(path, lines[0])
    last = len(lines)
    for number, line in enumerate(lines[1:], 2):
        if line and (number < last or line.endswith(b"}")):  # a kill may tear the last one
            yield number, line


def _check_head(path: Path, line: bytes) -> None:
    try:
        version = json.loads(line)["schema_version"]
    except (ValueError, TypeError, KeyError):
        raise RecordError(
            f"{path} is no cassette: its first line has no schema_version. Delete it, and record "
            "it again."
        ) from None
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"{path} has schema_version {version!r}; this pytest-rag reads {SCHEMA_VERSION}. "
            "Upgrade: pip install -U pytest-rag"
        )


def _key_of(path: Path, number: int, line: bytes) -> bytes | None:
    """Return the key of a line that was formatted by hand; None for a journal's note."""
    value = _parsed(path, number, line)
    if "key" not in value and ("done" in value or "failed" in value):
        return None
    return str(value.get("key")).encode()


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        hint = " A merge left its conflict there." if line[:7] in _CONFLICT else ""
        raise RecordError(f"{path}:{number}: this line is no recorded call.{hint}")
    return value


_CONFLICT = (b"<<<<<<<", b"=======", b">>>>>>>")


def _entry(path: Path, number: int, line: bytes) -> Entry:
    value = _parsed(path, number, line)
    try:
        return Entry(**value)
    except TypeError as error:
        text = str(error).replace("Entry.__init__() ", "")
        raise RecordError(f"{path}:{number}: this line is no recorded call: {text}.") from None
