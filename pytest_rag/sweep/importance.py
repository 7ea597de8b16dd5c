"""How much of the differences between candidates each knob explains."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from pytest_rag.sweep.space import label
from pytest_rag.sweep.standing import estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_rag.sweep.plan import Sweep
    from pytest_rag.sweep.space import Knob
    from pytest_rag.sweep.standing import Standing

__all__ = ["explained", "importance"]

_BINS = 4


def importance(sweep: Sweep, found: Sequence[Standing], best: Standing | None) -> dict[str, float]:
    """Return the share of each knob in the differences of the first objective, largest first.

    A stopped candidate counts with what it would have come to. The candidates were chosen to be
    good, not to be balanced: where two knobs went together, both have a share in what one did.
    Empty where the candidates do not differ.
    """
    known = [(each, estimate(sweep, each, best)) for each in found]
    scores = {each.number: score[0] for each, score in known if score is not None}
    shares = {}
    for knob in sweep.space.knobs:
        values = {e.number: e.tried.candidate.values for e in found if e.number in scores}
        used = {n: v[knob.name] for n, v in values.items() if knob.name in v}
        groups: dict[str, list[float]] = {}
        for number, name in _grouped(knob, used).items():
            groups.setdefault(name, []).append(scores[number])
        shares[knob.name] = explained(list(groups.values()), list(scores.values()))
    if not any(shares.values()):
        return {}
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def explained(groups: Sequence[Sequence[float]], every: Sequence[float]) -> float:
    """Return the share of the squared deviations of all values that the means of groups explain.

    It is Kelley's ε² (1935) of the grouped values, which, unlike η², is not above 0 by the mere
    number of groups: the deviations between groups less what chance would give them. It is
    related to the deviations of all values, of which the grouped ones may be a part.

    Args:
        groups: Of some of the values.
        every: All values.
    """
    values = [value for group in groups for value in group]
    total = _squares(every)
    spare = len(values) - len(groups)
    if len(groups) < 2 or spare < 1 or total <= 1e-18:
        return 0.0
    within = sum(_squares(group) for group in groups)
    between = _squares(values) - within - (len(groups) - 1) * within / spare
    return max(0.0, between / total)


def _squares(values: Sequence[float]) -> float:
    mean = fmean(values) if values else 0.0
    return sum((value - mean) ** 2 for value in values)


def _grouped(knob: Knob, used: Mapping[int, object]) -> dict[int, str]:
    """Return the group of each candidate: its choice, or a quarter of the values of a range."""
    if knob.choices is not None or len({label(value) for value in used.values()}) <= _BINS:
        return {number: label(value) for number, value in used.items()}
    numbers = {number: value for number, value in used.items() if isinstance(value, (int, float))}
    ranked = sorted(numbers.values())
    edges = [ranked[len(ranked) * cut // _BINS] for cut in range(1, _BINS)]
    return {n: str(sum(value >= edge for edge in edges)) for n, value in numbers.items()}
