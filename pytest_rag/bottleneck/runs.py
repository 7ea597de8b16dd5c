"""Results as a record holds them → numbers that can be believed, whatever wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isfinite
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from pytest_rag.types import STAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_rag.records import Result

__all__ = ["OUTSIDE", "Seen", "mean", "number", "ordinary", "part_ms", "seen_of"]

OUTSIDE = "outside"
_SLOW = 3.0
"""How many times the median a run may take and still be an ordinary one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A run of a case that was timed.

    Attributes:
        result: As recorded.
        latency: Milliseconds.
        own: Own milliseconds by stage, and what lies outside all of them.
        cpu: Processor milliseconds by stage.
        place: How many results of its evalset came before it.
    """

    result: Result
    latency: float
    own: Mapping[str, float]
    cpu: Mapping[str, float]
    place: int

    @property
    def spoken(self) -> list[Mapping[str, Any]]:
        """Calls of language models, without the judges'."""
        return [call for call in self.result.calls if call.get("stage") == "llm"]

    @property
    def input_tokens(self) -> float | None:
        """What language models read, or None where one did not tell; 0 where none was asked."""
        return _sum(self.spoken, "input_tokens", self.result.input_tokens)

    @property
    def output_tokens(self) -> float | None:
        """What they wrote, likewise."""
        return _sum(self.spoken, "output_tokens", self.result.output_tokens)

    @property
    def relevant(self) -> list[str]:
        """Documents that are gold, as ids or globs; without the section or page in them."""
        grades = ((name, gold.get("grade", 1)) for name, gold in self.result.gold.items())
        return [name.partition("#")[0] for name, grade in grades if (number(grade) or 0) > 0]

    def is_relevant(self, document: str) -> bool:
        """Tell whether a document is gold of this case."""
        return any(name == document or fnmatchcase(document, name) for name in self.relevant)


def number(value: Any) -> float | None:
    """Return what a record holds as a number; None for anything else, and for no number."""
    told = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if told else None


def _sum(calls: Sequence[Mapping[str, Any]], key: str, told: Any) -> float | None:
    if not calls:
        return number(told)
    counts = [number(call.get(key)) for call in calls]
    return None if None in counts else sum(c for c in counts if c is not None)


def seen_of(results: Iterable[Result]) -> list[Seen]:
    """Return the runs that came to an end and have a latency."""
    found = []
    for place, result in enumerate(results):
        latency = number(result.latency_ms)
        if result.outcome in ("passed", "failed") and latency is not None and latency >= 0:
            own = _times(result.self_ms)
            own[OUTSIDE] = max(0.0, latency - sum(own.values()))
            cpu = _times(result.cpu_ms)
            found.append(Seen(result=result, latency=latency, own=own, cpu=cpu, place=place))
    return found


def _times(told: Mapping[str, Any]) -> dict[str, float]:
    return {s: ms for s in STAGES if (ms := number(told.get(s))) is not None and ms >= 0}


def ordinary(seen: Sequence[Seen]) -> list[Seen]:
    """Return the runs that took no more than three times the median; the others are outliers."""
    if not seen:
        return []
    most = _SLOW * median(each.latency for each in seen)
    return [each for each in seen if each.latency <= most]


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def part_ms(seen: Sequence[Seen], stage: str) -> list[tuple[str, float]]:
    """Return the classes of a stage with their own milliseconds a run, the longest first."""
    total: dict[str, float] = {}
    for each in seen:
        for part, ms in _own_spans(each.result.spans, stage):
            total[part] = total.get(part, 0.0) + ms
    return sorted(((p, ms / len(seen)) for p, ms in total.items()), key=lambda each: -each[1])


def _own_spans(spans: Sequence[Sequence[Any]], stage: str) -> Iterable[tuple[str, float]]:
    """Yield each span of a stage: its class, and its time without the spans inside it."""
    for place, (depth, name, part, _, ms) in enumerate(spans):
        if name != stage:
            continue
        inside = 0.0
        for below, _, _, _, other in spans[place + 1 :]:
            if below <= depth:
                break
            inside += other if below == depth + 1 else 0.0
        yield str(part), max(0.0, ms - inside)
