"""``cases_from``: cases streamed from files and datasets, a bounded piece at a time."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import MissingExtraError
from pytest_rag.evalset import lines, tables
from pytest_rag.evalset.lines import MAX_LINE
from pytest_rag.evalset.model import CaseModel
from pytest_rag.evalset.problems import Problems, Source, show
from pytest_rag.registry import did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_rag.evalset.build import Builder
    from pytest_rag.evalset.lines import Row
    from pytest_rag.evalset.model import BulkModel
    from pytest_rag.evalset.problems import Loc

__all__ = ["MAX_LINE", "made_id", "read_bulk"]

_KEYS = tuple(CaseModel.model_fields)
_UNREAD = "meta"
_HASH = 8


def read_bulk(bulk: BulkModel, builder: Builder, source: Source, loc: Loc) -> None:
    """Add the cases of one file or dataset to ``builder``; problems carry its lines or rows.

    Args:
        bulk: The keys below ``cases_from``.
        builder: Receives the rows.
        source: The evalset's file.
        loc: Where ``bulk`` stands in it.
    """
    _known_fields(bulk, source, (*loc, "map"))
    key = "dataset" if bulk.dataset else "path"
    path = source.problems.path.parent / (bulk.dataset or bulk.path)
    try:
        found = _table_of(bulk, path)
        if isinstance(found, str):
            source.report(found, (*loc, key))
        else:
            _read(found, bulk, builder, source.problems.of(found.path))
    except OSError as error:
        why = error.strerror or str(error)
        source.report(f"Cannot read {show(str(path))}: {why}.", (*loc, key))
    except (tables.TableError, MissingExtraError) as error:
        said = str(error)
        source.report(said if said.endswith((".", "?")) else f"{said}.", (*loc, key))


def _known_fields(bulk: BulkModel, source: Source, loc: Loc) -> None:
    for key in bulk.map:
        if key not in _KEYS:
            message = f"Unknown key {show(key)} in 'map'.{did_you_mean(key, _KEYS)}"
            hint = " It maps our key to the file's column: {query: question}."
            source.report(message + hint, (*loc, key), key=True)


# --- which columns ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which column of a file is which of our keys."""

    fields: Mapping[str, tuple[str, ...]]
    ignored: frozenset[str]
    names: Mapping[str, str]
    dotted: tuple[str, ...]
    roots: frozenset[str]
    foreign: bool

    @classmethod
    def of(cls, bulk: BulkModel) -> _Columns:
        fields = {key: (key,) for key in _KEYS if key not in bulk.map}
        for key, column in bulk.map.items():
            fields[column] = (*fields.get(column, ()), key)
        ignored = frozenset({*bulk.ignore, _UNREAD}) - fields.keys()
        dotted = tuple(column for column in fields if "." in column)
        roots = frozenset(map(_root, dotted))
        return cls(fields, ignored, bulk.map, dotted, roots, bool(bulk.dataset))

    def case(self, row: Row, report: Callable[[str], None]) -> Row:
        """Return ``row`` under our keys; a column without a value is a key that is not given."""
        case: Row = {}
        for column, value in row.items():
            keys = self.fields.get(column)
            if keys is None:
                self._check(column, report)
            elif value is not None and value != "":
                for key in keys:
                    case[key] = value
        for column in self.dotted:
            value = None if column in row else _inside(row, column)
            if value is not None and value != "":
                case.update(dict.fromkeys(self.fields[column], value))
        return case

    def needed(self, there: Sequence[str], report: Callable[[str], None]) -> list[str]:
        """Return the columns of a table that are read; one that nobody expects is reported."""
        for column in there:
            self._check(column, report)
        lacking = [c for c in self.names.values() if c not in there and _root(c) not in there]
        for column in lacking:
            hint = did_you_mean(column, there) or f" It has {', '.join(map(repr, there))}."
            report(f"There is no column {show(column)}, which 'map' names.{hint}")
        return [column for column in there if column in self.fields or column in self.roots]

    def _check(self, column: str, report: Callable[[str], None]) -> None:
        """Report an unknown column; in a dataset of others only one that looks like ours."""
        if column in self.fields or column in self.ignored or column in self.roots:
            return
        if not self.foreign or nearest(column, _KEYS) is not None:
            report(self._unknown(column))

    def _unknown(self, column: str) -> str:
        hint = did_you_mean(column, self.fields)
        ways = "Or map it (map: {query: …}), or leave it out (ignore: […])."
        return f"Unknown column {show(column)}.{hint} {ways}"


def _root(column: str) -> str:
    return column.partition(".")[0]


def _inside(row: Row, column: str) -> Any:
    """Return the value of ``column.field``, of each object where the column is a list of them."""
    value: Any = row
    for part in column.split("."):
        if isinstance(value, list):
            value = [each.get(part) for each in value if isinstance(each, dict)]
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


