"""The trace of one run: spans by stage, calls of models, and the times that follow from them."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import TraceError
from pytest_rag.trace import usage
from pytest_rag.trace.cpu import cpu_clock
from pytest_rag.trace.found import Found
from pytest_rag.trace.intervals import Interval, length, subtract
from pytest_rag.trace.marks import MARK, STARTED, Mark
from pytest_rag.trace.restored import Restored
from pytest_rag.trace.spans import EndedCall, OpenCall, Span
from pytest_rag.trace.timing import Timeline
from pytest_rag.trace.waits import Waits
from pytest_rag.types import Call, Stage, Timing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_rag.trace.parts import Part

__all__ = ["Trace", "utc_now"]


class Trace:
    """What the instrumentation saw of one run of a pipeline.

    Attributes:
        found: What retrievers and postprocessors returned.
        roots: How many spans had none around them.
    """

    def __init__(self) -> None:
        self.found = Found()
        self._calls: list[EndedCall] = []
        self._waits = Waits()
        self._error: BaseException | None = None
        self._restored: list[Restored] = []
        self._spans: dict[str, Span] = {}
        self.roots = 0
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

    def guarded(self) -> _Guarded:
        """Keep what a handler raises, which LlamaIndex would swallow."""
        return _Guarded(self)

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
        self.roots += parent_id is None
        parent = self._spans.get(parent_id) if parent_id is not None else None
        clock, cpu = cpu_clock()
        span = Span(
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
        if span.call is not None and stage == "embed":
            span.call.batches += 1
        elif not span.inside_call():
            mark = MARK.get() if stage == "llm" else None
            span.call = OpenCall(stage, model, time.perf_counter(), mark)
            _hear(model)

    def add_call(
        self, span_id: str, model: str, mark: Mark | None, asked: Any, response: Any
    ) -> None:
        """Note a call of a language model that told nobody of itself, from its span's start on."""
        span = self._span(span_id)
        if span.call is None and not span.inside_call():
            span.call = OpenCall("llm", model, span.start, mark, asked)
            _hear(model)
            self.end_call(span_id, response)

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
        opened = span.call
        if opened is None:
            return
        if not texts and response is None and opened.is_told():
            span.call = None
            return
        opened.texts += texts
        opened.batches -= 1
        if texts and opened.batches:
            return
        span.call = None
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
        ended = EndedCall(call, span, (opened.start, now), opened.mark)
        if opened.texts or told.input_tokens is None or told.output_tokens is None:
            ended.texts, ended.asked, ended.response = opened.texts, opened.asked, response
        self._calls.append(ended)

    def restore(self, span_id: str, part: Part) -> None:
        """Let a span, which is open, stand for a part of an earlier run."""
        span = self._span(span_id)
        self._restored.append(Restored(span, part))
        now = time.perf_counter()
        for call in part.from_cache():
            mark = Mark(origin="cache", latency_ms=call.latency_ms, recorded=True)
            told = replace(call, ended=utc_now())
            self._calls.append(EndedCall(told, span, (now, now), mark, restored=True))

    def wait(self, span_id: str | None, interval: Interval) -> None:
        """Note that a call waited for a slot, a limit or a back-off: that is no service time."""
        self._waits.add(self._spans.get(span_id or ""), interval)

    def fail_attempt(self, mark: Mark, span_id: str | None, *, paid: bool) -> None:
        """Note that an attempt of a call failed, and drop it where it cannot have cost anything.

        Args:
            mark: Of the call, where a language model is asked: each attempt is a call.
            span_id: Of the call of an embedding model, which has all attempts in it.
            paid: Whether it may have cost money.
        """
        for ended in [ended for ended in self._calls if ended.mark is mark]:
            if paid:
                ended.mark = Mark()  # its own measurement, not that of the attempt that answers
            else:
                self._calls.remove(ended)
        span = self._spans.get(span_id or "")
        opened = None if span is None else span.open_call()
        if span is not None and opened is not None and opened.stage == "embed":
            opened.broke = True
            if paid:
                self._calls.append(_broken_embedding(opened, span))

    def _told(self, ended: EndedCall) -> Call:
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

    def _span(self, span_id: str | None) -> Span:
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
        held = self._held()
        if not (self._spans or self._calls or self._restored or held):  # nothing but the whole
            return Timing(latency_ms=(end - self._start) * 1000, wait_ms=wait_ms)
        calls = [call for call in self._calls if not call.restored]
        timeline = Timeline((self._start, end), dict(self._spans), calls)
        return timeline.timing(list(self._restored), held, wait_ms)


class _Guarded:
    """A context that is entered some thirty times a question."""

    __slots__ = ("_trace",)

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if isinstance(error, Exception):
            self._trace.spoil(error)


def _broken_embedding(opened: OpenCall, span: Span) -> EndedCall:
    """Return an attempt whose cost nobody knows."""
    now = time.perf_counter()
    ms = (now - opened.start) * 1000
    call = Call(stage="embed", model=opened.model, latency_ms=ms, ended=utc_now())
    return EndedCall(call, span, (opened.start, now), Mark())


def _hear(model: str) -> None:
    heard = STARTED.get()
    if heard is not None:
        heard.append(model)


def utc_now() -> str:
    """Return the time of day as records write it: UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
