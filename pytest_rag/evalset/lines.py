"""Rows of JSONL and CSV files, one bounded line at a time, and of bounded JSON files."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from pytest_rag.evalset.problems import first_twice, show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from pytest_rag.evalset.problems import Problems

__all__ = [
    "LISTS",
    "MAX_JSON",
    "MAX_LINE",
    "TEXTS",
    "Row",
    "csv_rows",
    "csv_value",
    "decoded",
    "json_rows",
    "json_value",
    "jsonl_rows",
]

MAX_LINE = 1 << 20
MAX_JSON = 64 << 20

TEXTS = frozenset({"id", "query", "answer"})
LISTS = frozenset({"relevant", "forbidden", "tags"})

Row = dict[str, Any]


class _RowError(ValueError):
    """One sentence about a line."""


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


def jsonl_rows(path: Path, problems: Problems) -> Iterator[tuple[int, Row]]:
    """Yield line and row of a JSONL file.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        yield from _jsonl(file, problems)


def _jsonl(file: BinaryIO, problems: Problems) -> Iterator[tuple[int, Row]]:
    for number, line in _lines(file, problems):
        if line.strip():
            try:
                yield number, _object(line)
            except json.JSONDecodeError as error:
                problems.add(
                    f"This is not valid JSON: {error.msg.removesuffix(' at')}.", number, error.colno
                )
            except _RowError as error:
                problems.add(str(error), number)
        if problems.full:
            return


def _object(line: str) -> Row:
    row = decoded(line)
    if not isinstance(row, dict):
        raise _RowError(f"A line must be an object, not {show(row)}.")
    return row


def decoded(text: str) -> Any:
    """Return the value of strict JSON: no key twice, finite numbers.

    Raises:
        ValueError: if it is none, or a `_RowError` with a sentence.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise _RowError("The line is nested too deeply.") from None
    except (json.JSONDecodeError, _RowError):
        raise
    except ValueError:
        raise _RowError("The line holds a number that is too large.") from None


def json_rows(path: Path, problems: Problems) -> Iterator[tuple[int, Row]]:
    """Yield number and row of a JSON file: a list of objects, an object that holds one, or lines.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_JSON + 1)
    if len(data) > MAX_JSON:
        problems.add(f"The file is larger than {MAX_JSON >> 20} MiB. Write it as JSONL.")
        return
    try:
        found = decoded(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        bad = show(data[error.start : error.start + 1])
        problems.add(f"Byte {bad} is not UTF-8. Save the file as UTF-8.")
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # JSON lines under another name
            yield from jsonl_rows(path, problems)
        else:
            problems.add(
                f"This is not valid JSON: {error.msg.removesuffix(' at')}.",
                error.lineno,
                error.colno,
            )
    except _RowError as error:
        problems.add(str(error))
    else:
        yield from _objects(found, problems)


def _objects(found: Any, problems: Problems) -> Iterator[tuple[int, Row]]:
    lists = [each for each in found.values() if _is_rows(each)] if isinstance(found, dict) else []
    rows = lists[0] if len(lists) == 1 else found if isinstance(found, list) else [found]
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield number, row
        else:
            problems.add(f"Row {number}: a row must be an object, not {show(row)}.")
        if problems.full:
            return


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


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


def json_value(key: str, value: Any) -> Any:
    """Return ids and texts as texts: JSON's ``184`` is the document ``"184"``."""
    if key in TEXTS or key in LISTS:
        if isinstance(value, list):
            return [_text(item) for item in value]
        return _text(value)
    return value


def _text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (int, float)) else value


# --- CSV --------------------------------------------------------------------------------------


def csv_rows(path: Path, problems: Problems) -> Iterator[tuple[int, Row]]:
    """Yield line and row of a CSV file whose first row names the columns.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        yield from _csv(file, problems)


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


def csv_value(key: str, text: str) -> Any:
    """Return what a CSV cell stands for: JSON, ids between semicolons, or text."""
    text = text.strip()
    if key in TEXTS or not text:
        return text
    if key in LISTS and text[0] not in "[{":
        return [part.strip() for part in text.split(";") if part.strip()]
    try:
        return decoded(text.lower() if key in ("answerable", "reviewed") else text)
    except ValueError:
        return text
