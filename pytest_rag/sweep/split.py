"""The cases that a search may see, and those held out from it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from pytest_rag.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_rag.types import Case

__all__ = ["Split", "split"]

_FEWEST = 5  # held out: no test of fewer pairs reaches 0.05


class Split(NamedTuple):
    """Two parts of the cases.

    Attributes:
        search: What candidates are asked, in the order they are asked.
        heldout: What the recommendation and the current configuration are asked at the end.
    """

    search: tuple[Case, ...]
    heldout: tuple[Case, ...]


def split(cases: Sequence[Case], *, holdout: float, seed: int) -> Split:
    """Part the cases by chance, so that every kind has its share in both parts.

    The kinds are the same tags, with or without gold, with or without an answer. Cases of one
    kind stand beside each other in an order drawn by chance, and of all cases in this order
    every n-th is held out, so that a kind of m cases has m times the share, give or take one.

    Args:
        cases: Of the evalset.
        holdout: Part that is held out, above 0 and below 1.
        seed: Of the order.

    Raises:
        UsageError: where a part would have too few.
    """
    draw = random.Random(seed)  # noqa: S311 - no secret
    mixed = draw.sample(list(cases), len(cases))
    mixed.sort(key=_kind)
    offset = draw.random()
    held = [int(n * holdout + offset) < int((n + 1) * holdout + offset) for n in range(len(mixed))]
    heldout = [case for case, out in zip(mixed, held, strict=True) if out]
    search = [case for case, out in zip(mixed, held, strict=True) if not out]
    if min(len(heldout), len(search)) < _FEWEST:
        raise UsageError(_too_few(len(search), len(heldout), holdout))
    draw.shuffle(search)
    return Split(tuple(search), tuple(heldout))


def _too_few(search: int, heldout: int, holdout: float) -> str:
    cases = search + heldout
    if cases < 2 * _FEWEST:
        return (
            f"A sweep needs {2 * _FEWEST} cases or more, {_FEWEST} to search with and {_FEWEST} "
            f"held out, and here {'is' if cases == 1 else 'are'} {cases}. Write more cases."
        )
    return (
        f"'holdout: {holdout:g}' leaves {search} of {cases} cases to search with and {heldout} "
        f"held out, and each part needs {_FEWEST}. Write 'holdout: 0.5', or more cases."
    )


def _kind(case: Case) -> tuple[tuple[str, ...], bool, bool, bool]:
    return tuple(sorted(case.tags)), bool(case.relevant), bool(case.answers), case.answerable
