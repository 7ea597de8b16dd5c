"""A JSONL file of answers that people judged → rows, read strictly, each problem with its line."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import CalibrationError
from pytest_rag.evalset.lines import jsonl_rows
from pytest_rag.evalset.problems import Problems, show
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["FIELDS", "Judged", "Label", "read"]

Label = bool | int | float | str
"""What a person said of an answer."""

FIELDS: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "query", "user_input", "prompt"),
    "answer": ("answer", "response", "output", "prediction"),
    "label": ("human", "label", "labels", "rating"),
    "annotators": ("annotators",),
    "references": ("references", "reference", "reference_answer", "ground_truth", "expected"),
    "contexts": ("contexts", "contexts_text", "retrieved_contexts", "retrieved", "context"),
}
"""What a row tells, and the keys it is looked for under where nothing is mapped."""

_REQUIRED = ("question", "answer", "label")
_TEXT = "text"
_MOST = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One answer and what people said of it.

    Attributes:
        line: 1-based line in the file.
        question: That was asked.
        answer: That was judged.
        label: What was agreed on; None where only the annotators are told, or nobody said.
        annotators: What each of them said.
        references: Answers that are right.
        contexts: Texts the answer rests on, each with its id; None where they are not told.
    """

    line: int
    question: str
    answer: str
    label: Label | None = None
    annotators: tuple[Label, ...] = ()
    references: tuple[str, ...] = ()
    contexts: tuple[tuple[str, str], ...] | None = None

    @property
    def labelled(self) -> bool:
        """Whether anybody said anything."""
        return self.label is not None or bool(self.annotators)


def read(path: Path, fields: Mapping[str, str] | None = None) -> list[Judged]:
    """Read the rows of a file.

    Args:
        path: JSON lines; keys that are not asked for are left alone.
        fields: Which key of a row is which of `FIELDS`; dots lead into objects.

    Raises:
        CalibrationError: if the file cannot be read, or a field is unknown.
        EvalSetError: with every problem of the rows.
    """
    given = dict(fields or {})
    for name in given.keys() - FIELDS.keys():
        raise CalibrationError(f"--map knows no {name!r}.{did_you_mean(name, FIELDS)}")
    problems = Problems(path)
    rows = []
    seen: set[str] = set()
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CalibrationError(f"{path} is not a regular file.")
        for line, raw in jsonl_rows(path, problems):
            seen |= raw.keys()
            row = _Row(raw, given, line, problems).judged()
            rows += [] if row is None else [row]
            if problems.full:
                break
    except OSError as error:
        raise CalibrationError(f"Cannot read {path}: {error.strerror or error}.") from error
    if not rows and not problems.found:
        raise CalibrationError(f"{path} holds no row.")
    if problems.found:
        problems.throw()
    _need_mapped(path, given, seen)
    return rows


def _need_mapped(path: Path, given: Mapping[str, str], seen: set[str]) -> None:
    """Refuse a key that no row has: it is misspelt, and would be missed without a word."""
    for name, key in given.items():
        first = key.partition(".")[0]
        if key not in seen and first not in seen:
            hint = did_you_mean(first, seen)
            raise CalibrationError(f"--map {name}={key}: no row of {path} has {first!r}.{hint}")


