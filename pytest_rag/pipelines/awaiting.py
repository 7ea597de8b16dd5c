"""Whether a LlamaIndex component's asynchronous methods await, or block the event loop."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["is_natively_async"]


def is_natively_async(component: Any) -> bool:
    """Tell whether every part of an engine or retriever awaits where it is asked to.

    Many async methods merely call the synchronous one, LlamaIndex's defaults among them. On the
    event loop that would stop every other case, so such a component is asked in a thread. The
    parts looked at are those it keeps as attributes: retrievers, engines and language models.
    """
    return all(_awaits(part) for part in _parts(component, set()))


def _parts(component: Any, seen: set[int]) -> Iterator[Any]:
    """Yield a component and every part of it that can block, each once."""
    from llama_index.core.base.base_query_engine import BaseQueryEngine
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.llms.base import BaseLLM
    from llama_index.core.response_synthesizers import BaseSynthesizer

    kinds = (BaseQueryEngine, BaseRetriever, BaseLLM, BaseSynthesizer)
    if not isinstance(component, kinds) or id(component) in seen:
        return
    seen.add(id(component))
    yield component
    for value in vars(component).values():
        several = isinstance(value, list | tuple | Mapping)
        values = value.values() if isinstance(value, Mapping) else value if several else (value,)
        for part in values:
            yield from _parts(part, seen)


def _awaits(part: Any) -> bool:
    from llama_index.core.base.base_query_engine import BaseQueryEngine
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.llms import CustomLLM
    from llama_index.core.query_engine import CustomQueryEngine

    kind = type(part)
    if isinstance(part, CustomQueryEngine):
        return _has_await(kind.acustom_query)
    if isinstance(part, BaseQueryEngine):
        return _has_await(kind._aquery)  # noqa: SLF001
    if isinstance(part, BaseRetriever):
        return _has_await(kind._aretrieve)  # noqa: SLF001
    if isinstance(part, CustomLLM):
        name = "achat" if part.metadata.is_chat_model else "acomplete"
        own = inspect.getattr_static(kind, name)
        return own is not inspect.getattr_static(CustomLLM, name)
    return True


def _has_await(method: Any) -> bool:
    """Tell whether a coroutine function awaits anything; without source, suppose that it does."""
    code = getattr(inspect.unwrap(method), "__code__", None)
    return code is None or any(
        step.opname == "GET_AWAITABLE" for step in dis.get_instructions(code)
    )
