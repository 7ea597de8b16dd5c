"""Rows of Parquet and Arrow files and of folders that ``save_to_disk`` wrote, a few at a time.

Only pyarrow is needed for them: it loads faster than ``datasets``, and asks no hub.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import UsageError
from pytest_rag.evalset.lines import LISTS, MAX_LINE, TEXTS, decoded, json_value
from pytest_rag.evalset.problems import show
from pytest_rag.extras import require
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_rag.evalset.lines import Row
    from pytest_rag.evalset.problems import Problems

    Needed = Callable[[Sequence[str]], list[str]]

__all__ = [
    "TableError",
    "arrow_rows",
    "batch_rows",
    "is_saved",
    "parquet_rows",
    "saved_rows",
    "split_of",
    "table_value",
]

_BATCH = 128
_WHOLE = frozenset({"repeat", "min_pass"})
_FLAGS = frozenset({"answerable", "reviewed"})
_JSON = frozenset({"filters", "checks", "evidence"})
_ID_KEYS = ("id", "document", "doc_id")


class TableError(UsageError):
    """A table that cannot be read, in one sentence."""


# --- files and folders ------------------------------------------------------------------------


def parquet_rows(path: Path, needed: Needed) -> Iterator[Row]:
    """Yield the rows of a Parquet file; columns that are not needed are not read.

    Args:
        path: Of the file.
        needed: Returns those of its columns that are read.

    Raises:
        TableError: if it is none.
        MissingExtraError: if pyarrow is not installed.
    """
    parquet = require("pyarrow.parquet", "datasets")
    with _told(path, "Parquet"), closing(parquet.ParquetFile(path)) as file:
        names = needed(file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=_BATCH, columns=names):
            yield from batch_rows(batch, names)


def arrow_rows(path: Path, needed: Needed) -> Iterator[Row]:
    """Yield the rows of an Arrow file, as a stream or for random access.

    Args:
        path: Of the file; it is mapped into memory, not read at once.
        needed: Returns those of its columns that are read.

    Raises:
        TableError: if it is none.
        MissingExtraError: if pyarrow is not installed.
    """
    arrow = require("pyarrow", "datasets")
    with _told(path, "Arrow"), arrow.memory_map(str(path)) as mapped:
        try:
            reader = arrow.ipc.open_stream(mapped)
            batches: Iterable[Any] = reader
        except arrow.ArrowInvalid:
            reader = arrow.ipc.open_file(mapped)
            batches = (reader.get_batch(n) for n in range(reader.num_record_batches))
        names = needed(reader.schema.names)
        for batch in batches:
            yield from batch_rows(batch, names)


def is_saved(folder: Path) -> bool:
    """Tell whether `datasets` wrote a folder with ``save_to_disk``."""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def saved_rows(folder: Path, needed: Needed, split: str) -> Iterator[Row]:
    """Yield the rows of a dataset that was saved to disk.

    Args:
        folder: Of one split, or of several.
        needed: Returns those of its columns that are read.
        split: Which; may be empty where there is one.

    Raises:
        TableError: if a file is missing or broken, or there is no such split.
        MissingExtraError: if pyarrow is not installed.
    """
    if (folder / "dataset_dict.json").is_file():
        known = _described(folder / "dataset_dict.json").get("splits") or ()
        folder = folder / _here(folder, split_of(split, [str(name) for name in known]))
    state = _described(folder / "state.json")
    own = state.get("_split")
    if split and folder.name != split:
        if own is None:
            raise TableError(f"{show(folder.name)} is one dataset without splits: leave out split.")
        split_of(split, [str(own)])
    for each in state.get("_data_files") or ():
        name = str(each.get("filename")) if isinstance(each, dict) else str(each)
        yield from arrow_rows(folder / _here(folder, name), needed)


def _here(folder: Path, name: str) -> str:
    if "/" in name or "\\" in name or name.startswith("."):
        raise TableError(f"{folder.name} names a file that lies elsewhere: {show(name)}.")
    return name


def split_of(wanted: str, known: Sequence[str]) -> str:
    """Return the split that is wanted; the only one where none is named.

    Raises:
        TableError: if there is none of this name, or several and no name.
    """
    listed = ", ".join(map(repr, known))
    if not wanted and len(known) == 1:
        return known[0]
    if not wanted:
        raise TableError(f"The dataset has the splits {listed}. Name one: split: {known[0]}.")
    if wanted not in known:
        hint = did_you_mean(wanted.partition("[")[0], known)
        first = " The first rows alone: limit: N." if "[" in wanted else ""
        raise TableError(f"There is no split {show(wanted)}; there is {listed}.{hint}{first}")
    return wanted


def _described(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MAX_LINE))
    except OSError as error:
        raise TableError(f"Cannot read {show(str(path))}: {error.strerror or error}.") from error
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TableError(f"{path} is not what save_to_disk writes.")
    return found


@contextmanager
def _told(path: Path, kind: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise TableError(f"{path.name} cannot be read as {kind}: {said}.") from error


# --- rows -------------------------------------------------------------------------------------


def batch_rows(batch: Any, names: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a record batch or table, the names of classes in place of their numbers."""
    batch = batch.select(names)
    classes = _class_names(batch.schema)
    for start in range(0, batch.num_rows, _BATCH):
        for row in batch.slice(start, _BATCH).to_pylist():
            for column, labels in classes.items():
                row[column] = _labelled(row[column], labels)
            yield row


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Return what `datasets` noted beside a table of the classes in its columns."""
    noted = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(noted)["info"]["features"] if noted else {}
        found = {
            name: feature["names"]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: labels for name, labels in found.items() if name in schema.names}


def _labelled(value: Any, labels: list[str]) -> Any:
    return labels[value] if isinstance(value, int) and 0 <= value < len(labels) else value


def table_value(key: str, value: Any) -> Any:
    """Return what a value of a table stands for under one of our keys; None for a missing one."""
    value = _plain(value)
    if key in TEXTS:
        value = value["text"] if isinstance(value, dict) and "text" in value else value
        value = list(dict.fromkeys(value)) if _is_texts(value) else value
    elif isinstance(value, str) and value[:1] in "[{" and key in LISTS | _JSON:
        value = _of_json(value)
    elif isinstance(value, str) and key in LISTS:
        value = [value]
    elif isinstance(value, str) and key in _FLAGS:
        value = {"true": True, "false": False}.get(value.casefold(), value)
    if key == "relevant":
        value = _graded(value)
    if key == "evidence":
        value = _quoted(value)
    if key in _WHOLE:
        return _whole(value)
    return json_value(key, _whole_all(value) if key in TEXTS | LISTS else value)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: without missing parts, times as texts."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {str(k): v for k, each in value.items() if (v := _plain(each)) is not None}
    if isinstance(value, list):
        if value and all(isinstance(each, tuple) and len(each) == 2 for each in value):
            return _plain(dict(value))  # Arrow's map
        return [v for each in value if (v := _plain(each)) is not None]
    if isinstance(value, dt.date | dt.time | dt.datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _of_json(text: str) -> Any:
    try:
        return decoded(text)
    except ValueError:
        return text


def _graded(value: Any) -> Any:
    """Return qrels as a mapping where they are a list of objects with an id and a grade."""
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        pairs = [(_named(each), each.get("grade", each.get("score", 1))) for each in value]
        return value if any(name is None for name, _ in pairs) else _graded(dict(pairs))
    if isinstance(value, dict):
        return {name: _whole(grade) for name, grade in value.items()}
    return value


def _quoted(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(e, dict) and "quote" in e for e in value):
        found: dict[str, list[str]] = {}
        for each in value:
            found.setdefault(str(_named(each)), []).append(each["quote"])
        return found
    return value


def _named(entry: dict[str, Any]) -> str | None:
    found = next((entry[key] for key in _ID_KEYS if key in entry), None)
    return None if found is None else str(found)


def _whole(value: Any) -> Any:
    """Return 3 for 3.0: a column of whole numbers with gaps is one of floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _whole_all(value: Any) -> Any:
    return [_whole(each) for each in value] if isinstance(value, list) else _whole(value)


def too_long(row: Row, problems: Problems, number: int) -> bool:
    """Report a text of a row that is longer than a line may be."""
    for column, value in row.items():
        if isinstance(value, str | bytes) and len(value) > MAX_LINE:
            problems.add(f"Row {number}: {show(column)} is longer than {MAX_LINE:,} characters.")
            return True
    return False
