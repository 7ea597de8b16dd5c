"""Rows of any table we can read, and lines of text, with errors that name file and line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.evalset import lines, tables
from pytest_rag.evalset.problems import Problems, show
from pytest_rag.exchange.model import ConvertError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_rag.evalset.lines import Row

__all__ = ["need", "rows", "text_lines", "texts"]


def rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield number and row of a JSONL, JSON, CSV, Parquet or Arrow file or a saved dataset.

    Raises:
        ConvertError: if it cannot be read, or is none of them.
    """
    problems = Problems(path)
    try:
        for number, row in _rows(path, problems):
            if problems.found:
                break
            yield number, row
    except OSError as error:
        raise ConvertError(f"Cannot read {show(str(path))}: {error.strerror or error}.") from error
    if problems.found:
        raise ConvertError(str(problems.found[0]))


def _rows(path: Path, problems: Problems) -> Iterator[tuple[int, Row]]:
    kind = path.suffix.lower()
    if path.is_dir():
        return enumerate(tables.saved_rows(path, list, ""), start=1)
    if kind in (".parquet", ".arrow"):
        read = tables.parquet_rows if kind == ".parquet" else tables.arrow_rows
        return enumerate(read(path, list), start=1)
    if kind == ".csv":
        return lines.csv_rows(path, problems)
    if kind == ".json":
        return lines.json_rows(path, problems)
    return lines.jsonl_rows(path, problems)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines of a UTF-8 file, without blank ones.

    Raises:
        ConvertError: if it cannot be read, or is no text.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline=None) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise ConvertError.at(path, number + 1, "This is not UTF-8 text.") from error
    except OSError as error:
        raise ConvertError(f"Cannot read {show(str(path))}: {error.strerror or error}.") from error


def need(row: Row, keys: tuple[str, ...], path: Path, number: int) -> str:
    """Return the text under the first of some keys that a row has.

    Raises:
        ConvertError: if it has none.
    """
    value = next((row[key] for key in keys if row.get(key) not in (None, "")), None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ConvertError.at(
            path, number, f"There is no text under {' or '.join(map(repr, keys))}."
        )
    return value


def texts(value: Any) -> list[str]:
    """Return a list of texts where a value is one, or a text that lists them as Python does."""
    if isinstance(value, str) and value[:1] == "[":
        import ast

        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return []
    if isinstance(value, str):
        return [value] if value else []
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
