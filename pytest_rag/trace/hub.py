"""Which trace a span belongs to."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from pytest_rag.errors import TraceError
from pytest_rag.trace.model import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_rag.trace.marks import Mark

__all__ = ["HUB", "not_asked"]

_current: ContextVar[Trace | None] = ContextVar("pytest_rag_trace", default=None)
_nobody = Trace()

_LOST_CONTEXT = (
    "A span ran in a thread that carries no context, so it cannot be told which of several "
    "concurrent cases it belongs to. Start the thread with contextvars.copy_context().run, or "
    "type --rag-concurrency=1."
)


class Hub:
    """Knows the open traces and the spans of each."""

    def __init__(self) -> None:
        self._active: set[Trace] = set()
        self._adopting: set[Trace] = set()
        self._owner: dict[str, Trace] = {}
        self._lock = threading.RLock()  # the cycle collector ends streams anywhere

    @contextmanager
    def owning(self, trace: Trace) -> Iterator[None]:
        """Let spans opened inside belong to ``trace``; forget them and it at the end."""
        self.open(trace, adopts=True)
        try:
            with self.inside(trace):
                yield
        finally:
            self.close(trace)

    @contextmanager
    def inside(self, trace: Trace) -> Iterator[None]:
        """Let spans opened inside belong to an open trace."""
        token = _current.set(trace)
        try:
            yield
        finally:
            _current.reset(token)

    def open(self, trace: Trace, *, adopts: bool) -> None:
        """Take in a trace; one that ``adopts`` is given spans of threads without context."""
        with self._lock:
            self._active.add(trace)
            if adopts:
                self._adopting.add(trace)

    def close(self, trace: Trace, heir: Trace | None = None) -> None:
        """Forget a trace; its spans are the heir's from now on, if that is open."""
        with self._lock:
            self._active.discard(trace)
            self._adopting.discard(trace)
        for span_id in trace.span_ids():
            if self._owner.get(span_id) is not trace:
                continue
            if heir is not None and heir in self._active:
                self._owner[span_id] = heir
            else:
                del self._owner[span_id]

    def current(self) -> Trace | None:
        """Return the open trace that a span opened here would belong to, or None."""
        found = _current.get()
        return found if found in self._active else None

    def is_spoken_for(self) -> bool:
        """Tell whether spans opened here have a trace, or shall have none."""
        found = _current.get()
        return found is _nobody or found in self._active

    @contextmanager
    def ignoring(self) -> Iterator[None]:
        """Let spans opened inside belong to no trace."""
        token = _current.set(_nobody)
        try:
            yield
        finally:
            _current.reset(token)

    def of_span(self, span_id: str | None) -> Trace | None:
        """Return the open trace that holds a span, or None."""
        return self._owner.get(span_id) if span_id is not None else None

    def waited(self, span_id: str | None, start: float, end: float) -> None:
        """Note that a call waited for its turn, in the trace of this context or of a span."""
        trace = _current.get() or self.of_span(span_id) or self._only()
        if trace is not None and trace in self._active:
            trace.wait(span_id, (start, end))

    def broke(self, mark: Mark, span_id: str | None, *, paid: bool) -> None:
        """Note that an attempt failed; ``paid`` where it may have cost money."""
        with self._lock:
            active = list(self._active)
        for trace in active:
            trace.fail_attempt(mark, span_id, paid=paid)

    def _only(self) -> Trace | None:
        with self._lock:
            return next(iter(self._active)) if len(self._active) == 1 else None

    def claim(self, span_id: str, parent_id: str | None) -> Trace | None:
        """Find the trace of a new span and remember it; None where the span is none of ours."""
        found = _current.get() or self.of_span(parent_id) or self._orphan()
        if found is None or found not in self._active:
            return None
        self._owner[span_id] = found
        return found

    def _orphan(self) -> Trace | None:
        """Give a span of a thread without context to the only open trace, or spoil them all.

        The main thread is pytest's: what opens a span there is a test, not a case.
        """
        if threading.current_thread() is threading.main_thread():
            return None
        with self._lock:
            active = list(self._adopting)
        if len(active) == 1:
            return active[0]
        for trace in active:
            trace.spoil(TraceError(_LOST_CONTEXT))
        return None


HUB = Hub()


def not_asked(mark: Mark) -> None:
    """Note that the call that is open in this context came to no model, so that it cost nothing."""
    from llama_index_instrumentation.span import active_span_id

    HUB.broke(mark, active_span_id.get(), paid=False)
