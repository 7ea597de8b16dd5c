"""When a candidate stops: looks after ever more cases, and the paired test of the gate at each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_rag import stats
from pytest_rag.changes import TOLERANCE
from pytest_rag.sweep.figures import by_cases, value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_rag.records import Result
    from pytest_rag.sweep.plan import Objective, Sweep

__all__ = ["differences", "is_beaten", "looks", "p_worse"]

_FIRST = 12
_GROWTH = 1.6
_RESAMPLES = 9_999


def looks(cases: int) -> list[int]:
    """Return after how many cases a candidate is looked at; the last is all of them.

    Each look has 1.6 times the cases of the one before: few looks, so that each may be decided
    at a level that is not much smaller, and little paid beyond what a decision takes.
    """
    found, at = [], float(_FIRST)
    while at < 0.8 * cases:
        found.append(round(at))
        at *= _GROWTH
    return [*found, cases]


def differences(
    objective: Objective, results: Sequence[Result], other: Sequence[Result]
) -> dict[str, float]:
    """Return by how much each case is better than with the other, where both have a value."""
    mine, theirs = (by_cases(each, objective.metric) for each in (results, other))
    found = stats.paired_differences(mine, theirs)
    return {case: objective.sign * change for case, change in found.items()}


def p_worse(changes: Sequence[float], *, resamples: int | None = None) -> float:
    """Return the one-sided p-value of a mean below 0; 1 where it is not below."""
    if not changes or sum(changes) >= 0:
        return 1.0
    return stats.sign_flip_test(list(changes), tie=TOLERANCE, resamples=resamples)


def is_beaten(
    sweep: Sweep, results: Sequence[Result], rivals: Sequence[Sequence[Result]], tests: int
) -> bool:
    """Tell whether a candidate cannot catch up with one that has run to its end.

    It cannot where the other is surely better on the cases of this one, in the first objective,
    and no worse in any other. The level is that of the file, shared by all tests of the
    candidate (Bonferroni): at every look but the last, against every rival.

    Args:
        sweep: With the level and the objectives.
        results: Of the candidate so far.
        rivals: Results of those it is held against.
        tests: Looks before the last.
    """
    if sweep.prune is None or not rivals:
        return False
    level = sweep.prune / (tests * len(rivals))
    return any(_beats(sweep, rival, results, level) for rival in rivals)


def _beats(sweep: Sweep, rival: Sequence[Result], results: Sequence[Result], level: float) -> bool:
    changes = list(differences(sweep.primary, results, rival).values())
    if p_worse(changes, resamples=_RESAMPLES) > level:
        return False
    seen = {result.case for result in results}
    same = [result for result in rival if result.case in seen]
    return all(_no_worse(each, same, results) for each in sweep.objectives[1:])


def _no_worse(objective: Objective, rival: Sequence[Result], results: Sequence[Result]) -> bool:
    theirs, mine = value_of(objective, rival), value_of(objective, results)
    return theirs is not None and mine is not None and objective.sign * (theirs - mine) >= 0
