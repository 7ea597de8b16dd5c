"""Steps of a ramp → answers a second, and where more load brings no more of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING

from pytest_rag.load.model import Saturation
from pytest_rag.stats import mean_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_rag.load.model import Step

__all__ = ["Rate", "is_sustained", "saturation", "throughput"]

_LEAST_GAIN = 0.25
"""The part of what more questions at a time should bring that they must bring."""

_GROWTH = 0.05
_SLOWER = 1.5
_FEW = 5
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Rate:
    """Answers a second, with a 95 % interval where there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    def interval(self) -> list[float] | None:
        """Return both ends, or None."""
        if self.low is None or self.high is None:
            return None
        return [float(f"{end:.5g}") for end in (self.low, self.high)]


def throughput(step: Step) -> Rate | None:
    """Return answers a second after the warm-up; None where too few questions ended.

    In a closed loop it is the number at a time by the mean time from answer to answer, which holds
    for any such loop (Little 1961) and knows no edges of a window. In an open loop it is the slope
    of the line through the answers counted over time.
    """
    ended = step.ended
    good = [each for each in ended if each.error is None]
    if len(good) < _FEWEST:
        return None
    if step.loop == "closed":
        return _closed(step.load, [s.cycle_s for s in ended if s.cycle_s], len(good) / len(ended))
    slope = _slope(sorted(each.end for each in good))
    return None if slope is None else Rate(slope)


def _closed(load: float, cycles: Sequence[float], share: float) -> Rate | None:
    if not cycles:
        return None
    places = load * share
    ends = mean_interval(cycles)
    if ends is None or not ends[0]:
        return Rate(places / fmean(cycles))
    return Rate(places / fmean(cycles), places / ends[1], places / ends[0])


def _slope(times: Sequence[float]) -> float | None:
    """Return the slope of 1, 2, 3, … over these times by least squares."""
    if len(times) < _FEW:
        return None
    centre, place = fmean(times), (len(times) - 1) / 2
    spread = sum((time - centre) ** 2 for time in times)
    if not spread:
        return None
    return sum((time - centre) * (n - place) for n, time in enumerate(times)) / spread


def is_sustained(step: Step) -> bool:
    """Tell whether answers kept up with an open loop's questions, so that no queue grew."""
    asked = step.counted
    if not asked or step.errors:
        return False
    left = sum(each.end > step.duration_s for each in asked)
    before = sum(each.start < step.warmup_s < each.end for each in step.samples)
    third = max(1, len(asked) // 3)
    in_order = sorted(asked, key=lambda each: each.start)
    slower = median(s.ms for s in in_order[-third:]) > _SLOWER * median(
        s.ms for s in in_order[:third]
    )
    return not ((left - before) > _GROWTH * len(asked) and slower)


def saturation(steps: Sequence[Step]) -> Saturation | None:
    """Return how much a pipeline bears, from the steps of one ramp; None where there are none."""
    if not steps:
        return None
    return _of_closed(steps) if steps[0].loop == "closed" else _of_open(steps)


def _of_closed(steps: Sequence[Step]) -> Saturation:
    known = [(step, rate) for step in steps if (rate := throughput(step)) is not None]
    if not known:
        return Saturation(loop="closed", reached=False, per_second=None)
    reached = any(_gain(a, b) < _LEAST_GAIN for a, b in pairwise(known))
    best = max((rate for _, rate in known), key=lambda rate: rate.value)
    first, alone = known[0]
    at = best.value * first.load / alone.value if reached and alone.value else None
    return Saturation(
        loop="closed",
        reached=reached,
        per_second=best.value,
        low=best.low,
        high=best.high,
        at=at,
    )


def _gain(before: tuple[Step, Rate], after: tuple[Step, Rate]) -> float:
    """Return what a step brought, as a part of what as many more places could."""
    more = after[0].load / before[0].load - 1
    return (after[1].value / before[1].value - 1) / more


def _of_open(steps: Sequence[Step]) -> Saturation:
    kept = [step for step in steps if is_sustained(step)]
    over = [step for step in steps if not is_sustained(step)]
    rates = [rate for step in over or kept if (rate := throughput(step)) is not None]
    sustained = max((step.load for step in kept), default=None)
    best = max((rate.value for rate in rates), default=None)
    return Saturation(loop="open", reached=bool(over), per_second=best, sustained=sustained)
