"""Baseline ↔ ``baselines/NAME.json``, made to be reviewed: sorted, one case a line."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from pytest_rag.baseline.model import DIGITS, Baseline
from pytest_rag.baseline.shapes import check_case, check_counts, check_head
from pytest_rag.errors import BaselineError
from pytest_rag.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["SCHEMA_VERSION", "parse", "path_of", "read", "text_of", "write"]

SCHEMA_VERSION = 1
_SUFFIX = re.compile(r"\.rag\.ya?ml$")
_CONFLICT = re.compile(r"^(?:<{7}|\|{7}|={7}|>{7})(?: |$)", re.MULTILINE)
_CASE = re.compile(r'^    ("(?:[^"\\]|\\.)*"): (\{.*\}),?$')
_HEAD_KEYS = ("deterministic", "evalset", "fingerprint", "gate", "noise", "versions")
_ASKED = ("fingerprint", "gold")
_OWN_KEYS = frozenset({*_ASKED, "scores", "checks", "runs", "passed"})


def path_of(evalset_file: Path) -> Path:
    """Return where the baseline of an evalset's file lies: ``baselines/NAME.json`` beside it."""
    return evalset_file.parent / "baselines" / f"{_SUFFIX.sub('', evalset_file.name)}.json"


# --- writing ------------------------------------------------------------------------------------


def text_of(baseline: Baseline) -> str:
    """Return the file's text: keys sorted, one case a line, floats rounded, a last newline."""
    cases = ",\n".join(_lines(baseline))
    head = {name: getattr(baseline, name) for name in _HEAD_KEYS}
    rest = {**head, "schema_version": SCHEMA_VERSION}
    lines = [f"  {_json(key)}: {_json(value)}" for key, value in sorted(rest.items())]
    block = f'  "cases": {{\n{cases}\n  }}' if cases else '  "cases": {}'
    return "{\n" + ",\n".join([block, *lines]) + "\n}\n"


def _lines(baseline: Baseline) -> Iterator[str]:
    for place, case in enumerate(baseline.cases):
        told = {
            **baseline.detail(place),
            "passed": int(baseline.passed[place]),
            "runs": int(baseline.runs[place]),
            "scores": baseline.score(place),
        }
        yield f"    {_json(case)}: {_json(told)}"


def _json(value: Any) -> str:
    return _ENCODER.encode(_plain(value))


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    return {key: _plain(each) for key, each in value.items()} if isinstance(value, dict) else value


def write(path: Path, baseline: Baseline) -> bool:
    """Write a baseline in one step: a kill leaves the old file or the new one, whole.

    Returns:
        Whether anything changed.

    Raises:
        BaselineError: if it cannot be written; what was there is as it was.
    """
    text = text_of(baseline)
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        write_atomically(path, text)
    except OSError as error:
        why = error.strerror or error
        raise BaselineError(f"{path} could not be written, so nothing changed: {why}.") from error
    return True


# --- reading ------------------------------------------------------------------------------------


def read(path: Path) -> Baseline | None:
    """Read a baseline's file; None where there is none.

    Raises:
        BaselineError: if it cannot be used.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(f"{path} cannot be read: {error}") from error


def parse(text: str, where: str, mend: str | None = None) -> Baseline:
    """Read a baseline's text.

    Args:
        text: The file's content; any JSON layout will do, ours takes least memory.
        where: What to call it in messages.
        mend: What to do where it cannot be used; None for restoring the file.

    Raises:
        BaselineError: if it holds merge conflicts, is truncated, of a newer schema, or no baseline.
    """
    if _CONFLICT.search(text):
        raise BaselineError(
            f"{where} holds merge conflict markers. Take either side, run the cases, and accept "
            "what they measure: pytest --rag-update"
        )
    mend = mend or f"Restore it: git checkout -- {shlex.quote(where)}"
    columns = _Columns()
    try:
        head = columns.fill(text)
        version = head.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise BaselineError(_other_version(where, version))
        return columns.close(head)
    except json.JSONDecodeError as error:
        raise BaselineError(
            f"{where} is no JSON ({error}): it is truncated or was edited by hand. {mend}"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise BaselineError(f"{where} is no baseline: {error}. {mend}") from None


def _other_version(where: str, version: object) -> str:
    if version is None:
        return f"{where} is no baseline: it has no 'schema_version'."
    mend = "Upgrade: pip install -U pytest-rag" if _is_newer(version) else "Restore it from git."
    return f"{where} has schema_version {version!r}; this pytest-rag reads {SCHEMA_VERSION}. {mend}"


def _is_newer(version: object) -> bool:
    return isinstance(version, int) and version > SCHEMA_VERSION


def _loads(text: str) -> Any:
    """Read JSON without the NaN and infinities that Python would let pass as no value."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no score")


class _Columns:
    """Gathers cases, one at a time, so that no score stays a Python object."""

    def __init__(self) -> None:
        from array import array

        self.cases: list[str] = []
        self.scores: dict[str, array[float]] = {}
        self.runs = array("q")
        self.passed = array("q")
        self.texts: tuple[list[str], list[str], list[str]] = ([], [], [])
        self._known: dict[str, str] = {}

    def fill(self, text: str) -> dict[str, Any]:
        """Take in all cases and return what is said of the whole."""
        rest = []
        for line in text.split("\n"):
            found = _CASE.match(line)
            if found:
                self._add(json.loads(found[1]), _loads(found[2]))
            else:
                rest.append(line)
        # Of our own layout a baseline without cases is left; of any other, everything.
        head = _loads("\n".join(rest))
        if not isinstance(head, dict):
            raise TypeError("it is no mapping")
        cases = head.pop("cases", None)
        if not isinstance(cases, dict):
            raise TypeError("it has no mapping 'cases'")
        for case, told in cases.items():
            self._add(case, told)
        if len(set(self.cases)) < len(self.cases):
            raise ValueError("a case is in it twice")
        return head

    def _add(self, case: str, told: dict[str, Any]) -> None:
        check_case(case, told)
        row = len(self.cases)
        self.cases.append(case)
        for name, value in told["scores"].items():
            column = self.scores.get(name)
            if column is None or len(column) != row:
                column = self._column(name, row)
            column.append(value)
        self.runs.append(told["runs"])
        self.passed.append(told["passed"])
        rest = {key: value for key, value in told.items() if key not in _OWN_KEYS}
        parts = ({key: told[key] for key in _ASKED}, told["checks"], rest)
        for texts, part in zip(self.texts, parts, strict=True):
            text = _ENCODER.encode(part)
            texts.append(self._known.setdefault(text, text))

    def _column(self, name: str, row: int) -> Any:
        from array import array
        from math import nan

        column = self.scores.setdefault(name, array("d"))
        column.extend([nan] * (row - len(column)))
        return column

    def close(self, head: Mapping[str, Any]) -> Baseline:
        """Return the baseline, its cases sorted."""
        import numpy as np

        columns = {name: np.array(self._column(name, len(self.cases))) for name in self.scores}
        if not all(np.isfinite(c[~np.isnan(c)]).all() for c in columns.values()):
            raise ValueError("a score is not finite")
        check_head(head)
        check_counts(self.cases, self.runs, self.passed)
        asked, limits, seen = self.texts
        whole = Baseline(
            cases=self.cases,
            runs=np.array(self.runs),
            passed=np.array(self.passed),
            scores=columns,
            asked=asked,
            limits=limits,
            seen=seen,
            **head,
        )
        return whole.take(sorted(range(len(self.cases)), key=self.cases.__getitem__))
