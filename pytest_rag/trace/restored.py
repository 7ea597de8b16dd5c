"""A span that stands for a part of an earlier run, and the times it brings with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_rag.trace.intervals import Interval
    from pytest_rag.trace.parts import Part
    from pytest_rag.types import Stage

__all__ = ["Restored"]

_Times = tuple["dict[str, list[Interval]]", "dict[str, list[tuple[Interval, float]]]"]
"""Intervals measured by stage, and by stage the recorded milliseconds of some of them."""


class _Spanned(Protocol):
    """The span of a stage."""

    stage: Stage | None
    start: float
    end: float | None

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of this span and those around it, from the inside out."""
        ...


@dataclass(frozen=True, slots=True)
class Restored:
    """A span and what stands in for it."""

    span: _Spanned
    part: Part

    @property
    def interval(self) -> Interval:
        """When the span was open."""
        return self.span.start, self.span.start if self.span.end is None else self.span.end

    def add_to(self, inclusive: _Times, own: _Times, cpu: dict[str, float]) -> None:
        """Let recorded times of stages take the place of the span's own.

        The stages around it have the whole part in them, and in their own time nothing of it.
        """
        timing = self.part.timing
        around: set[str] = set(self.span.stages())
        for outer in around:
            inclusive[1][outer].append((self.interval, timing.latency_ms))
        for stage, ms in timing.stages_ms.items():
            if stage not in around:
                _put(inclusive, stage, (self.interval, ms))
        for stage, ms in timing.self_ms.items():
            _put(own, stage, (self.interval, ms))
        for stage, ms in timing.cpu_ms.items():
            cpu[stage] = cpu.get(stage, 0.0) + ms / 1000


def _put(times: _Times, stage: str, told: tuple[Interval, float]) -> None:
    measured, recorded = times
    if told[0] not in measured.setdefault(stage, []):
        measured[stage].append(told[0])
    recorded[stage].append(told)
