"""What people said → yes or no, or a grade, of each answer; and how far they agree."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from pytest_rag.errors import CalibrationError
from pytest_rag.evalset.problems import show
from pytest_rag.stats.agreement import Estimate, agreement, clusters_of, rank_agreement, spearman

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_rag.calibrating.human import Judged, Label

__all__ = ["Kind", "People", "people_of", "question_key"]

Kind = Literal["binary", "graded"]

_OPPOSITES = {
    "yes": "no", "y": "n", "true": "false", "1": "0", "correct": "wrong", "right": "wrong",
    "good": "bad", "accept": "reject", "accepted": "rejected", "pass": "fail", "passed": "failed",
    "positive": "negative",
}  # fmt: skip
_NOT = re.compile(r"^(?:not |non-?|un|in|ir)", re.IGNORECASE)
_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """What people said of the answers that anybody labelled.

    Attributes:
        rows: Those answers.
        values: What was said of each: 1 or 0, or a grade.
        kind: ``binary`` or ``graded``.
        good: The labels that mean good, as they are written; empty for grades.
        among: How far two annotators agree: kappa, or Spearman's correlation of grades; None
            where no answer has two.
        pairs: Answers that two annotators labelled.
        split: Answers left out, since as many said good as did not.
        unlabelled: Answers left out, since nobody said anything.
    """

    rows: tuple[Judged, ...]
    values: tuple[float, ...]
    kind: Kind
    good: tuple[str, ...]
    among: Estimate | None
    pairs: int
    split: int
    unlabelled: int

    @property
    def fingerprint(self) -> str:
        """Of questions, answers and labels, whatever their order."""
        told = sorted(
            (row.question, row.answer, value)
            for row, value in zip(self.rows, self.values, strict=True)
        )
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def question_key(question: str) -> str:
    """Return what two ways of writing a question have in common: case and spaces do not count."""
    return " ".join(question.casefold().split())


def people_of(rows: Sequence[Judged], good: Sequence[str] = ()) -> People:
    """Read labels as yes or no, or as grades.

    One that all annotators are asked for counts as it is; where only theirs are told, it is what
    most of them say, or the mean of their grades. Their agreement is that of the first two: a
    third is often asked only where those differ.

    Args:
        rows: Of a file.
        good: Labels that mean good, where that cannot be told from them.

    Raises:
        CalibrationError: if nobody labelled anything, or it is not told which labels are good.
    """
    told = [row for row in rows if row.labelled]
    if not told:
        raise CalibrationError("No row has a label. Say where it stands: --map label=KEY")
    said = [label for row in told for label in _all(row)]
    kind, value_of = _reading(said, good)
    values = [_value(row, kind, value_of) for row in told]
    kept = [(row, value) for row, value in zip(told, values, strict=True) if value is not None]
    first_two = [row for row in told if len(row.annotators) > 1]
    return People(
        rows=tuple(row for row, _ in kept),
        values=tuple(value for _, value in kept),
        kind=kind,
        good=tuple(sorted({str(x) for x in said if value_of(x) == 1.0}))
        if kind == "binary"
        else (),
        among=_among(first_two, kind, value_of) if first_two else None,
        pairs=len(first_two),
        split=len(told) - len(kept),
        unlabelled=len(rows) - len(told),
    )


def _all(row: Judged) -> Iterable[Label]:
    return (*row.annotators, *(() if row.label is None else (row.label,)))


def _value(row: Judged, kind: Kind, value_of: Callable[[Label], float]) -> float | None:
    if row.label is not None:
        return value_of(row.label)
    mean = fmean(map(value_of, row.annotators))
    if kind == "graded":
        return mean
    return None if mean == 0.5 else float(mean > 0.5)


# --- what the labels mean ---------------------------------------------------------------------


def _reading(said: Sequence[Label], good: Sequence[str]) -> tuple[Kind, Callable[[Label], float]]:
    """Return the kind of the labels, and what each is as a number.

    Raises:
        CalibrationError: if it cannot be told which of them are good.
    """
    words = {_word(label) for label in said}
    if good:
        wanted = {_word(label) for label in good}
        unknown = sorted(wanted - words)
        if unknown:
            raise CalibrationError(
                f"--good {unknown[0]!r}: no answer is labelled so. {_told(said)}"
            )
        return "binary", lambda label: float(_word(label) in wanted)
    numbers = {_number(label) for label in said}
    if None not in numbers:
        known = {number for number in numbers if number is not None}
        if len(known) > 2:
            return "graded", lambda label: _number(label) or 0.0
        top = max({*known, 1.0} if known <= {0.0, 1.0} else known)
        return "binary", lambda label: float(_number(label) == top)
    yes = _opposed(words)
    if yes is None:
        raise CalibrationError(f"Which labels mean good? Say so: --good LABEL. {_told(said)}")
    return "binary", lambda label: float(_word(label) in yes)


def _word(label: Label | str) -> str:
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    return " ".join(str(label).casefold().split())


def _number(label: Label) -> float | None:
    if isinstance(label, str):
        return float(label) if re.fullmatch(r"[+-]?\d{1,15}(?:\.\d{1,15})?", label) else None
    return float(label)


def _opposed(words: set[str]) -> set[str] | None:
    """Return the good ones of known words, or the one whose denial is there; None where unsure.

    ``Not fully attributable`` denies ``Fully attributable``, and what is neither is not good.
    """
    known = {*_OPPOSITES, *_OPPOSITES.values()}
    if words <= known:
        return words & _OPPOSITES.keys()
    denied = {_NOT.sub("", word) for word in words if _NOT.match(word)} & words
    return denied if len(denied) == 1 else None


def _told(said: Sequence[Label]) -> str:
    counts = Counter(map(str, said)).most_common()
    some = ", ".join(f"{show(label)} ({n:,})" for label, n in counts[:_SHOWN])
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return f"There are {some}{more}."


# --- among themselves -------------------------------------------------------------------------


def _among(rows: Sequence[Judged], kind: Kind, value_of: Callable[[Label], float]) -> Estimate:
    """Return how far the first two annotators agree, either of them taken for the first."""
    import numpy as np

    pairs = np.array([[value_of(label) for label in row.annotators[:2]] for row in rows])
    one, other = np.concatenate([pairs, pairs[:, ::-1]]).T
    clusters = clusters_of([question_key(row.question) for row in (*rows, *rows)])
    if kind == "graded":
        return rank_agreement(spearman, one, other, clusters)
    return agreement(one == 1.0, other == 1.0, clusters)[0]
