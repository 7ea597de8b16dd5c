"""The trace of one run: spans by stage, calls of models, and the times that follow from them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import TraceError
from pytest_rag.trace import tokens, usage
from pytest_rag.trace.cpu import cpu_clock
from pytest_rag.trace.found import Found
from pytest_rag.trace.intervals import Interval, length, replaced, subtract
from pytest_rag.trace.marks import MARK, Mark
from pytest_rag.trace.waits import Waits, without
from pytest_rag.types import STAGES, Call, Stage, Timing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Trace", "utc_now"]


@dataclass(slots=True, eq=False)
class _Span:
    parent: _Span | None
    stage: Stage | None
    start: float
    clock: object
    cpu_start: float
    end: float | None = None
    cpu: float = 0.0
    children: list[_Span] = field(default_factory=list)
    call: _OpenCall | None = None
    given: Sequence[Any] = ()
    remembers: bool = False

    def inside_call(self) -> bool:
        """Tell whether a span around this one is already counted as a call."""
        return any(span.call is not None for span in self._above())

    def open_call(self) -> _OpenCall | None:
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

    def _above(self) -> Iterator[_Span]:
        above = self.parent
        while above is not None:
            yield above
            above = above.parent


@dataclass(slots=True, eq=False)
class _OpenCall:
    stage: Stage
    model: str
    start: float
    mark: Mark | None
    asked: Any = None


@dataclass(slots=True, eq=False)
class _EndedCall:
    """A call, and what its tokens can be counted from where the provider did not say."""

    call: Call
    span: _Span
    interval: Interval
    mark: Mark | None
    texts: Sequence[str] = ()
    asked: Any = None
    response: Any = None

    def told(self) -> Call:
        """Return the call with its tokens, and what its mark knows."""
        call, mark = _counted(self), self.mark
        if mark is None:
            return call
        known = call.latency_ms if mark.latency_ms is None else mark.latency_ms
        return replace(call, origin=mark.origin, latency_ms=known)


class Trace:
    """What the instrumentation saw of one run of a pipeline.

    Attributes:
        found: What retrievers and postprocessors returned.
    """

    def __init__(self) -> None:
        self.found = Found()
        self._calls: list[_EndedCall] = []
        self._waits = Waits()
        self._error: BaseException | None = None
        self._spans: dict[str, _Span] = {}
        self._start = time.perf_counter()
        self._end: float | None = None

    @property
    def calls(self) -> list[Call]:
        """Calls of models in the order they ended, without prices."""
        return [self._told(ended) for ended in list(self._calls)]

    @property
    def unmarked(self) -> list[Call]:
        """Calls that nobody stood before; a component's own memory may have answered none."""
        ended = list(self._calls)
        return [self._told(e) for e in ended if e.mark is None and not e.span.remembers]

    # --- what the handlers tell -----------------------------------------------------------

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Keep what a handler raises, which LlamaIndex would swallow."""
        try:
            yield
        except Exception as error:
            self.spoil(error)
            raise

    def spoil(self, error: Exception) -> None:
        """Make `verify` refuse this trace; the first reason stays."""
        self._error = self._error or error

    def span_ids(self) -> list[str]:
        """Return the ids of every span seen."""
        return list(self._spans)

    def enter(
        self,
        span_id: str,
        parent_id: str | None,
        stage: Stage | None,
        given: Any = None,
        *,
        remembers: bool = False,
    ) -> None:
        """Note that a span opened.

        Args:
            span_id: Of the span.
            parent_id: Of the span around it.
            stage: Which it belongs to, if any.
            given: The nodes handed to a postprocessor.
            remembers: True where the component has a memory of its own for answers.
        """
        parent = self._spans.get(parent_id) if parent_id is not None else None
        clock, cpu = cpu_clock()
        span = _Span(
            parent=parent,
            stage=stage,
            start=time.perf_counter(),
            clock=clock,
            cpu_start=cpu,
            given=given if isinstance(given, list) else (),
            remembers=remembers,
        )
        if parent is not None:
            parent.children.append(span)
        self._spans[span_id] = span

    def leave(self, span_id: str, result: Any = None) -> None:
        """Note that a span ended; keeps the nodes where it was a retriever's or postprocessor's."""
        span = self._spans[span_id]
        span.end = time.perf_counter()
        span.cpu = cpu_clock()[1] - span.cpu_start
        if isinstance(result, list) and not span.inside("retrieve", span.stage):
            part = span_id.partition(".")[0]
            if span.stage == "retrieve":
                self.found.add(span.start, result, part)
            elif span.stage == "rerank":
                self.found.replace(span.start, span.given, result, part)

    def drop(self, span_id: str) -> None:
        """Note that a span was left by an exception; a call open on it ended without an answer."""
        self.leave(span_id)
        self.break_call(span_id)

    def break_call(self, span_id: str | None) -> None:
        """Note that a call, if one is open, was left: by an exception, or a stream not read on."""
        self.end_call(span_id, None)

    def give_up(self) -> None:
        """Note that calls which are still open are left, as those of a stream nobody reads on."""
        for span_id, span in list(self._spans.items()):
            if span.call is not None:
                self.break_call(span_id)

    def start_call(self, span_id: str | None, stage: Stage, model: str) -> None:
        """Note that a model was called, unless the call stands for one already open around it."""
        span = self._span(span_id)
        if not span.inside_call():
            mark = MARK.get() if stage == "llm" else None
            span.call = _OpenCall(stage, model, time.perf_counter(), mark)

    def mark_call(self, span_id: str, mark: Mark) -> None:
        """Note who answered the call that is open on a span, or a further part of it."""
        call = self._span(span_id).open_call()
        if call is None:
            return
        if call.mark is None:
            call.mark = replace(mark)
        else:
            call.mark.add(mark)

    def note_prompt(self, span_id: str | None, asked: Any) -> None:
        """Keep what an open call asks, a text or messages, in case nobody counts its tokens."""
        call = self._span(span_id).call
        if call is not None:
            call.asked = asked

    def end_call(self, span_id: str | None, response: Any, texts: Sequence[str] = ()) -> None:
        """Note a model's answer with the tokens its provider counted.

        Args:
            span_id: Of the call.
            response: LlamaIndex's, or None where there is none.
            texts: What was embedded; providers count them, and LlamaIndex drops the count.
        """
        span = self._span(span_id)
        if span.call is None:
            return
        opened, span.call = span.call, None
        now = time.perf_counter()
        told = usage.of_response(response)
        call = Call(
            stage=opened.stage,
            model=told.model or opened.model,
            input_tokens=told.input_tokens,
            cached_input_tokens=told.cached_input_tokens,
            cache_write_tokens=told.cache_write_tokens,
            cache_write_1h_tokens=told.cache_write_1h_tokens,
            output_tokens=told.output_tokens,
            reasoning_tokens=told.reasoning_tokens,
            tier=told.tier,
            latency_ms=(now - opened.start) * 1000,
            ended=utc_now(),
        )
        ended = _EndedCall(call, span, (opened.start, now), opened.mark)
        if texts or told.input_tokens is None or told.output_tokens is None:
            ended.texts, ended.asked, ended.response = texts, opened.asked, response
        self._calls.append(ended)

    def wait(self, span_id: str | None, interval: Interval) -> None:
        """Note that a call waited for a slot, a limit or a back-off: that is no service time."""
        self._waits.add(self._spans.get(span_id or ""), interval)

    def fail_attempt(self, mark: Mark, *, paid: bool) -> None:
        """Note that an attempt of a call failed, and drop it where it cannot have cost anything."""
        for ended in [ended for ended in self._calls if ended.mark is mark]:
            if paid:
                ended.mark = Mark()  # its own measurement, not that of the attempt that answers
            else:
                self._calls.remove(ended)

    def _told(self, ended: _EndedCall) -> Call:
        """Return a call without the time it waited."""
        told = ended.told()
        if ended.mark is not None and ended.mark.latency_ms is not None:
            return told
        waited = length(self._waits.inside(ended.span))
        return replace(told, latency_ms=told.latency_ms - waited * 1000) if waited else told

    def _held(self) -> list[Interval]:
        """Return when calls waited and none was being served."""
        calls = [(ended.interval, self._waits.inside(ended.span)) for ended in self._calls]
        return self._waits.unserved(part for whole, own in calls for part in subtract(whole, own))

    def _span(self, span_id: str | None) -> _Span:
        if span_id is None or span_id not in self._spans:
            raise TraceError("An event of a model's call belongs to no span.")
        return self._spans[span_id]

    # --- what comes out -------------------------------------------------------------------

    def begin(self) -> None:
        """Start the clock anew."""
        self._start = time.perf_counter()

    def end(self) -> None:
        """Stop the clock, or let it stand where it has been stopped."""
        self._end = self._end or time.perf_counter()

    def go_on(self) -> None:
        """Let a stopped clock run on from where it began."""
        self._end = None

    def verify(self, *, expect_spans: bool) -> None:
        """Refuse a measurement that cannot be trusted.

        Args:
            expect_spans: True for a LlamaIndex object, which always opens a root span.

        Raises:
            TraceError: if a handler broke, a call never ended, or no root span was seen.
        """
        if self._error is not None:
            raise TraceError(f"The trace broke: {self._error}") from self._error
        if expect_spans and not self._spans:
            raise TraceError(
                "The pipeline opened no LlamaIndex span, so nothing was measured. Is its class "
                "derived from LlamaIndex's, and are `query` and `retrieve` not overridden?"
            )
        if any(span.call is not None for span in self._spans.values()):
            raise TraceError("A call of a model never ended, so its tokens are unknown.")

    def timing(self, *, wait_ms: float = 0.0) -> Timing:
        """Return where the time went; call it after `end`.

        The own time of a call that was answered from a record gives way to what it took when it
        was live, in its stages and in the whole.
        """
        end = self._end if self._end is not None else time.perf_counter()
        spans = [span for span in self._spans.values() if span.stage is not None]
        inclusive: dict[str, list[Interval]] = {}
        own: dict[str, list[Interval]] = {}
        cpu: dict[str, float] = {}
        for span in spans:
            stage = str(span.stage)
            whole = (span.start, span.end if span.end is not None else end)
            inclusive.setdefault(stage, []).append(whole)
            inner = [(c.start, c.end or end) for c in _staged_below(span)]
            own.setdefault(stage, []).extend(subtract(whole, inner))
            cpu[stage] = cpu.get(stage, 0.0) + _own_cpu(span)
        calls = list(self._calls)
        for call in calls:  # a stream goes on after its span has closed
            if call.call.stage == "llm":
                inclusive.setdefault("llm", []).append(call.interval)
                own.setdefault("llm", []).append(call.interval)
        answered = [call for call in calls if call.mark is not None and call.mark.recorded]
        within = {s: [c for c in answered if s in c.span.stages()] for s in STAGES}
        nearest = {s: [c for c in answered if s == next(c.span.stages(), None)] for s in STAGES}
        held = self._held()
        if held:
            inclusive, own = without(inclusive, held), without(own, held)
        return Timing(
            latency_ms=_ms(subtract((self._start, end), held), answered),
            wait_ms=wait_ms + length(held) * 1000,
            stages_ms={s: _ms(inclusive[s], within[s]) for s in STAGES if s in inclusive},
            self_ms={s: _ms(own[s], nearest[s]) for s in STAGES if s in own},
            cpu_ms={s: max(0.0, cpu[s]) * 1000 for s in STAGES if s in cpu},
        )


def _ms(intervals: Sequence[Interval], answered: Sequence[_EndedCall]) -> float:
    """Return the milliseconds of a union, those of calls answered from a record replaced."""
    calls = [(call.interval, call.told().latency_ms / 1000) for call in answered]
    return replaced(intervals, calls) * 1000


def utc_now() -> str:
    """Return the time of day as records write it: UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _counted(ended: _EndedCall) -> Call:
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


def _staged_below(span: _Span) -> Iterator[_Span]:
    """Yield the nearest spans below that belong to a stage."""
    for child in span.children:
        if child.stage is not None:
            yield child
        else:
            yield from _staged_below(child)


def _own_cpu(span: _Span) -> float:
    """Return a span's processor seconds without those of stages inside it on the same clock."""
    return span.cpu - sum(c.cpu for c in _staged_below(span) if c.clock == span.clock)
