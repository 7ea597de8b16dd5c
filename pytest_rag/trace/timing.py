"""Where the time of a run went, worked out from its spans and calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_rag.trace.intervals import length, replaced, subtract
from pytest_rag.trace.spans import own_cpu, staged_below
from pytest_rag.trace.starts import Clock, span_times
from pytest_rag.trace.waits import without
from pytest_rag.types import STAGES, Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_rag.trace.intervals import Interval
    from pytest_rag.trace.restored import Restored
    from pytest_rag.trace.spans import EndedCall, Span

__all__ = ["Timeline"]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Spans by id and calls of a run between its start and its end, on the performance counter."""

    whole: Interval
    spans: Mapping[str, Span]
    calls: Sequence[EndedCall]

    def timing(
        self, restored: Sequence[Restored], held: Sequence[Interval], wait_ms: float
    ) -> Timing:
        """Return where the time went.

        Args:
            restored: Spans that stand for parts of earlier runs.
            held: When calls waited and none was being served.
            wait_ms: Milliseconds waited before the start.
        """
        inclusive, own, cpu = self._by_stage()
        for call in self.calls:  # a stream goes on after its span has closed
            if call.call.stage == "llm":
                inclusive.setdefault("llm", []).append(call.interval)
                own.setdefault("llm", []).append(call.interval)
        answered = [call for call in self.calls if call.mark is not None and call.mark.recorded]
        times = [(call.interval, call.told().latency_ms) for call in answered]
        within = _by(answered, times, lambda call, s: any(s == each for each in call.span.stages()))
        nearest = _by(answered, times, lambda call, s: s == next(call.span.stages(), None))
        for again in restored:
            again.add_to((inclusive, within), (own, nearest), cpu)
            times.append((again.interval, again.part.timing.latency_ms))
        if held:
            inclusive, own = without(inclusive, held), without(own, held)
        return Timing(
            latency_ms=_ms(subtract(self.whole, held), times),
            wait_ms=wait_ms + length(held) * 1000,
            stages_ms={s: _ms(inclusive[s], within[s]) for s in STAGES if s in inclusive},
            self_ms={s: _ms(own[s], nearest[s]) for s in STAGES if s in own},
            cpu_ms={s: max(0.0, cpu[s]) * 1000 for s in STAGES if s in cpu},
            spans=span_times(Clock(self.whole, held, times), self.spans, self.calls, restored),
        )

    def _by_stage(
        self,
    ) -> tuple[dict[str, list[Interval]], dict[str, list[Interval]], dict[str, float]]:
        """Return the intervals of stages, those without stages inside, and processor seconds."""
        inclusive: dict[str, list[Interval]] = {}
        own: dict[str, list[Interval]] = {}
        cpu: dict[str, float] = {}
        end = self.whole[1]
        for span in self.spans.values():
            if span.stage is None:
                continue
            interval = (span.start, span.end if span.end is not None else end)
            inclusive.setdefault(span.stage, []).append(interval)
            inner = [(c.start, c.end or end) for c in staged_below(span)]
            own.setdefault(span.stage, []).extend(subtract(interval, inner))
            cpu[span.stage] = cpu.get(span.stage, 0.0) + own_cpu(span)
        return inclusive, own, cpu


def _by(
    answered: Sequence[EndedCall],
    times: Sequence[tuple[Interval, float]],
    belongs: Callable[[EndedCall, str], bool],
) -> dict[str, list[tuple[Interval, float]]]:
    """Return the intervals and recorded times of the calls that belong to each stage."""
    both = list(zip(answered, times, strict=True))
    return {stage: [told for call, told in both if belongs(call, stage)] for stage in STAGES}


def _ms(intervals: Sequence[Interval], recorded: Sequence[tuple[Interval, float]]) -> float:
    """Return the milliseconds of a union, what was answered from a record replaced."""
    return replaced(intervals, [(each, ms / 1000) for each, ms in recorded]) * 1000
