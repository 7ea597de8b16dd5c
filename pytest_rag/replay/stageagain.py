"""LlamaIndex's own spans and events around a stage that is not run but stands as it was."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_index.core.instrumentation.events.retrieval import (
    RetrievalEndEvent,
    RetrievalStartEvent,
)
from llama_index.core.instrumentation.events.synthesis import (
    SynthesizeEndEvent,
    SynthesizeStartEvent,
)
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.span import active_span_id

from pytest_rag.trace.hub import HUB

if TYPE_CHECKING:
    from pytest_rag.trace.parts import Part

__all__ = ["AGAIN", "AGAIN_IS", "Kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a stage returned once.

    Attributes:
        value: LlamaIndex's nodes or response.
        part: What it took.
        heard: Keys of the calls of models in it.
        vector: Of the question, packed, where the stage left it on the question for others.
    """

    value: Any
    part: Part
    heard: tuple[str, ...] = ()
    vector: str | None = None


AGAIN_IS: ContextVar[Kept] = ContextVar("pytest_rag_stage_again")
"""What the stage that is called in this context returns."""

_dispatcher = get_dispatcher(__name__)


def _restored() -> Any:
    """Return what was returned once, and let the trace know what it took."""
    kept = AGAIN_IS.get()
    span_id = active_span_id.get()
    trace = HUB.of_span(span_id)
    if trace is not None and span_id is not None:
        with trace.guarded():
            trace.restore(span_id, kept.part)
    return kept.value


@_dispatcher.span
def retrieve(self: Any, str_or_query_bundle: Any) -> Any:
    """Return the nodes again."""
    _dispatcher.event(RetrievalStartEvent(str_or_query_bundle=str_or_query_bundle))
    nodes = _restored()
    _dispatcher.event(RetrievalEndEvent(str_or_query_bundle=str_or_query_bundle, nodes=nodes))
    return nodes


@_dispatcher.span
async def aretrieve(self: Any, str_or_query_bundle: Any) -> Any:
    """Return the nodes again."""
    _dispatcher.event(RetrievalStartEvent(str_or_query_bundle=str_or_query_bundle))
    await asyncio.sleep(0)
    nodes = _restored()
    _dispatcher.event(RetrievalEndEvent(str_or_query_bundle=str_or_query_bundle, nodes=nodes))
    return nodes


@_dispatcher.span
def _postprocess_nodes(
    self: Any, nodes: Any, query_bundle: Any = None, query_str: Any = None
) -> Any:
    return _restored()


@_dispatcher.span
async def _apostprocess_nodes(
    self: Any, nodes: Any, query_bundle: Any = None, query_str: Any = None
) -> Any:
    await asyncio.sleep(0)
    return _restored()


@_dispatcher.span
def synthesize(self: Any, query: Any, nodes: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the response again."""
    _dispatcher.event(SynthesizeStartEvent(query=query))
    response = _restored()
    _dispatcher.event(SynthesizeEndEvent(query=query, response=response))
    return response


@_dispatcher.span
async def asynthesize(self: Any, query: Any, nodes: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the response again."""
    _dispatcher.event(SynthesizeStartEvent(query=query))
    await asyncio.sleep(0)
    response = _restored()
    _dispatcher.event(SynthesizeEndEvent(query=query, response=response))
    return response


AGAIN: dict[str, Any] = {
    "retrieve": retrieve,
    "aretrieve": aretrieve,
    "rerank": _postprocess_nodes,
    "arerank": _apostprocess_nodes,
    "synthesize": synthesize,
    "asynthesize": asynthesize,
}
"""By kind of stage, those that are awaited with an ``a`` in front."""
