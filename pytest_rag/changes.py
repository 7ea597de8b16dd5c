"""What became of each case, and of each limit, between two sides of an evalset."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_rag import metrics
from pytest_rag.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from numpy import float64
    from numpy.typing import NDArray

    from pytest_rag.baseline import Baseline, Measured

    Floats = NDArray[float64]
    Places = Sequence[tuple[int, int]]

__all__ = [
    "TOLERANCE",
    "CaseChange",
    "Changes",
    "GoldChange",
    "find",
    "more_is_better",
    "notes",
    "weakened",
]

_MOST = 200
_NAMED = 3
_FAR = 10**9
TOLERANCE = 1.5e-6
"""By how much two scores that are stored with six digits may differ and be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldChange:
    """Where a gold document was, and is.

    Attributes:
        before: Its rank, or None where it was not among the retrieved.
        now: Likewise.
        lost: Which stage lost it, in words; None where it was not lost.
    """

    before: int | None
    now: int | None
    lost: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseChange:
    """What became of one case.

    Attributes:
        case: Its id.
        broke: Whether it passed every run before and fails every run now.
        scores: ``{metric: (before, now)}`` where they differ.
        gold: Gold documents whose rank or fate changed.
        instead: Documents that are retrieved now and were not before, best first; where there are
            none and gold fell, those that are retrieved in its place.
        tokens: ``{side: (before, now)}``, where a language model was asked.
        times: ``{stage: (before, now)}``, in milliseconds; None where it is not known.
    """

    case: str
    broke: bool = False
    scores: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    gold: Mapping[str, GoldChange] = field(default_factory=dict)
    instead: tuple[str, ...] = ()
    tokens: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)
    times: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    @property
    def fell(self) -> bool:
        """Whether it broke, or lost a gold document: what explains a regression."""
        return self.broke or any(gold.lost for gold in self.gold.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Cases that moved.

    Attributes:
        first: The 200 that matter most: hard breaks, then by the size of the fall.
        count: How many there are.
        broke: Ids of all hard breaks.
        flipped: Ids of cases that passed and fail now, in a single run on one side at least, of a
            pipeline that may answer otherwise each time.
    """

    first: Sequence[CaseChange]
    count: int
    broke: tuple[str, ...]
    flipped: tuple[str, ...] = ()


def more_is_better(name: str, gate: Mapping[str, Any]) -> bool:
    """Tell a metric's direction; of one that is not installed here, from what the record says."""
    try:
        return name == "passed" or metrics.get(name).higher_is_better
    except UsageError:
        noted = (of for key, of in gate.items() if key.rpartition(".")[0] == name)
        return not any(of.get("lower_is_better") for of in noted)


def find(
    both: Places,
    base: Baseline,
    head: Measured,
    gated: Iterable[tuple[str, float]],
    before: Mapping[str, Floats] | None,
    *,
    other: Collection[str] = (),
) -> Changes:
    """Return the cases that moved.

    Args:
        both: Places of the cases that both sides have.
        base: What was accepted.
        head: What was measured.
        gated: The metrics that decide the order, each with 1 where more is better, else -1.
        before: Milliseconds by stage of the base's cases, where they are known.
        other: Cases that ask something else now, or lost their label: none of them broke.
    """
    import numpy as np

    now = head.baseline
    if not both:
        return Changes(first=(), count=0, broke=())
    places = np.array(both, dtype=np.intp)
    was_at, now_at = places[:, 0], places[:, 1]
    broke = (base.passed[was_at] == base.runs[was_at]) & (now.passed[now_at] == 0)
    broke &= np.array([now.cases[n] not in other for _, n in both])
    flipped = np.zeros(len(both), dtype=bool)
    if not (base.deterministic and now.deterministic):
        # One failed run where one passed is what chance looks like.
        flipped = broke & ((base.runs[was_at] == 1) | (now.runs[now_at] == 1))
        broke &= ~flipped
    differs = broke | flipped
    for name in base.scores.keys() & now.scores.keys():
        differs |= np.abs(base.scores[name][was_at] - now.scores[name][now_at]) > TOLERANCE
    differs |= [
        moved or _tells(base.seen[was], now.seen[place])
        for moved, (was, place) in zip(differs.tolist(), both, strict=True)
    ]
    fall = _falls(base, now, was_at, now_at, list(gated))
    order = np.lexsort((fall, ~broke))
    chosen = [place for place in order.tolist() if differs[place]]
    return Changes(
        first=[_change(both[i], base, head, before, broke=bool(broke[i])) for i in chosen[:_MOST]],
        count=len(chosen),
        broke=tuple(now.cases[place] for place in now_at[broke]),
        flipped=tuple(now.cases[place] for place in now_at[flipped]),
    )


def _falls(
    base: Baseline,
    now: Baseline,
    was_at: NDArray[Any],
    now_at: NDArray[Any],
    gated: Sequence[tuple[str, float]],
) -> Floats:
    """Return how much better each case became over the gated metrics, or over all of them."""
    import numpy as np

    signs = {True: 1.0, False: -1.0}
    names = gated or [(name, signs[more_is_better(name, now.gate)]) for name in base.scores]
    total = np.zeros(len(was_at))
    for name, sign in names:
        if name in base.scores and name in now.scores:
            total += sign * np.nan_to_num(now.scores[name][now_at] - base.scores[name][was_at])
    return total


def _change(
    places: tuple[int, int],
    base: Baseline,
    head: Measured,
    before: Mapping[str, Floats] | None,
    *,
    broke: bool,
) -> CaseChange:
    was, now = places
    old, new = base.score(was), head.baseline.score(now)
    scores = {
        name: (value, new[name])
        for name, value in old.items()
        if name in new and abs(new[name] - value) > TOLERANCE
    }
    told, tells = base.detail(was), head.baseline.detail(now)
    asked = tells["gold"].keys()
    return CaseChange(
        case=head.baseline.cases[now],
        broke=broke,
        scores=scores,
        gold={
            name: of for name, of in _gold(told, tells) if name in told["gold"] and name in asked
        },
        instead=tuple(_instead(told, tells)),
        tokens=_sides(told.get("tokens", {}), tells.get("tokens", {})),
        times=_sides(_at(before or {}, was), _at(head.times, now)),
    )


def _tells(was: str, now: str) -> bool:
    """Tell whether there is something to say of two sides but tokens and times."""
    if was == now:
        return False
    told, tells = json.loads(was), json.loads(now)
    return any(_gold(told, tells)) or any(_instead(told, tells))


def _instead(told: Mapping[str, Any], tells: Mapping[str, Any]) -> list[str]:
    """Return what was not retrieved before, or, where gold fell, what is in its place."""
    others = [name for name in tells.get("retrieved", ()) if name not in tells.get("gold", ())]
    new = [name for name in others if name not in told.get("retrieved", ())]
    now = tells.get("ranks", {})
    fell = any(rank < now.get(gold, _FAR) for gold, rank in told.get("ranks", {}).items())
    return new or (others if fell else [])


def _gold(told: Mapping[str, Any], tells: Mapping[str, Any]) -> Iterator[tuple[str, GoldChange]]:
    ranks, now, lost = told.get("ranks", {}), tells.get("ranks", {}), tells.get("lost", {})
    unindexed = set(tells.get("unindexed", ())).difference(told.get("unindexed", ()))
    for name in sorted({*ranks, *now, *lost, *told.get("lost", ()), *unindexed}):
        fate = "not in the index" if name in unindexed else lost.get(name)
        if ranks.get(name) != now.get(name) or fate != told.get("lost", {}).get(name):
            yield name, GoldChange(before=ranks.get(name), now=now.get(name), lost=fate)


def _at(columns: Mapping[str, Floats], place: int) -> dict[str, float]:
    values = ((stage, float(column[place])) for stage, column in columns.items())
    return {stage: round(ms, 3) for stage, ms in values if ms == ms}


def _sides(was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (was.get(name), now.get(name)) for name in {**was, **now}}


# --- limits -------------------------------------------------------------------------------------


def weakened(base: Baseline, head: Baseline, both: Places) -> Iterator[str]:
    """Yield what became of limits that are weaker now, each once with the cases it concerns."""
    yield from (f"gate: {words}" for words in _weaker(base.gate, head.gate))
    found: dict[str, list[str]] = {}
    known: dict[tuple[str, str], list[str]] = {}
    for was, now in both:
        sides = base.limits[was], head.limits[now]
        if sides[0] != sides[1]:
            if sides not in known:
                known[sides] = list(_weaker(*map(json.loads, sides)))
            for words in known[sides]:
                found.setdefault(words, []).append(head.cases[now])
    for words, cases in found.items():
        some = ", ".join(cases[:_NAMED])
        more = f" and {len(cases) - _NAMED} more cases" if len(cases) > _NAMED else ""
        yield f"{some}{more}: {words}"


def _weaker(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name, limits in was.items():
        if name == "alpha":
            if now.get("alpha", limits) < limits:
                yield f"alpha went from {limits:g} to {now['alpha']:g}"
            continue
        for kind in ("min", "max", "max_drop"):
            value = limits.get(kind)
            if value is None:
                continue
            found = now.get(name, {}).get(kind)
            if found is None:
                yield f"{name} {kind} {value:g} is gone"
            elif (found < value) if kind == "min" else (found > value):
                yield f"{name} {kind} went from {value:g} to {found:g}"


_DIFFERS = {
    # What a pipeline says of itself covers its parameters too, so they come first.
    "pipeline": "The pipeline's parameters differ from the accepted ones.",
    "corpus": "The corpus differs from the accepted one.",
}


def notes(base: Baseline, head: Baseline) -> Iterator[str]:
    """Yield what else differs between the sides, in whole sentences."""
    for key, words in _DIFFERS.items():
        was, now = base.fingerprint.get(key), head.fingerprint.get(key)
        if was is not None and now is not None and was != now:
            yield words
            break
    if base.deterministic != head.deterministic:
        which = "is now" if head.deterministic else "is no longer"
        yield f"The pipeline {which} deterministic: verdicts rest on a test of chance."
