"""What was accepted of an evalset: scores as columns, and a line of text for all else of a case."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy import float64, int64
    from numpy.typing import NDArray

__all__ = ["DIGITS", "Baseline", "accept", "prune"]

DIGITS = 6
"""Decimals a score is stored with; a smaller change is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline:
    """Scores of an evalset's cases, accepted before or measured just now.

    Attributes:
        evalset: Its name.
        cases: Ids, sorted; the index of every column.
        runs: How many runs of each case were measured, shape ``(cases,)``.
        passed: How many of them passed, shape ``(cases,)``.
        scores: By metric, the mean of a case over its runs, which are one cluster; rounded to 6
            digits; shape ``(cases,)``, NaN where the case has no value.
        asked: What each case asks and wants, as JSON with sorted keys: ``gold`` to grade, and the
            case's ``fingerprint``.
        limits: Each case's ``{check: {min, max}}``, likewise.
        seen: What else a comparison tells of each case, likewise: ``ranks`` of retrieved gold,
            the first documents ``retrieved``, gold ``unindexed``, ``tokens``.
        gate: Limits on the whole, ``{metric.aggregate: {min, max, max_drop}}``, and ``alpha``.
        fingerprint: Of cases, qrels, corpus and pipeline parameters.
        versions: Of the metrics' definitions, and of judges.
        deterministic: Whether the pipeline answers the same every time.
        noise: By metric, the drop that unchanged code showed; measured by ``pytest-rag aa``.
    """

    evalset: str
    cases: Sequence[str]
    runs: NDArray[int64]
    passed: NDArray[int64]
    scores: Mapping[str, NDArray[float64]]
    asked: Sequence[str]
    limits: Sequence[str]
    seen: Sequence[str]
    gate: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: Mapping[str, str | None] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    deterministic: bool = False
    noise: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.cases)

    def score(self, place: int) -> dict[str, float]:
        """Return the scores of the case at an index, those without a value left out."""
        values = ((name, float(column[place])) for name, column in self.scores.items())
        return {name: value for name, value in values if value == value}

    def detail(self, place: int) -> dict[str, Any]:
        """Return what is asked, its limits and what was seen of the case at an index."""
        asked, seen = json.loads(self.asked[place]), json.loads(self.seen[place])
        return {**asked, **seen, "checks": json.loads(self.limits[place])}

    def take(self, places: Sequence[int]) -> Baseline:
        """Return the baseline of the cases at some indices, in that order."""
        import numpy as np

        index = np.asarray(places, dtype=np.intp)
        columns = {name: column[index] for name, column in self.scores.items()}
        return replace(
            self,
            cases=[self.cases[i] for i in places],
            runs=self.runs[index],
            passed=self.passed[index],
            scores={name: c for name, c in columns.items() if not np.isnan(c).all()},
            asked=[self.asked[i] for i in places],
            limits=[self.limits[i] for i in places],
            seen=[self.seen[i] for i in places],
        )


def accept(old: Baseline | None, new: Baseline, *, only_new: bool, whole: bool) -> Baseline:
    """Return the baseline after a run was accepted; cases it did not run stay as they were.

    Args:
        old: What there was, or None.
        new: What the run measured.
        only_new: Add the cases that were not there, and leave all others.
        whole: Whether the run was of all declared cases; what is said of the whole set, such as
            the corpus it rests on, changes only with a whole run.
    """
    if old is None:
        return new
    first, second = (old, new) if only_new else (new, old)
    held = set(first.cases)
    extra = [place for place, case in enumerate(second.cases) if case not in held]
    joined = _join(first, second.take(extra))
    head = old if only_new or not whole else new
    return replace(
        joined,
        evalset=new.evalset,
        gate=head.gate,
        fingerprint=head.fingerprint,
        versions={**old.versions, **new.versions},
        deterministic=new.deterministic and (whole or old.deterministic),
        noise=old.noise,
    )


def _join(first: Baseline, second: Baseline) -> Baseline:
    """Return the cases of both, sorted."""
    import numpy as np

    cases = [*first.cases, *second.cases]
    order = sorted(range(len(cases)), key=cases.__getitem__)

    def column(name: str) -> NDArray[float64]:
        sides = (side.scores.get(name, np.full(len(side), np.nan)) for side in (first, second))
        return np.concatenate(list(sides))

    joined = replace(
        first,
        cases=cases,
        runs=np.concatenate([first.runs, second.runs]),
        passed=np.concatenate([first.passed, second.passed]),
        scores={name: column(name) for name in {**first.scores, **second.scores}},
        asked=[*first.asked, *second.asked],
        limits=[*first.limits, *second.limits],
        seen=[*first.seen, *second.seen],
    )
    return joined.take(order)


def prune(old: Baseline, declared: Iterable[str]) -> Baseline:
    """Return the baseline without the cases that the evalset no longer declares."""
    kept = set(declared)
    return old.take([place for place, case in enumerate(old.cases) if case in kept])
