"""The entry points that retrievers, postprocessors and synthesizers have while a deck is open.

Only the outermost call of a kind is answered or kept; what it calls in turn is a part of it.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.response_synthesizers.base import BaseSynthesizer
from llama_index.core.schema import QueryBundle

from pytest_rag.replay import scope
from pytest_rag.replay.stageagain import AGAIN, AGAIN_IS, Kept
from pytest_rag.replay.values import pack, unpack
from pytest_rag.trace import nested
from pytest_rag.trace.parts import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_rag.replay.scope import Take

__all__ = ["STAGES", "Asked", "Keeper", "Kept", "Kind", "Slot", "text_of"]

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


class Slot(Protocol):
    """Where what a stage returns has its place.

    Attributes:
        asked: The call.
    """

    @property
    def asked(self) -> Asked:
        """The call."""
        ...

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
    before = _vector_of(slot.asked.query)
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
        after = _vector_of(slot.asked.query)
        vector = pack(after) if after and not before else None
        slot.keep(Kept(value=returned[0], part=part, heard=tuple(heard), vector=vector))


def _vector_of(query: Any) -> Any:
    return getattr(query, "embedding", None)


def _is_measured(seen: Any) -> bool:
    try:
        seen.verify(expect_spans=True)
    except Exception:  # noqa: BLE001 - the run's own trace says it as well
        return False
    return True


@contextmanager
def _restoring(kept: Kept, query: Any) -> Iterator[None]:
    take = scope.current()
    if kept.vector is not None and isinstance(query, QueryBundle):
        query.embedding = unpack(kept.vector)
    for key in kept.heard:
        if take is not None:
            take.count(key)
    token = AGAIN_IS.set(kept)
    try:
        yield
    finally:
        AGAIN_IS.reset(token)


def _stage(kind: Kind, original: Any) -> Any:
    @functools.wraps(original)
    def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        own = original.__get__(self, type(self))
        slot = _slot(kind, (self, *args), kwargs)
        if slot is None:
            return own(*args, **kwargs)
        kept = slot.find()
        if kept is not None:
            with _restoring(kept, slot.asked.query):
                return AGAIN[kind].__get__(self, type(self))(*args, **kwargs)
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
            with _restoring(kept, slot.asked.query):
                return await AGAIN[f"a{kind}"].__get__(self, type(self))(*args, **kwargs)
        with _watched(kind, slot) as keep:
            value = await own(*args, **kwargs)
            keep(value)
        return value

    return entry


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


def text_of(asked: Asked) -> Any:
    """Return a question as JSON knows it; its vector only where that may matter."""
    query = asked.query
    if not isinstance(query, QueryBundle):
        return query
    vector = None if asked.kind == "synthesize" else query.embedding
    return [query.query_str, query.custom_embedding_strs, query.image_path, vector]
