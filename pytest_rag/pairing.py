"""Two sides of an evalset → the cases that may be compared, and their values metric by metric."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from pytest_rag.changes import TOLERANCE, more_is_better

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy import float64, int64
    from numpy.typing import NDArray

    from pytest_rag.baseline import Baseline, Measured
    from pytest_rag.types import GateLimit

    Floats = NDArray[float64]

__all__ = ["Pairs", "Shared", "pair"]

_PASSED = "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The cases both sides have, and which of them may be compared.

    Attributes:
        base: What was accepted.
        head: What was measured.
        both: Places of the cases that both have.
        pairs: Places of those whose scores may be compared, shape ``(pairs, 2)``.
        edited: Ids of the cases that ask or want something else now.
        unlabelled: Ids of the cases whose gold the index no longer holds.
    """

    base: Baseline
    head: Baseline
    both: list[tuple[int, int]]
    pairs: NDArray[Any]
    edited: tuple[str, ...]
    unlabelled: tuple[str, ...]

    @classmethod
    def of(cls, base: Baseline, head: Baseline) -> Shared:
        """Pair the cases by id; leave out those that ask or want something else now."""
        import numpy as np

        places = {case: place for place, case in enumerate(base.cases)}
        both = [(places[case], now) for now, case in enumerate(head.cases) if case in places]
        edited, unlabelled, pairs = [], [], []
        for was, now in both:
            if base.asked[was] != head.asked[now]:
                edited.append(head.cases[now])
            elif _lost_label(base.seen[was], head.seen[now]):
                unlabelled.append(head.cases[now])
            else:
                pairs.append((was, now))
        return cls(
            base=base,
            head=head,
            both=both,
            pairs=np.array(pairs, dtype=np.intp).reshape(-1, 2),
            edited=tuple(edited),
            unlabelled=tuple(unlabelled),
        )


def _lost_label(was: str, now: str) -> bool:
    """Tell whether the index no longer holds a gold document that it held before."""
    if '"unindexed"' not in now:
        return False
    import json

    before, after = (json.loads(side).get("unindexed", ()) for side in (was, now))
    return bool(set(after).difference(before))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The paired cases of one gated metric, before anything is decided.

    Attributes:
        limit: What was asked.
        column: The metric, and 1 where more is better, else -1.
        base: Values before, shape ``(cases,)``.
        head: Values now, likewise.
        runs: How often each case ran before, and now, shape ``(2, cases)``.
        not_comparable: Why nothing can be said, or None.
        refused: Why the limit cannot be held at all, or None.
    """

    limit: GateLimit
    column: tuple[str, float]
    base: Floats
    head: Floats
    runs: NDArray[int64]
    not_comparable: str | None = None
    refused: str | None = None

    @property
    def changes(self) -> Floats:
        """How much better each case became, in the metric's own direction."""
        import numpy as np

        changes = self.column[1] * (self.head - self.base)
        return np.where(np.abs(changes) > TOLERANCE, changes, 0.0)

    @property
    def alike(self) -> bool:
        """Whether every case ran as often before as now."""
        return bool((self.runs[0] == self.runs[1]).all())

    @property
    def slack(self) -> float:
        """How far the mean may be off because each case is stored with six digits."""
        return TOLERANCE * float((self.changes != 0).mean())


def pair(limit: GateLimit, shared: Shared, head: Measured, *, whole: bool) -> Pairs:
    """Return the pairs of a gated metric.

    Args:
        limit: What is asked.
        shared: The cases of both sides.
        head: What was measured, with what is missing.
        whole: Whether every declared case was measured.
    """
    import numpy as np

    name = limit.metric
    was_at, now_at = shared.pairs[:, 0], shared.pairs[:, 1]
    was, now = _column(shared.base, name)[was_at], _column(shared.head, name)[now_at]
    had = ~np.isnan(was)
    both = had & ~np.isnan(now)
    lost = head.missing.get(name, frozenset())
    there = [shared.head.cases[place] for place in now_at[had]]
    gone = whole and not both.any()  # such as a metric that the run no longer computes
    floor = shared.base.noise.get(name, 0.0)
    return Pairs(
        limit=limit,
        column=(name, 1.0 if more_is_better(name, shared.head.gate) else -1.0),
        base=was[both],
        head=now[both],
        runs=np.stack([shared.base.runs[was_at], shared.head.runs[now_at]])[:, both],
        not_comparable=_not_comparable(name, shared, any_pair=bool(both.any())),
        refused=_refusal(limit, [case for case in there if gone or case in lost], floor),
    )


def _not_comparable(name: str, shared: Shared, *, any_pair: bool) -> str | None:
    if not any_pair:
        return "no case has a value on both sides"
    before, now = (side.versions.get(name) for side in (shared.base, shared.head))
    return None if before == now else f"its definition changed: version {before}, now {now}"


def _refusal(limit: GateLimit, missing: Sequence[str], floor: float) -> str | None:
    """Return why a limit cannot be held at all, or None."""
    if missing:
        first = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        cases = "case has" if len(missing) == 1 else "cases have"
        return f"{len(missing)} accepted {cases} no value now: {first}"
    if floor > (limit.max_drop or 0.0) + TOLERANCE:
        return (
            f"max_drop {limit.max_drop:g} lies under the noise of unchanged code, {floor:.3g}: "
            f"write max_drop: {ceil(floor * 1000) / 1000:g} or more, or raise `repeat` and "
            "measure it anew with pytest-rag aa"
        )
    return None


def _column(side: Baseline, name: str) -> Floats:
    import numpy as np

    if name == _PASSED:
        return np.asarray(side.passed / np.maximum(side.runs, 1), dtype=np.float64)
    found = side.scores.get(name)
    return np.full(len(side), np.nan) if found is None else found
