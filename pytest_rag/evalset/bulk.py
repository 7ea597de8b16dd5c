"""``cases_from``: cases streamed from JSONL and CSV files, one bounded line at a time."""

from __future__ import annotations

import csv
import json
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.evalset.model import CaseModel
from pytest_rag.evalset.problems import Problems, Source, first_twice, show
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

    from pytest_rag.evalset.build import Builder
    from pytest_rag.evalset.model import BulkModel

__all__ = ["MAX_LINE", "read_bulk"]

MAX_LINE = 1 << 20

_KEYS = tuple(CaseModel.model_fields)
_TEXTS = frozenset({"id", "query", "answer"})
_LISTS = frozenset({"relevant", "forbidden", "tags"})
_UNREAD = "meta"

Row = dict[str, Any]


class _RowError(Exception):
    """One sentence about a line."""


def read_bulk(
    bulk: BulkModel, builder: Builder, source: Source, loc: tuple[int | str, ...]
) -> None:
    """Add the cases of one file to ``builder``; problems carry that file's own lines.

    Args:
        bulk: The keys below ``cases_from``.
        builder: Receives the rows.
        source: The evalset's file.
        loc: Where ``bulk`` stands in it.
    """
    _known_fields(bulk, source, (*loc, "map"))
    path = source.problems.path.parent / bulk.path
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        kind = show(path.suffix or bulk.path)
        source.report(f"{kind} is not supported yet. Use JSONL or CSV.", (*loc, "path"))
        return
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for its other end
            source.report(f"{show(bulk.path)} is not a regular file.", (*loc, "path"))
            return
        with path.open("rb") as file:
            _read(file, form, _Columns.of(bulk), builder, source.problems.of(path))
    except OSError as error:
        why = error.strerror or str(error)
        source.report(f"Cannot read {show(str(path))}: {why}.", (*loc, "path"))


def _known_fields(bulk: BulkModel, source: Source, loc: tuple[int | str, ...]) -> None:
    for key in bulk.map:
        if key not in _KEYS:
            message = f"Unknown key {show(key)} in 'map'.{did_you_mean(key, _KEYS)}"
            hint = " It maps our key to the file's column: {query: question}."
            source.report(message + hint, (*loc, key), key=True)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which column of a file is which of our keys."""

    fields: Mapping[str, tuple[str, ...]]
    ignored: frozenset[str]
    names: Mapping[str, str]

    @classmethod
    def of(cls, bulk: BulkModel) -> _Columns:
        fields = {key: (key,) for key in _KEYS if key not in bulk.map}
        for key, column in bulk.map.items():
            fields[column] = (*fields.get(column, ()), key)
        return cls(fields, frozenset({*bulk.ignore, _UNREAD}) - fields.keys(), bulk.map)

    def case(self, row: Row, report: Callable[[str], None]) -> Row:
        """Return ``row`` under our keys; a column without a value is a key that is not given."""
        case: Row = {}
        for column, value in row.items():
            for key in self.fields.get(column, ()):
                if value is not None and value != "":
                    case[key] = value
            if column not in self.fields and column not in self.ignored:
                report(self._unknown(column))
        return case

    def _unknown(self, column: str) -> str:
        hint = did_you_mean(column, self.fields)
        ways = "Or map it (map: {query: …}), or leave it out (ignore: […])."
        return f"Unknown column {show(column)}.{hint} {ways}"


def _read(
    file: BinaryIO,
    form: _Form,
    columns: _Columns,
    builder: Builder,
    problems: Problems,
) -> None:
    empty = True
    for line, row in form.rows(file, problems):
        empty = False
        source = Source(problems, line=line, owner="a row", columns=columns.names)
        raw = columns.case(row, source.report)
        builder.add({key: form.value(key, value) for key, value in raw.items()}, source)
        if problems.full:
            problems.add("Too much is wrong to read on.", line + 1)
            return
    if empty and not problems.found:
        problems.add("The file holds no case.", 1)


# --- lines ------------------------------------------------------------------------------------


def _lines(file: BinaryIO, problems: Problems) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line that is UTF-8; stops at one that is too long."""
    number = 0
    while data := file.readline(MAX_LINE + 1):
        number += 1
        if len(data) > MAX_LINE:
            problems.add(f"The line is longer than {MAX_LINE:,} bytes.", number)
            return
        try:
            yield number, data.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            bad = show(data[error.start : error.start + 1])
            column = len(data[: error.start].decode("utf-8", "replace")) + 1
            problems.add(f"Byte {bad} is not UTF-8. Save the file as UTF-8.", number, column)
            if problems.full:
                return