# --- where rows come from ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Rows with their numbers, and what a value in them means for one of our keys.

    Attributes:
        path: Of the file or folder, or a dataset's name, for problems.
        rows: Yields number and row.
        value: Returns a value as our key takes it.
        typed: Whether columns are known before the rows, which have no lines.
    """

    path: Path
    rows: Callable[[Problems, _Columns], Iterator[tuple[int, Row]]]
    value: Callable[[str, Any], Any]
    typed: bool = False


_LINES: dict[str, tuple[Any, Any]] = {
    ".jsonl": (lines.jsonl_rows, lines.json_value),
    ".ndjson": (lines.jsonl_rows, lines.json_value),
    ".csv": (lines.csv_rows, lines.csv_value),
}
_TYPED = {".parquet": tables.parquet_rows, ".arrow": tables.arrow_rows}
_KNOWN = ".jsonl, .ndjson, .json, .csv, .parquet and .arrow"


def _table_of(bulk: BulkModel, path: Path) -> _Table | str:
    """Return where rows come from, or a sentence that says why they cannot.

    Raises:
        OSError: if the file is not there.
    """
    if bulk.dataset and not path.exists():
        return _remote(bulk, path)
    if bulk.dataset and path.is_dir():
        return _folder(bulk, path)
    if path.is_dir():
        return f"{show(bulk.path)} is a folder. Write it as {{dataset: {bulk.path}}}."
    return _file(path, bulk.dataset or bulk.path)


def _file(path: Path, written: str) -> _Table | str:
    kind = path.suffix.lower()
    if kind not in (*_LINES, *_TYPED, ".json"):
        return f"{show(path.suffix or written)} is not supported. Files are {_KNOWN}."
    if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for its other end
        return f"{show(written)} is not a regular file."
    if kind in _TYPED:
        return _typed(path, partial(_TYPED[kind], path))
    if kind == ".json":
        read = partial(lines.json_rows, path)
        return _Table(path=path, rows=lambda found, _: read(found), value=tables.table_value)
    rows, value = _LINES[kind]
    return _Table(path=path, rows=lambda found, _: rows(path, found), value=value)


def _folder(bulk: BulkModel, path: Path) -> _Table:
    if tables.is_saved(path):
        return _typed(path, lambda needed: tables.saved_rows(path, needed, bulk.split))
    return _of_library(bulk, path, str(path), local=True)


def _remote(bulk: BulkModel, path: Path) -> _Table | str:
    from pytest_rag.evalset.hub import is_hub_name

    if not is_hub_name(bulk.dataset) or path.suffix.lower() in (*_LINES, *_TYPED, ".json"):
        return f"There is no file or folder {show(bulk.dataset)}, and no dataset is called so."
    return _of_library(bulk, path, bulk.dataset, local=False)


def _of_library(bulk: BulkModel, path: Path, name: str, *, local: bool) -> _Table:
    from pytest_rag.evalset.hub import library_rows

    return _typed(path, lambda needed: library_rows(bulk, name, needed, local=local))


def _typed(path: Path, read: Callable[[Any], Iterator[Row]]) -> _Table:
    """Return a table whose columns are looked at once, before its rows."""

    def rows(problems: Problems, columns: _Columns) -> Iterator[tuple[int, Row]]:
        before = len(problems.found)
        found = enumerate(read(lambda there: columns.needed(there, problems.add)), start=1)
        for number, row in found:
            if problems.full or (number == 1 and len(problems.found) > before):
                return  # with the wrong columns every row is wrong
            if not tables.too_long(row, problems, number):
                yield number, row

    return _Table(path=path, rows=rows, value=tables.table_value, typed=True)


# --- rows → cases -----------------------------------------------------------------------------


def _read(table: _Table, bulk: BulkModel, builder: Builder, problems: Problems) -> None:
    empty = True
    columns = _Columns.of(bulk)
    by_row = table.value is tables.table_value
    made: set[str] = set()
    for number, row in islice(table.rows(problems, columns), bulk.limit):
        empty = False
        source = Source(problems, line=number, owner="a row", columns=columns.names, is_row=by_row)
        raw = columns.case(row, _unheard if table.typed else source.report)
        case = {key: table.value(key, value) for key, value in raw.items()}
        if by_row:
            case = {key: value for key, value in case.items() if value is not None}
        if bulk.dataset and "id" not in raw and "id" not in bulk.map and "id" not in row:
            case["id"] = made_id(case.get("query"), made)
        builder.add(case, source)
        if problems.full:
            problems.add("Too much is wrong to read on.", number + 1)
            return
    if empty and not problems.found:
        problems.add("The file holds no case.", None if by_row else 1)


def _unheard(_message: str) -> None:
    """Say nothing of a row whose columns were looked at before."""


def made_id(query: object, taken: set[str]) -> str:
    """Return an id for a question without one: of its words, so that it stays when rows move.

    Args:
        query: The question.
        taken: Ids that were made so far; the new one is added.
    """
    digest = hashlib.sha256(str(query).encode("utf-8", "replace")).hexdigest()
    name = first = f"q-{digest[:_HASH]}"
    number = 1
    while name in taken:
        number += 1
        name = f"{first}-{number}"
    taken.add(name)
    return name
