"""A LlamaIndex query engine, retriever, chat engine, workflow, or any callable → Pipeline."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import PipelineError
from pytest_rag.pipelines.awaiting import is_natively_async
from pytest_rag.pipelines.corpus_ids import document_ids
from pytest_rag.pipelines.filters import with_filters

if TYPE_CHECKING:
    from pytest_rag.replay.pacing import Pacer
    from pytest_rag.replay.scope import Tape

__all__ = ["Pipeline", "adapt"]

Filters = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The system under test, whatever it is made of.

    Attributes:
        name: Its class or function, for messages.
        ask: Takes the query and the case's filters; the result may be awaitable or a stream.
        is_async: True where ``ask`` returns an awaitable and does not block.
        traced: True for a LlamaIndex object, whose run always opens a span.
        concurrency: The most runs at a time, or None for no limit of its own.
        document_key: Metadata key that names a node's document; None for ``ref_doc_id``.
        documents: Ids of the documents its index holds, or None where it cannot tell.
        fingerprint: Of corpus and parameters, or None where it cannot tell.
        corpus: Fingerprint of the corpus alone, or None where it cannot tell.
        deterministic: True where it says that the same question always gets the same answer.
        tape: Its way to its models, or None where they are asked directly.
    """

    name: str
    ask: Callable[[str, Filters], Any]
    is_async: bool
    traced: bool
    concurrency: int | None = None
    document_key: str | None = None
    documents: frozenset[str] | None = None
    fingerprint: str | None = None
    corpus: str | None = None
    deterministic: bool = False
    tape: Tape | None = None

    @property
    def pacer(self) -> Callable[[], Pacer] | None:
        """Returns what paces calls of models; None where nothing does."""
        return None if self.tape is None else self.tape.pacer

    @property
    def may_be_free(self) -> bool:
        """Whether all that costs money are calls which may have been answered before."""
        origin = "live" if self.tape is None else self.tape.source.origin
        return origin == "cassette" or (origin == "cache" and self.traced)


def adapt(target: Any, document_key: str | None = None) -> Pipeline:
    """Wrap what a factory or the ``rag_pipeline`` fixture returned.

    An object may say with an attribute ``rag_concurrency`` how many of its runs may overlap.

    Args:
        target: The object under test.
        document_key: Metadata key that names a node's document, or None; the local pipeline
            names documents itself.

    Raises:
        PipelineError: if it is nothing that can be asked.
    """
    if isinstance(target, Pipeline):
        return target
    adapter = _adapter(target)
    if adapter is None:
        raise PipelineError(_not_a_pipeline(target))
    if adapter is _local:
        document_key = None
    ask, is_async, traced, concurrency = adapter(target)
    own_limit = getattr(target, "rag_concurrency", None)
    return Pipeline(
        name=getattr(target, "__qualname__", type(target).__name__),
        ask=ask,
        is_async=is_async,
        traced=traced,
        concurrency=own_limit if own_limit is not None else concurrency,
        document_key=document_key,
        documents=document_ids(target, document_key),
        fingerprint=_text_or_none(getattr(target, "fingerprint", None)),
        corpus=_text_or_none(getattr(target, "corpus_fingerprint", None)),
        deterministic=getattr(target, "deterministic", False) is True,
    )


_Adapted = tuple[Callable[[str, Filters], Any], bool, bool, int | None]


def _adapter(target: Any) -> Callable[[Any], _Adapted] | None:
    local = sys.modules.get("pytest_rag.pipelines.local")
    if local is not None and isinstance(target, local.LocalPipeline):
        return _local
    if "llama_index.core" in sys.modules:
        from llama_index.core.base.base_query_engine import BaseQueryEngine
        from llama_index.core.base.base_retriever import BaseRetriever
        from llama_index.core.chat_engine.types import BaseChatEngine
        from workflows import Workflow

        for base, adapter in (
            (BaseQueryEngine, _query_engine),
            (BaseRetriever, _retriever),
            (BaseChatEngine, _chat_engine),
            (Workflow, _workflow),
        ):
            if isinstance(target, base):
                return adapter
    return _callable if callable(target) and not isinstance(target, type) else None