# --- JSONL ------------------------------------------------------------------------------------


def _jsonl(file: BinaryIO, problems: Problems) -> Iterator[tuple[int, Row]]:
    for number, line in _lines(file, problems):
        if line.strip():
            try:
                yield number, _object(line)
            except json.JSONDecodeError as error:
                problems.add(f"This is not valid JSON: {error.msg}.", number, error.colno)
            except _RowError as error:
                problems.add(str(error), number)
        if problems.full:
            return


def _object(line: str) -> Row:
    try:
        row = _DECODER.decode(line)
    except RecursionError:
        raise _RowError("The line is nested too deeply.") from None
    except json.JSONDecodeError:
        raise
    except ValueError:
        raise _RowError("The line holds a number that is too large.") from None
    if not isinstance(row, dict):
        raise _RowError(f"A line must be an object, not {show(row)}.")
    return row


def _no_duplicates(pairs: list[tuple[str, Any]]) -> Row:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = first_twice(name for name, _ in pairs)
        raise _RowError(f"Key {show(twice)} is given twice. Remove one.")
    return found


def _no_constant(name: str) -> Any:
    raise _RowError(f"{name} is not a finite number. Write a number, null or a text.")


def _finite(text: str) -> float:
    value = float(text)
    return value if abs(value) != float("inf") else _no_constant(show(text))


_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite
)


def _json_value(key: str, value: Any) -> Any:
    """Return ids and texts as texts: JSON's ``184`` is the document ``"184"``."""
    if key in _TEXTS or key in _LISTS:
        if isinstance(value, list):
            return [_text(item) for item in value]
        return _text(value)
    return value


def _text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (int, float)) else value


# --- CSV --------------------------------------------------------------------------------------


def _csv(file: BinaryIO, problems: Problems) -> Iterator[tuple[int, Row]]:
    rows = csv.reader((line for _, line in _lines(file, problems)), strict=True)
    header: list[str] = []
    start = 1
    try:
        for cells in rows:
            if not header:
                header = _header(cells)
            elif cells:
                yield from _row(header, cells, problems, start)
            start = rows.line_num + 1
            if problems.full:
                return
    except csv.Error as error:
        problems.add(f"This is not valid CSV: {error}.", start)
    except _RowError as error:
        problems.add(str(error), start)


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = first_twice(names)
    if twice is not None:
        raise _RowError(f"Column {show(twice)} stands twice in the header.")
    if "" in names:
        raise _RowError(f"Column {names.index('') + 1} has no name in the header.")
    return names


def _row(
    header: list[str], cells: list[str], problems: Problems, line: int
) -> Iterator[tuple[int, Row]]:
    if len(cells) != len(header):
        message = f"The row has {len(cells)} cells, the header {len(header)}."
        problems.add(f"{message} Put a cell that holds a comma in double quotes.", line)
    else:
        yield line, dict(zip(header, cells, strict=True))


def _csv_value(key: str, text: str) -> Any:
    """Return what a CSV cell stands for: JSON, ids between semicolons, or text."""
    text = text.strip()
    if key in _TEXTS or not text:
        return text
    if key in _LISTS and text[0] not in "[{":
        return [part.strip() for part in text.split(";") if part.strip()]
    try:
        return _DECODER.decode(text.lower() if key == "answerable" else text)
    except (ValueError, RecursionError):
        return text


@dataclass(frozen=True, slots=True)
class _Form:
    """How a kind of file yields rows, and what a value in it means for one of our keys."""

    rows: Callable[[BinaryIO, Problems], Iterator[tuple[int, Row]]]
    value: Callable[[str, Any], Any]


_FORMS = {
    ".jsonl": _Form(_jsonl, _json_value),
    ".ndjson": _Form(_jsonl, _json_value),
    ".csv": _Form(_csv, _csv_value),
}
