"""Evalsets and run records written as datasets: a folder, Parquet, Arrow or JSON lines."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import UsageError
from pytest_rag.evalset.hub import library
from pytest_rag.evalset.tables import is_saved
from pytest_rag.exchange.features import CASE, RESULT, case_row, case_values, result_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_rag.records import Run
    from pytest_rag.types import EvalSet

__all__ = ["check_export", "export_evalset", "export_run"]

_FILES = (".parquet", ".arrow", ".jsonl")


def check_export(target: Path, *, force: bool) -> None:
    """Make sure that a dataset can go to a place, before anything is read for it.

    Raises:
        UsageError: if something is there, or its name ends in no format.
    """
    if target.suffix and target.suffix not in _FILES and not target.is_dir():
        known = ", ".join(_FILES)
        raise UsageError(f"{target} ends in no format of {known}; a folder has no ending.")
    if not (target.exists() or target.is_symlink()):
        return
    if not force:
        raise UsageError(f"{target} is there already. To replace it: --force")
    if target.is_dir() and not is_saved(target):
        raise UsageError(f"{target} is a folder that holds no dataset, and was left as it is.")


def export_evalset(evalset: EvalSet, target: Path) -> int:
    """Write the cases of an evalset, those nobody has reviewed among them; returns how many.

    Args:
        evalset: With defaults merged into its cases.
        target: A name `check_export` let pass.

    Raises:
        MissingExtraError: if `datasets` is not installed and needed.
        UsageError: if it cannot be written.
    """
    cases = (*evalset.cases, *evalset.drafts)
    if target.suffix == ".jsonl":  # as `cases_from` reads it
        _write(target, [case_values(case) for case in cases], None)
    else:
        _write(target, [case_row(case) for case in cases], CASE)
    return len(cases)


def export_run(run: Run, target: Path) -> int:
    """Write the results of a run; returns how many.

    Args:
        run: As it was recorded.
        target: A name `check_export` let pass.

    Raises:
        MissingExtraError: if `datasets` is not installed and needed.
        UsageError: if it cannot be written.
    """
    rows = [result_row(result, run.header) for result in run.results]
    _write(target, rows, RESULT)
    return len(rows)


def _write(target: Path, rows: Sequence[dict[str, Any]], columns: dict[str, Any] | None) -> None:
    """Write beside the target and move there in one step."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pytest-rag-") as folder:
            made = Path(folder) / target.name
            if target.suffix == ".jsonl" or columns is None:
                made.write_text("".join(_lines(rows)), encoding="utf-8")
            else:
                _save(made, rows, columns)
            if target.is_dir():
                target.replace(Path(folder) / "replaced")
            made.replace(target)
    except OSError as error:
        raise UsageError(f"Cannot write {target}: {error.strerror or error}.") from error


def _lines(rows: Iterable[dict[str, Any]]) -> Iterable[str]:
    return (json.dumps(row) + "\n" for row in rows)


def _save(made: Path, rows: Sequence[dict[str, Any]], columns: dict[str, Any]) -> None:
    with library() as datasets:
        _save_as(datasets, made, rows, columns)


def _save_as(
    datasets: Any, made: Path, rows: Sequence[dict[str, Any]], columns: dict[str, Any]
) -> None:
    features = datasets.Features({name: _feature(datasets, of) for name, of in columns.items()})
    table = {name: [_whole(row[name]) for row in rows] for name in columns}
    found = datasets.Dataset.from_dict(table, features=features)
    if made.suffix == ".parquet":
        found.to_parquet(str(made))
    elif made.suffix == ".arrow":
        with datasets.arrow_writer.ArrowWriter(path=str(made), features=features) as writer:
            writer.write_table(found.data.table)
            writer.finalize()
    else:
        found.save_to_disk(str(made))


def _feature(datasets: Any, kind: Any) -> Any:
    if isinstance(kind, list):
        return [_feature(datasets, kind[0])]
    if isinstance(kind, dict):
        return {name: _feature(datasets, of) for name, of in kind.items()}
    return datasets.Value(kind)


def _whole(value: Any) -> Any:
    """Return a value whose texts UTF-8 can hold: half of a surrogate pair is no character."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return {k: _whole(v) for k, v in value.items()} if isinstance(value, dict) else value
