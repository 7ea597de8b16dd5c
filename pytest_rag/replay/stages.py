"""The entry points that retrievers, postprocessors and synthesizers have while a deck is open.

Only the outermost call of a kind is answered or kept; what it calls in turn is a part of it.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.instrumentation.events.retrieval import (
    RetrievalEndEvent,
    RetrievalStartEvent,
)
from llama_index.core.instrumentation.events.synthesis import (
    SynthesizeEndEvent,
    SynthesizeStartEvent,
)
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.response_synthesizers.base import BaseSynthesizer
from llama_index.core.schema import QueryBundle
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.span import active_span_id

from pytest_rag.replay import scope
from pytest_rag.trace import nested
from pytest_rag.trace.hub import HUB
from pytest_rag.trace.parts import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_rag.replay.scope import Take

__all__ = ["STAGES", "Asked", "Keeper", "Kept", "Kind", "Slot"]

Kind = Literal["retrieve", "rerank", "synthesize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a stage is asked.

    Attributes:
        kind: Of stage.
        component: LlamaIndex's object.
        query: The question, or None.
        nodes: Handed to it, those that are only sources last.
        options: Further keyword arguments.
    """

    kind: Kind
    component: Any
    query: Any = None
    nodes: tuple[Any, ...] = ()
    options: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a stage returned once.

    Attributes:
        value: LlamaIndex's nodes or response.
        part: What it took.
        heard: Keys of the calls of models in it.
    """

    value: Any
    part: Part
    heard: tuple[str, ...] = ()


class Slot(Protocol):
    """Where what a stage returns has its place."""

    def find(self) -> Kept | None:
        """Return what is kept there, or None."""
        ...

    def keep(self, kept: Kept) -> None:
        """Keep what it returned, where that can be written."""
        ...


class Keeper(Protocol):
    """Knows what stages returned in earlier runs."""

    def slot(self, asked: Asked, take: Take) -> Slot | None:
        """Return the place of a call; None where it has none."""
        ...


_open: ContextVar[frozenset[Kind]] = ContextVar("pytest_rag_stages", default=frozenset())
_again: ContextVar[Kept] = ContextVar("pytest_rag_stage_again")
_dispatcher = get_dispatcher(__name__)


# --- what is asked ----------------------------------------------------------------------------


def _asked_retriever(component: Any, str_or_query_bundle: Any) -> Asked:
    query = str_or_query_bundle
    return Asked(kind="retrieve", component=component, query=query, options={})


def _asked_postprocessor(
    component: Any, nodes: Any, query_bundle: Any = None, query_str: Any = None
) -> Asked:
    query = query_bundle if query_str is None else query_str
    return Asked(kind="rerank", component=component, query=query, nodes=tuple(nodes), options={})


def _asked_synthesizer(
    component: Any, query: Any, nodes: Any, additional_source_nodes: Any = None, **more: Any
) -> Asked:
    given = (*nodes, *(additional_source_nodes or ()))
    options = {**more, "read": len(nodes)}
    return Asked(kind="synthesize", component=component, query=query, nodes=given, options=options)


_ASKED: dict[Kind, Callable[..., Asked]] = {
    "retrieve": _asked_retriever,
    "rerank": _asked_postprocessor,
    "synthesize": _asked_synthesizer,
}


def _slot(kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Slot | None:
    """Return the place of a call; None where it is none of ours, or part of another."""
    take = scope.recorded()
    if take is None or not take.case or take.judge or scope.is_inside_call():
        return None
    keeper: Keeper | None = getattr(take.tape.source, "stages", None)
    if keeper is None or kind in _open.get():
        return None
    if getattr(args[0], "_streaming", False):
        return None
    try:
        asked = _ASKED[kind](*args, **kwargs)
    except TypeError:  # the component's own method says what is wrong with that
        return None
    return keeper.slot(asked, take)


# --- a stage that runs ------------------------------------------------------------------------


@contextmanager
def _inside(kind: Kind) -> Iterator[None]:
    token = _open.set(_open.get() | {kind})
    try:
        yield
    finally:
        _open.reset(token)


@contextmanager
def _watched(kind: Kind, slot: Slot) -> Iterator[Callable[[Any], None]]:
    """Measure what runs inside; yield what takes the value that it returned, to be kept."""
    returned: list[Any] = []
    seen = nested()
    try:
        with seen.inside(), _inside(kind), scope.listening() as heard:
            yield returned.append
    finally:
        seen.close()
    found = [step for step in seen.found.steps if step.stage != kind]
    # What another stage found in it would be missing from the trace.
    lost = kind == "synthesize" and found
    if returned and seen.is_whole and not lost and _is_measured(seen):
        part = Part(timing=seen.timing(), calls=tuple(seen.calls))
        slot.keep(Kept(value=returned[0], part=part, heard=tuple(heard)))


def _is_measured(seen: Any) -> bool:
    try:
        seen.verify(expect_spans=True)
    except Exception:  # noqa: BLE001 - the run's own trace says it as well
        return False
    return True


@contextmanager
def _restoring(kept: Kept) -> Iterator[None]:
    take = scope.current()
    for key in kept.heard:
        if take is not None:
            take.count(key)
    token = _again.set(kept)
    try:
        yield
    finally:
        _again.reset(token)


def _stage(kind: Kind, original: Any) -> Any:
    @functools.wraps(original)
    def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        own = original.__get__(self, type(self))
        slot = _slot(kind, (self, *args), kwargs)
        if slot is None:
            return own(*args, **kwargs)
        kept = slot.find()
        if kept is not None:
            with _restoring(kept):
                return _AGAIN[kind].__get__(self, type(self))(*args, **kwargs)
        with _watched(kind, slot) as keep:
            value = own(*args, **kwargs)
            keep(value)
        return value

    return entry


def _astage(kind: Kind, original: Any) -> Any:
    @functools.wraps(original)
    async def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        own = original.__get__(self, type(self))
        slot = _slot(kind, (self, *args), kwargs)
        if slot is None:
            return await own(*args, **kwargs)
        kept = slot.find()
        if kept is not None:
            with _restoring(kept):
                return await _AGAIN_ASYNC[kind].__get__(self, type(self))(*args, **kwargs)
        with _watched(kind, slot) as keep:
            value = await own(*args, **kwargs)
            keep(value)
        return value

    return entry


# --- a stage that is there already ------------------------------------------------------------


def _restored() -> Any:
    """Return what was returned once, and let the trace know what it took."""
    kept = _again.get()
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


_AGAIN: dict[Kind, Any] = {
    "retrieve": retrieve,
    "rerank": _postprocess_nodes,
    "synthesize": synthesize,
}
_AGAIN_ASYNC: dict[Kind, Any] = {
    "retrieve": aretrieve,
    "rerank": _apostprocess_nodes,
    "synthesize": asynthesize,
}


def _methods(kind: Kind, name: str) -> dict[str, Callable[[Any], Any]]:
    return {
        name: functools.partial(_stage, kind),
        f"a{name}": functools.partial(_astage, kind),
    }


STAGES: tuple[tuple[type, dict[str, Callable[[Any], Any]]], ...] = (
    (BaseRetriever, _methods("retrieve", "retrieve")),
    (BaseNodePostprocessor, _methods("rerank", "postprocess_nodes")),
    (BaseSynthesizer, _methods("synthesize", "synthesize")),
)
"""What stands before the methods of each kind of part, by name."""


def text_of(query: Any) -> Any:
    """Return a question as JSON knows it."""
    if isinstance(query, QueryBundle):
        return [query.query_str, query.custom_embedding_strs, query.embedding, query.image_path]
    return query