class _Row:
    """One line, and where what is wrong in it is reported."""

    def __init__(
        self, raw: Mapping[str, Any], given: Mapping[str, str], line: int, problems: Problems
    ) -> None:
        self._raw = raw
        self._given = given
        self._line = line
        self._problems = problems
        self._good = True

    def judged(self) -> Judged | None:
        """Return what the row tells, or None where something is wrong."""
        label, annotators = self._labels()
        made = Judged(
            line=self._line,
            question=self._text("question"),
            answer=self._text("answer", empty=True),
            label=label,
            annotators=annotators,
            references=self._texts("references"),
            contexts=self._contexts(),
        )
        return made if self._good else None

    def _report(self, message: str) -> None:
        self._good = False
        self._problems.add(message, self._line)

    def _found(self, name: str) -> tuple[str, Any]:
        """Return the key a field stands under, and its value; None where there is none."""
        if name in self._given:
            return self._given[name], _dig(self._raw, self._given[name])
        key = next((key for key in FIELDS[name] if key in self._raw), None)
        if key is None and name in _REQUIRED:
            self._report(
                f"There is no {name!r}: a row has {', '.join(map(repr, FIELDS[name]))}, or say "
                f"which key it is: --map {name}=KEY. {_has(self._raw)}"
            )
        return key or name, None if key is None else self._raw[key]

    def _text(self, name: str, *, empty: bool = False) -> str:
        key, value = self._found(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if self._good and (not isinstance(value, str) or not (empty or value.strip())):
            self._report(f"{key!r} must be a text, not {show(value)}.")
        return value if isinstance(value, str) else ""

    def _texts(self, name: str) -> tuple[str, ...]:
        key, value = self._found(name)
        if value is None:
            return ()
        found = value if isinstance(value, list) else [value]
        texts = [
            str(x) if isinstance(x, int | float) and not isinstance(x, bool) else x for x in found
        ]
        if not all(isinstance(text, str) for text in texts):
            self._report(f"{key!r} must be a text or a list of texts, not {show(value)}.")
            return ()
        return tuple(texts)

    def _contexts(self) -> tuple[tuple[str, str], ...] | None:
        key, value = self._found("contexts")
        if value is None:
            return None
        found = value if isinstance(value, list) else [value]
        texts = []
        for number, each in enumerate(found, 1):
            if isinstance(each, str):
                texts.append((str(number), each))
            elif isinstance(each, Mapping) and isinstance(each.get(_TEXT), str):
                texts.append((str(each.get("id", number)), each[_TEXT]))
            else:
                self._report(f"{key!r} must be texts, or objects with a 'text', not {show(each)}.")
                return None
        return tuple(texts)

    # --- labels ---

    def _labels(self) -> tuple[Label | None, tuple[Label, ...]]:
        key, value = self._found("label")
        annotators = (
            _dig(self._raw, self._given["annotators"]) if "annotators" in self._given else None
        )
        if isinstance(value, Mapping):
            value, annotators = self._of_object(key, value, annotators)
        elif isinstance(value, list):
            value, annotators = None, value
        elif annotators is None:
            annotators = self._raw.get("annotators")
        return self._label(key, value), self._of_annotators(key, annotators)

    def _of_object(self, key: str, value: Mapping[str, Any], annotators: Any) -> tuple[Any, Any]:
        rest = {name: each for name, each in value.items() if name != "annotators"}
        if len(rest) > 1:
            names = " and ".join(repr(name) for name in rest)
            first = next(iter(rest))
            self._report(f"{key!r} holds {names}: say which counts: --map label={key}.{first}")
        told = value.get("annotators") if annotators is None else annotators
        return next(iter(rest.values()), None), told

    def _of_annotators(self, key: str, value: Any) -> tuple[Label, ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            self._report(f"'annotators' must be a list of labels, not {show(value)}.")
            return ()
        found = [self._label(key, each) for each in value]
        return tuple(each for each in found if each is not None)

    def _label(self, key: str, value: Any) -> Label | None:
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, int) and abs(value) > _MOST:
            self._report(f"{key!r} is too large a number for a label.")
            return None
        if isinstance(value, bool | int | float | str):
            return value.strip() if isinstance(value, str) else value
        self._report(f"{key!r} must be a number, true, false or a word, not {show(value)}.")
        return None


def _dig(raw: Mapping[str, Any], key: str) -> Any:
    """Return what stands under a key, or under keys with dots between them."""
    if key in raw:
        return raw[key]
    found: Any = raw
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _has(raw: Mapping[str, Any]) -> str:
    keys: Sequence[str] = sorted(raw)[:12]
    return f"This one has {', '.join(map(show, keys)) or 'nothing'}."
