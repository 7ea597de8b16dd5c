"""What a sweep came to: the verdict on held-out cases, knobs that do nothing, all as plain JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pytest_rag import stats
from pytest_rag.sweep.figures import excess, value_of
from pytest_rag.sweep.race import differences, p_worse
from pytest_rag.sweep.space import key_of
from pytest_rag.sweep.standing import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_rag.records import Result
    from pytest_rag.sweep.measure import Tried
    from pytest_rag.sweep.plan import Objective, Sweep
    from pytest_rag.sweep.standing import Standing

__all__ = ["Idle", "Outcome", "Row", "Verdict", "idle_knobs", "judge_heldout"]

Word = Literal["better", "not shown", "worse", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An objective on held-out cases.

    Attributes:
        name: Of the objective.
        current: Of the current configuration.
        recommended: Of the recommended one.
        change: Mean paired difference; above 0 is better, whatever the objective's direction.
        low: Lower end of its 95 % interval, or None.
        high: Upper end.
        p: One-sided chance of such a gain where nothing changed, corrected for earlier looks.
        pairs: Cases with a value in both.
        better: How many of them rose.
        worse: How many of them fell.
        detects: The smallest gain that these pairs show 80 % of the time, or None.
    """

    name: str
    current: float | None
    recommended: float | None
    change: float | None
    low: float | None
    high: float | None
    p: float
    pairs: int
    better: int
    worse: int
    detects: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The recommendation against the current configuration, on cases the search never saw.

    Attributes:
        word: ``better``, ``not shown`` where chance may explain the difference, ``worse``, or
            ``unknown`` where it could not be measured.
        rows: A row an objective; the first decides.
        broken: Limits that the recommendation breaks on these cases, by how much.
        looks: How many recommendations these cases have judged; p is multiplied by it.
        reason: Why it is unknown, or None.
    """

    word: Word
    rows: tuple[Row, ...] = ()
    broken: Mapping[str, float] = field(default_factory=dict)
    looks: int = 1
    reason: str | None = None

    @property
    def is_better(self) -> bool:
        """Whether the recommendation may be taken."""
        return self.word == "better" and not self.broken


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """A knob that changed nothing.

    Attributes:
        name: Of the knob.
        candidates: Numbers of candidates that differ in it alone.
    """

    name: str
    candidates: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A whole sweep.

    Attributes:
        sweep: What was to be done.
        found: Candidates in the order they were proposed; the first is the current configuration.
        frontier: Numbers of those that none is better than in everything.
        best: The recommendation, or None where no candidate keeps the limits.
        verdict: On held-out cases; None where nothing was recommended but what is there.
        importance: By knob, its share; empty where it cannot be told.
        idle: Knobs that changed nothing.
        cases: How many cases were searched with, and held out.
        asked: Runs of cases that were not on record.
        took_s: Seconds of this sitting.
        cost_usd: What it cost, or None where a call's cost is unknown.
        notes: What else a person should know.
    """

    sweep: Sweep
    found: tuple[Standing, ...]
    frontier: tuple[int, ...]
    best: Standing | None
    verdict: Verdict | None
    importance: Mapping[str, float]
    idle: tuple[Idle, ...]
    cases: tuple[int, int]
    asked: int
    took_s: float
    cost_usd: float | None
    notes: tuple[str, ...] = ()

    @property
    def current(self) -> Standing:
        """The current configuration."""
        return self.found[0]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "sweep": self.sweep.name,
            "evalset": self.sweep.evalset.name,
            "objectives": [asdict(each) for each in self.sweep.objectives],
            "limits": [asdict(each) for each in self.sweep.limits],
            "sampler": self.sweep.sampler,
            "seed": self.sweep.seed,
            "cases": {"search": self.cases[0], "heldout": self.cases[1]},
            "candidates": [_candidate(each) for each in self.found],
            "frontier": list(self.frontier),
            "recommended": None if self.best is None else self.best.number,
            "verdict": None if self.verdict is None else _verdict(self.verdict),
            "importance": dict(self.importance),
            "idle": [asdict(each) for each in self.idle],
            "asked": self.asked,
            "took_s": round(self.took_s, 3),
            "cost_usd": self.cost_usd,
            "notes": list(self.notes),
        }


