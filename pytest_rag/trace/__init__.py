"""LlamaIndex instrumentation → Trace: stages, calls of models, tokens; nothing is patched.

One span handler and one event handler hang on LlamaIndex's root dispatcher. A context variable
says which trace a span belongs to, so concurrent cases never mix. LlamaIndex swallows what a
handler raises; ours keep the error in the trace, and leaving `trace` raises it.
"""

from __future__ import annotations

import functools
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_rag.trace.hub import HUB
from pytest_rag.trace.model import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_rag.trace.nested import NestedTrace

__all__ = ["Trace", "install", "is_traced", "nested", "opened", "overheard", "trace", "untraced"]


@functools.cache
def install() -> None:
    """Hang the two handlers on LlamaIndex's root dispatcher, once a process."""
    from llama_index_instrumentation import get_dispatcher

    from pytest_rag.trace.handlers import RagEventHandler, RagSpanHandler

    root = get_dispatcher()
    root.add_span_handler(RagSpanHandler())
    root.add_event_handler(RagEventHandler())


@functools.cache
def _wait() -> None:
    """Install them as soon as LlamaIndex opens a span, once a process."""
    from llama_index_instrumentation import get_dispatcher

    from pytest_rag.trace.waking import Waking

    get_dispatcher().add_span_handler(Waking())


@contextmanager
def trace(*, expect_spans: bool) -> Iterator[Trace]:
    """Trace what runs inside, in this context and the tasks and threads that copy it.

    Args:
        expect_spans: True for a LlamaIndex object: a trace without a root span is then an error.

    Raises:
        TraceError: at the end, if the measurement cannot be trusted.
    """
    if expect_spans or "llama_index.core" in sys.modules:
        install()
    opened = Trace()
    try:
        with HUB.owning(opened):
            yield opened
    finally:
        opened.end()
    opened.verify(expect_spans=expect_spans)


@contextmanager
def overheard() -> Iterator[Trace]:
    """Hear of the calls that are made inside, and refuse nothing: what is built is no measurement.

    LlamaIndex may be imported inside; its first call is then heard as well.
    """
    install() if "llama_index.core" in sys.modules else _wait()
    opened = Trace()
    try:
        with HUB.owning(opened):
            yield opened
    finally:
        opened.give_up()
        opened.end()


@contextmanager
def untraced() -> Iterator[None]:
    """Keep what runs inside out of every trace, as when a judge's model is made."""
    with HUB.ignoring():
        yield


def nested() -> NestedTrace:
    """Open a trace of one part of what runs here; whoever opened it closes it.

    What it sees, the trace around it sees too, where there is one.
    """
    from pytest_rag.trace.nested import NestedTrace

    install()
    return NestedTrace(HUB.current())


def is_traced() -> bool:
    """Tell whether somebody sees what runs here, or has said that nobody shall."""
    return HUB.is_spoken_for()


def opened() -> Trace:
    """Open a trace that goes on until ``HUB.close``; spans belong to it ``HUB.inside`` it."""
    if "llama_index.core" in sys.modules:
        install()
    made = Trace()
    HUB.open(made, adopts=True)
    return made
