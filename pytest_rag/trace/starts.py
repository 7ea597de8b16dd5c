"""When components ran, on the clock of a run from which waits and replays are taken out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_rag.trace.intervals import replaced, subtract
from pytest_rag.types import SpanTime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_rag.trace.intervals import Interval
    from pytest_rag.trace.restored import Restored
    from pytest_rag.trace.spans import EndedCall, Span

__all__ = ["Clock", "span_times"]

_MOST = 40


@dataclass(frozen=True, slots=True)
class Clock:
    """Tells times of a run as its latency counts them.

    Attributes:
        whole: The run, on the performance counter.
        held: When calls waited and none was being served.
        recorded: Intervals measured here, and the milliseconds that stand for them.
    """

    whole: Interval
    held: Sequence[Interval]
    recorded: Sequence[tuple[Interval, float]]

    def at(self, moment: float) -> float:
        """Return the milliseconds from the start of the run."""
        return self.of((self.whole[0], moment))

    def of(self, interval: Interval) -> float:
        """Return the milliseconds of an interval."""
        if not self.held and not self.recorded:
            return (interval[1] - interval[0]) * 1000
        times = [(each, ms / 1000) for each, ms in self.recorded]
        return replaced(subtract(interval, self.held), times) * 1000


def span_times(
    clock: Clock,
    spans: Mapping[str, Span],
    calls: Sequence[EndedCall],
    restored: Sequence[Restored],
) -> tuple[SpanTime, ...]:
    """Return when components of a stage ran, in the order they began.

    A component that hands a call to itself is told once.

    Args:
        clock: Of the run.
        spans: In the order they opened, by ids that begin with the component's class.
        calls: Of models; a stream goes on after its span has closed.
        restored: Spans that stand for parts of earlier runs, whose own spans take their place.
    """
    stood = {id(each.span): each.part.timing.spans for each in restored}
    until = {id(each.span): each.interval[1] for each in calls}
    found: list[SpanTime] = []
    for depth, part, span, again in _staged(spans):
        inner = stood.get(id(span), ())
        if again and not inner:
            continue
        end = clock.whole[1] if span.end is None else span.end
        own = SpanTime(
            depth=depth,
            stage=span.stage or "",
            part=part,
            start_ms=clock.at(span.start),
            ms=clock.of((span.start, max(end, until.get(id(span), end)))),
        )
        told = _moved(inner, own) or [own]
        found += told[1:] if again else told
    return tuple(_longest(found))


def _staged(spans: Mapping[str, Span]) -> Iterator[tuple[int, str, Span, bool]]:
    """Yield the spans of stages: depth, class, span, and whether the one around it is its own."""
    seen: dict[int, tuple[int, str, str | None]] = {}
    for name, span in spans.items():
        part = name.partition(".")[0]
        depth, around, stage = seen.get(id(span.parent), (0, "", None))
        if span.stage is None:
            seen[id(span)] = (depth, around, stage)
            continue
        again = (around, stage) == (part, span.stage)
        yield depth - again, part, span, again
        seen[id(span)] = (depth + (not again), part, span.stage)


def _moved(spans: Sequence[SpanTime], own: SpanTime) -> list[SpanTime]:
    """Return the spans of a part where it stands in a run."""
    return [
        replace(each, depth=own.depth + each.depth, start_ms=own.start_ms + each.start_ms)
        for each in spans
    ]


def _longest(spans: Sequence[SpanTime]) -> Sequence[SpanTime]:
    if len(spans) <= _MOST:
        return spans
    least = sorted((each.ms for each in spans), reverse=True)[_MOST - 1]
    return [each for each in spans if each.ms >= least][:_MOST]