def _candidate(each: Standing) -> dict[str, Any]:
    tried = each.tried
    return {
        "number": each.number,
        "params": dict(tried.candidate.values),
        "state": tried.state,
        "cases": tried.cases,
        "figures": dict(each.figures),
        "broken": each.broken,
        "reason": tried.reason,
        "record": str(tried.record),
    }


def _verdict(found: Verdict) -> dict[str, Any]:
    return {**asdict(found), "is_better": found.is_better}


# --- the verdict ----------------------------------------------------------------------------------


def judge_heldout(sweep: Sweep, current: Tried, best: Tried, *, looks: int = 1) -> Verdict:
    """Judge the recommendation on held-out cases.

    Args:
        sweep: With objectives, limits and alpha.
        current: The current configuration on these cases.
        best: The recommendation on them.
        looks: How many recommendations they have judged, this one among them.
    """
    for tried in (current, best):
        if tried.state != "complete":
            return Verdict(word="unknown", looks=looks, reason=tried.reason)
    both = current.results, best.results
    rows = [_row(sweep, objective, *both, looks) for objective in sweep.objectives]
    fall = p_worse(list(differences(sweep.primary, best.results, current.results).values()))
    word: Word = "better" if rows[0].p <= sweep.alpha else "not shown"
    word = "worse" if fall <= sweep.alpha else word
    return Verdict(
        word=word,
        rows=tuple(rows),
        broken=_broken(sweep, best.results, current.results),
        looks=looks,
    )


def _row(
    sweep: Sweep,
    objective: Objective,
    current: Sequence[Result],
    best: Sequence[Result],
    looks: int,
) -> Row:
    changes = list(differences(objective, best, current).values())
    low, high = (stats.mean_interval(changes) if changes else None) or (None, None)
    spread = stats.spread(changes) if changes else None
    detects = None
    if spread:
        detects = stats.smallest_drop(spread, len(changes), alpha=sweep.alpha / looks)
    return Row(
        name=objective.name,
        current=value_of(objective, current),
        recommended=value_of(objective, best),
        change=sum(changes) / len(changes) if changes else None,
        low=low,
        high=high,
        p=min(1.0, looks * p_worse([-change for change in changes])),
        pairs=len(changes),
        better=sum(change > 0 for change in changes),
        worse=sum(change < 0 for change in changes),
        detects=detects,
    )


def _broken(sweep: Sweep, best: Sequence[Result], current: Sequence[Result]) -> dict[str, float]:
    over = ((name_of(limit), excess(limit, best, current)) for limit in sweep.limits)
    return {name: 1.0 if by is None else by for name, by in over if by is None or by > 0}


# --- knobs that do nothing ------------------------------------------------------------------------


def idle_knobs(sweep: Sweep, found: Sequence[Standing]) -> list[Idle]:
    """Return the knobs that changed nothing wherever they alone changed.

    Nothing is what was retrieved, in which order, what was answered and every score, in each
    case that both candidates ran. A knob that never changed alone is not among them, nor one
    with a value that broke where another did not.
    """
    ran = [each for each in found if each.tried.state != "not_run"]
    idle = []
    for knob in sweep.space.knobs:
        groups: dict[str, list[Standing]] = {}
        for each in ran:
            values = each.tried.candidate.values
            if knob.name in values:
                rest = {name: value for name, value in values.items() if name != knob.name}
                groups.setdefault(key_of(rest), []).append(each)
        pairs = [group for group in groups.values() if len(group) > 1 and any(map(_ran, group))]
        if pairs and all(_same(group[0], other) for group in pairs for other in group[1:]):
            numbers = sorted(each.number for group in pairs for each in group)
            idle.append(Idle(name=knob.name, candidates=tuple(numbers)))
    return idle


def _ran(each: Standing) -> bool:
    return each.tried.state != "error"


def _same(one: Standing, other: Standing) -> bool:
    if not (_ran(one) and _ran(other)):
        return False
    mine, theirs = (
        {result.key: _seen(result) for result in each.tried.results} for each in (one, other)
    )
    shared = mine.keys() & theirs.keys()
    return bool(shared) and all(mine[key] == theirs[key] for key in shared)


def _seen(result: Result) -> tuple[Any, ...]:
    retrieved = [(hit["id"], hit["node"]) for hit in result.retrieved or ()]
    scores = {name: score["value"] for name, score in result.scores.items()}
    return result.answer, retrieved, scores
