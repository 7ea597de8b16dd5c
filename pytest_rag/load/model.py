"""What a ramp of load measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_rag.stats import quantile, quantile_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Loop", "Sample", "Saturation", "Step", "figures"]

Loop = Literal["closed", "open"]
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_FEWEST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question.

    Attributes:
        start: When it was to be asked, in seconds from the start of its step.
        ms: From then to its answer; for one without an answer, until it was given up.
        error: The kind of error, or None.
        late_ms: How much later than that it was really asked: what this machine could not do.
        cycle_s: Closed loop: seconds since the answer before it in the same place.
    """

    start: float
    ms: float
    error: str | None = None
    late_ms: float = 0.0
    cycle_s: float | None = None

    @property
    def end(self) -> float:
        """When it was answered, in seconds from the start of its step."""
        return self.start + self.ms / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One level of load.

    Attributes:
        loop: ``closed``: so many questions at a time; ``open``: so many a second, whatever comes.
        load: How many.
        warmup_s: Seconds at its beginning that do not count.
        duration_s: Seconds in which questions were asked, those of the warm-up among them.
        samples: Of all questions in the order they ended, those of the warm-up among them.
        busy: Processor seconds a second that this process used.
        cut: Why it ended before its time, or None.
    """

    loop: Loop
    load: float
    warmup_s: float
    duration_s: float
    samples: tuple[Sample, ...]
    busy: float = 0.0
    cut: str | None = None

    @property
    def counted(self) -> tuple[Sample, ...]:
        """Questions to be asked after the warm-up, and those of it that then came to no answer."""
        return tuple(each for each in self.samples if self._counts(each))

    def _counts(self, each: Sample) -> bool:
        late = each.error is not None and each.end > self.warmup_s
        return late or each.start >= self.warmup_s

    @property
    def errors(self) -> Mapping[str, int]:
        """How many of them came to no answer, by kind."""
        return Counter(each.error for each in self.counted if each.error is not None)

    @property
    def times(self) -> list[float]:
        """Milliseconds of those that were answered."""
        return [each.ms for each in self.counted if each.error is None]

    @property
    def ended(self) -> tuple[Sample, ...]:
        """Questions that were answered, or not, between warm-up and the last question."""
        window = (self.warmup_s, self.duration_s)
        return tuple(each for each in self.samples if window[0] < each.end <= window[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """How much a pipeline bears.

    Attributes:
        loop: Of the ramp.
        reached: Whether more load brought no more answers; False: it bears at least as much.
        per_second: Answers a second, or None where nothing was measured.
        low: Lower end of the 95 % interval, or None.
        high: Its upper end, or None.
        at: Closed loop: how many at a time suffice for that; else None.
        sustained: Open loop: the highest rate at which no queue grew, or None.
    """

    loop: Loop
    reached: bool
    per_second: float | None
    low: float | None = None
    high: float | None = None
    at: float | None = None
    sustained: float | None = None


def figures(step: Step) -> dict[str, Any]:
    """Return what a step shows as plain JSON; milliseconds, None where it is not known."""
    from pytest_rag.load.saturation import throughput

    times = step.times
    rate = throughput(step)
    found: dict[str, Any] = {
        "loop": step.loop,
        "load": step.load,
        "asked": len(step.counted),
        "answered": len(times),
        "errors": dict(step.errors),
        "per_second": None if rate is None else _rounded(rate.value),
        "per_second_interval": None if rate is None or rate.low is None else rate.interval(),
        "cut": step.cut,
    }
    for name, q in _QUANTILES.items():
        interval = quantile_interval(times, q) if len(times) >= _FEWEST else None
        found[f"{name}_ms"] = _rounded(quantile(times, q)) if times else None
        found[f"{name}_interval_ms"] = None if interval is None else list(map(_rounded, interval))
    found["late_p95_ms"] = _late(step)
    found["processor"] = _rounded(step.busy)
    return found


def _late(step: Step) -> float | None:
    late = [each.late_ms for each in step.counted]
    return _rounded(quantile(late, 0.95)) if late else None


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