def _not_a_pipeline(target: Any) -> str:
    if isinstance(target, type):
        return f"The factory returned the class {target.__name__} itself. Return an object of it."
    hint = ""
    if hasattr(target, "as_query_engine"):
        hint = f" Return {type(target).__name__}.as_query_engine() instead."
    return (
        f"{type(target).__name__} {target!r:.80} is no pipeline. Expected a LlamaIndex query "
        f"engine, retriever, chat engine or workflow, or a function of the query.{hint}"
    )


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


# --- one adapter a kind -----------------------------------------------------------------------


def _local(target: Any) -> _Adapted:
    """Run one question at a time where all the work is this processor's own."""
    if target.deterministic:
        return target.query, False, True, 1
    return target.aquery, True, True, None


def _query_engine(engine: Any) -> _Adapted:
    is_async = is_natively_async(engine)

    def ask(query: str, filters: Filters) -> Any:
        asked = with_filters(engine, filters) if filters else engine
        return asked.aquery(query) if is_async else asked.query(query)

    return ask, is_async, True, None


def _retriever(retriever: Any) -> _Adapted:
    is_async = is_natively_async(retriever)

    def ask(query: str, filters: Filters) -> Any:
        asked = with_filters(retriever, filters) if filters else retriever
        return asked.aretrieve(query) if is_async else asked.retrieve(query)

    return ask, is_async, True, None


def _chat_engine(engine: Any) -> _Adapted:
    """Run one question at a time, in a thread: an engine has one memory, which may block."""

    def ask(query: str, filters: Filters) -> Any:
        asked = with_filters(engine, filters) if filters else engine
        asked.reset()  # a case must not see the one before it
        return asked.chat(query)

    return ask, False, True, 1


def _workflow(workflow: Any) -> _Adapted:
    names = _start_parameters(workflow)
    parameter = _query_parameter(workflow, names)

    async def ask(query: str, filters: Filters) -> Any:
        given: dict[str, Any] = {parameter: query}
        if filters:
            if names is not None and "filters" not in names:
                _refuse(filters, workflow)
            given["filters"] = dict(filters)
        return await workflow.run(**given)

    return ask, True, False, None


def _start_parameters(workflow: Any) -> list[str] | None:
    """Return the fields of a workflow's own start event; None where it takes any."""
    return list(workflow.start_event_class.model_fields) or None


_QUERY_NAMES = ("query", "question", "user_msg", "query_str", "input", "message", "msg", "text")


def _query_parameter(workflow: Any, names: list[str] | None) -> str:
    if names is None:
        return "user_msg" if "Agent" in type(workflow).__name__ else "query"
    found = next((name for name in _QUERY_NAMES if name in names), None)
    if found is None:
        raise PipelineError(
            f"The start event of {type(workflow).__name__} has the fields {', '.join(names)}; "
            "none of them is the query. Name it 'query', or let the factory return a function."
        )
    return found


def _refuse(filters: Filters, target: Any) -> None:
    if filters:
        raise PipelineError(
            f"The case has filters, but {type(target).__name__} takes none. Let the factory return "
            "a function with the parameters (query, filters)."
        )


def _callable(function: Any) -> _Adapted:
    called = function if inspect.isroutine(function) else type(function).__call__
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)
    takes_filters = _takes_filters(function)

    def ask(query: str, filters: Filters) -> Any:
        if takes_filters:
            return function(query, filters=dict(filters))
        _refuse(filters, function)
        return function(query)

    return ask, is_async, False, None


def _takes_filters(function: Any) -> bool:
    """Tell whether a callable names a parameter ``filters``; check that it takes a query at all."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False
    takes = "filters" in signature.parameters
    try:
        signature.bind("query", **({"filters": {}} if takes else {}))
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise PipelineError(
            f"{name}{signature} cannot be called with the query alone: {error}. A callable "
            "pipeline takes the query, and `filters` where it names such a parameter."
        ) from None
    return takes
