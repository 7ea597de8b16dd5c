"""The span and event handlers; imported only once LlamaIndex is."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import (
    EmbeddingStartEvent,
    SparseEmbeddingStartEvent,
)
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionStartEvent,
)
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.response_synthesizers.base import BaseSynthesizer

from pytest_rag.trace.hub import HUB
from pytest_rag.trace.quiet import QuietSpanHandler

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable

    from llama_index.core.instrumentation.events import BaseEvent

    from pytest_rag.trace.model import Trace
    from pytest_rag.types import Stage

__all__ = ["RagEventHandler", "RagSpanHandler"]

_STAGES: tuple[tuple[type, Stage], ...] = (
    (BaseEmbedding, "embed"),
    (BaseSparseEmbedding, "embed"),
    (BaseRetriever, "retrieve"),
    (BaseNodePostprocessor, "rerank"),
    (BaseSynthesizer, "synthesize"),
    (BaseLLM, "llm"),
)


_DELEGATES = "StructuredLLM."
"""How spans begin of a model that hands every call to another, which tells its tokens."""


class _Kind(NamedTuple):
    """What a class of components is.

    Attributes:
        stage: Which its spans belong to, if any.
        by_itself: Whether it is a model that asks no provider.
        may_remember: Whether its objects can hold a memory of what was embedded.
    """

    stage: Stage | None
    by_itself: bool
    may_remember: bool

    def needs_nobody(self, instance: object) -> bool:
        """Tell whether a model may answer without its provider."""
        return self.by_itself or (
            self.may_remember and getattr(instance, "embeddings_cache", None) is not None
        )


@functools.cache
def _kind_of(cls: type[Any]) -> _Kind:
    stage = next((stage for base, stage in _STAGES if issubclass(cls, base)), None)
    by_itself = getattr(cls, "rag_record", True) is False
    return _Kind(stage, by_itself=by_itself, may_remember=stage == "embed")


class RagSpanHandler(QuietSpanHandler):
    """Tells the trace of each span when it opens and ends."""

    def span_enter(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        parent_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note that a span opened."""
        trace = HUB.claim(id_, parent_id)
        if trace is not None:
            with trace.guarded():
                cls: type = instance.__class__
                kind = _kind_of(cls)
                given = bound_args.arguments.get("nodes") if kind.stage == "rerank" else None
                remembers = kind.needs_nobody(instance)
                trace.enter(id_, parent_id, kind.stage, given, remembers=remembers)

    def span_exit(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        result: Any | None = None,
        **kwargs: Any,
    ) -> None:
        """Note that a span ended."""
        trace = HUB.of_span(id_)
        if trace is not None:
            with trace.guarded():
                trace.leave(id_, result)

    def span_drop(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        err: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        """Note that a span was left by an exception."""
        trace = HUB.of_span(id_)
        if trace is not None:
            with trace.guarded():
                trace.drop(id_)


class RagEventHandler(BaseEventHandler):
    """Tells the trace of each call of a model when it starts and ends."""

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        """Note the start or end of a model's call."""
        tell = _teller_of(event.__class__)
        trace = HUB.of_span(event.span_id) if tell is not None else None
        if tell is None or trace is None or str(event.span_id).startswith(_DELEGATES):
            return
        with trace.guarded():
            tell(trace, event)


# --- what an event tells ----------------------------------------------------------------------


def _asked(trace: Trace, event: Any) -> None:
    trace.start_call(event.span_id, "llm", _model_name(event))
    asked = getattr(event, "messages", None) or getattr(event, "prompt", None)
    trace.note_prompt(event.span_id, asked)


def _answered(trace: Trace, event: Any) -> None:
    trace.end_call(event.span_id, event.response)


def _embedding(trace: Trace, event: Any) -> None:
    trace.start_call(event.span_id, "embed", _model_name(event))


def _embedded(trace: Trace, event: Any) -> None:
    trace.end_call(event.span_id, None, event.chunks)


def _broke(trace: Trace, event: Any) -> None:
    trace.break_call(event.span_id)


@functools.cache
def _teller_of(cls: type[BaseEvent]) -> Callable[[Trace, Any], None] | None:
    """Return what a trace is told of events of a class; None where they tell it nothing."""
    tellers = {
        LLMChatStartEvent: _asked,
        LLMCompletionStartEvent: _asked,
        LLMChatEndEvent: _answered,
        LLMCompletionEndEvent: _answered,
        EmbeddingStartEvent: _embedding,
        SparseEmbeddingStartEvent: _embedding,
        ExceptionEvent: _broke,
    }
    if "chunks" in cls.model_fields:
        return _embedded
    return next((tell for kind, tell in tellers.items() if issubclass(cls, kind)), None)


def _model_name(event: Any) -> str:
    """Return the model's name, or where it has none its class's, which begins the span's id."""
    named = (event.model_dict.get(key) for key in ("model", "model_name"))
    own = next((str(name) for name in named if name and name != "unknown"), None)
    return own or str(event.span_id).partition(".")[0]
