"""Spans and calls of models as a trace keeps them, and what a call's tokens are counted from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_rag.trace import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_rag.trace.intervals import Interval
    from pytest_rag.trace.marks import Mark
    from pytest_rag.types import Call, Stage

__all__ = ["EndedCall", "OpenCall", "Span", "own_cpu", "staged_below"]


@dataclass(slots=True, eq=False)
class Span:
    """A span of LlamaIndex's, open until it has an end."""

    parent: Span | None
    stage: Stage | None
    start: float
    clock: object
    cpu_start: float
    end: float | None = None
    cpu: float = 0.0
    children: list[Span] = field(default_factory=list)
    call: OpenCall | None = None
    given: Sequence[Any] = ()
    remembers: bool = False

    def inside_call(self) -> bool:
        """Tell whether a span around this one is already counted as a call."""
        return any(span.call is not None for span in self._above())

    def open_call(self) -> OpenCall | None:
        """Return the call that is open on this span or around it."""
        return next((s.call for s in (self, *self._above()) if s.call is not None), None)

    def inside(self, *stages: Stage | None) -> bool:
        """Tell whether a span around this one belongs to one of some stages."""
        return any(span.stage in stages for span in self._above())

    def within(self, other: object) -> bool:
        """Tell whether this span is another, or inside it."""
        return self is other or any(span is other for span in self._above())

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of this span and those around it, from the inside out."""
        yield from (s.stage for s in (self, *self._above()) if s.stage is not None)

    def _above(self) -> Iterator[Span]:
        above = self.parent
        while above is not None:
            yield above
            above = above.parent


@dataclass(slots=True, eq=False)
class OpenCall:
    """A call of a model that has no answer yet, or not to all batches of its texts."""

    stage: Stage
    model: str
    start: float
    mark: Mark | None
    asked: Any = None
    batches: int = 1
    broke: bool = False
    texts: list[str] = field(default_factory=list)

    def is_told(self) -> bool:
        """Tell whether it came to nothing but attempts that are known already."""
        return self.broke and self.batches == 1 and not self.texts


@dataclass(slots=True, eq=False)
class EndedCall:
    """A call, and what its tokens can be counted from where the provider did not say."""

    call: Call
    span: Span
    interval: Interval
    mark: Mark | None
    texts: Sequence[str] = ()
    asked: Any = None
    response: Any = None
    restored: bool = False

    def told(self) -> Call:
        """Return the call with its tokens, and what its mark knows."""
        call, mark = _counted(self), self.mark
        if mark is None:
            return call
        known = call.latency_ms if mark.latency_ms is None else mark.latency_ms
        return replace(call, origin=mark.origin, latency_ms=known)


def _counted(ended: EndedCall) -> Call:
    """Return a call with its tokens, counted here where they were not told and can be."""
    call = ended.call
    if ended.texts:
        embedded = tokens.of_texts(call.model, ended.texts)
        return call if embedded is None else replace(call, input_tokens=embedded, estimated=True)
    if ended.response is None or call.stage != "llm":
        return call
    given, said = call.input_tokens, call.output_tokens
    if given is None:
        given = tokens.of_prompt(call.model, ended.asked)
    if said is None:
        said = tokens.of_answer(call.model, ended.response)
    if (given, said) == (call.input_tokens, call.output_tokens):
        return call
    return replace(call, input_tokens=given, output_tokens=said, estimated=True)


def staged_below(span: Span) -> Iterator[Span]:
    """Yield the nearest spans below that belong to a stage."""
    for child in span.children:
        if child.stage is not None:
            yield child
        else:
            yield from staged_below(child)


def own_cpu(span: Span) -> float:
    """Return a span's processor seconds without those of stages inside it on the same clock."""
    return span.cpu - sum(c.cpu for c in staged_below(span) if c.clock == span.clock)
