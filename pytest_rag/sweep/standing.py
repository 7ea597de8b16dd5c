"""Candidates held against each other: who keeps the limits, the frontier, the recommendation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_rag.sweep.figures import excess, shown_figures, value_of
from pytest_rag.sweep.race import differences
from pytest_rag.sweep.space import label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_rag.records import Result
    from pytest_rag.sweep.measure import Tried
    from pytest_rag.sweep.plan import Sweep
    from pytest_rag.types import GateLimit

__all__ = ["Standing", "estimate", "frontier", "name_of", "recommended", "standing"]

_SAME_LATENCY, _SAME_MS = 1.1, 1.0  # times that differ by less are taken for the same
_UNTOLD = 1.0


def name_of(limit: GateLimit) -> str:
    """Return a limit's name as it was written, or could have been."""
    usual = "rate" if limit.metric == "passed" else "mean"
    return (
        limit.metric if limit.aggregate == usual == "mean" else f"{limit.metric}.{limit.aggregate}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A candidate with its figures.

    Attributes:
        tried: What became of it.
        figures: By name: objectives, limits, latency and cost.
        excess: By limit, by how much it is broken, or kept where it is 0 or less.
        scores: Of the objectives, more always better; None where one is missing.
    """

    tried: Tried
    figures: Mapping[str, float | None] = field(default_factory=dict)
    excess: Mapping[str, float] = field(default_factory=dict)
    scores: tuple[float, ...] | None = None

    @property
    def number(self) -> int:
        """Of the candidate."""
        return self.tried.candidate.number

    @property
    def broken(self) -> dict[str, float]:
        """By limit, by how much it is broken, of those that are."""
        return {name: by for name, by in self.excess.items() if by > 0}

    @property
    def eligible(self) -> bool:
        """Whether it ran to its end within the limits."""
        return self.tried.state == "complete" and self.scores is not None and not self.broken


def standing(sweep: Sweep, tried: Tried, current: Sequence[Result]) -> Standing:
    """Return a candidate with its figures.

    Args:
        sweep: With objectives and limits.
        tried: What became of it.
        current: Results of the current configuration.
    """
    if tried.state in ("error", "not_run"):
        return Standing(tried=tried)
    over = {}
    for limit in sweep.limits:
        by = excess(limit, tried.results, current)
        over[name_of(limit)] = _UNTOLD if by is None else by
    values = [(o.sign, value_of(o, tried.results)) for o in sweep.objectives]
    scores = [sign * value for sign, value in values if value is not None]
    return Standing(
        tried=tried,
        figures=shown_figures(sweep, tried.results),
        excess=over,
        scores=tuple(scores) if len(scores) == len(values) else None,
    )


def estimate(sweep: Sweep, mine: Standing, best: Standing | None) -> tuple[float, ...] | None:
    """Return what a sampler is told: of a stopped candidate, what it would have come to.

    That is the first objective of the best, and the mean paired difference to it on the cases
    that both ran, which knows how hard those cases were.
    """
    if mine.scores is None or mine.tried.state != "stopped" or best is None or best.scores is None:
        return mine.scores
    changes = differences(sweep.primary, mine.tried.results, best.tried.results).values()
    first = best.scores[0] + sum(changes) / len(changes) if changes else mine.scores[0]
    return (first, *mine.scores[1:])


def recommended(found: Iterable[Standing]) -> Standing | None:
    """Return the best candidate within the limits, or None.

    The first objective decides. Of those that are equal in it the other objectives do, then
    cost, then the fewest values that differ from the current configuration, then who came first.
    """
    able = [each for each in found if each.eligible]
    current = next((each for each in able if not each.number), None)
    at = {} if current is None else current.tried.candidate.values
    return min(able, key=lambda each: _rank(each, at), default=None)


def _rank(each: Standing, at: Mapping[str, object]) -> tuple[object, ...]:
    scores = tuple(-round(score, 9) for score in each.scores or ())
    cost = each.figures.get("cost_usd.mean") or 0.0
    values = each.tried.candidate.values
    moved = sum(name not in at or label(values[name]) != label(at[name]) for name in values)
    return (*scores, round(cost, 12), moved if each.number else -1, each.number)


def frontier(sweep: Sweep, found: Iterable[Standing]) -> list[Standing]:
    """Return the candidates within the limits that none is better than in everything.

    Everything is the objectives, and mean latency and cost where no objective is about them;
    latencies within a tenth, or a millisecond, of each other are taken for the same.
    """
    able = [each for each in found if each.eligible]
    best = [each for each in able if not any(_dominates(sweep, other, each) for other in able)]
    return sorted(best, key=lambda each: (_rank(each, {}), each.number))


def _dominates(sweep: Sweep, one: Standing, other: Standing) -> bool:
    theirs = _axes(sweep, other)
    steps = [_step(name, mine, theirs[name]) for name, mine in _axes(sweep, one).items()]
    return min(steps) >= 0 and max(steps) > 0


def _axes(sweep: Sweep, each: Standing) -> dict[str, float | None]:
    """Return what a candidate is held to, more always better."""
    scores = zip(sweep.objectives, each.scores or (), strict=True)
    found: dict[str, float | None] = {objective.name: score for objective, score in scores}
    told = {objective.metric for objective in sweep.objectives}
    for metric in ("latency_ms", "cost_usd"):
        value = each.figures.get(f"{metric}.mean")
        if metric not in told:
            found[metric] = None if value is None else -value
    return found


def _step(name: str, mine: float | None, theirs: float | None) -> int:
    """Return 1 where mine is better, -1 where it is worse, 0 where nobody can say."""
    if mine is None or theirs is None or abs(mine - theirs) <= 1e-12:
        return 0
    low, high = sorted((abs(mine), abs(theirs)))
    if name.startswith("latency_ms") and high <= max(low * _SAME_LATENCY, low + _SAME_MS):
        return 0
    return 1 if mine > theirs else -1
