"""LlamaIndex's own spans and events around an answer that was given before."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index_instrumentation import get_dispatcher

from pytest_rag.replay.answers import pieces, response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from pytest_rag.replay.answers import Answer

__all__ = ["AGAIN", "ANSWER"]

ANSWER: ContextVar[Answer] = ContextVar("pytest_rag_answer")
"""What the entry point that is called in this context answers."""

_span = get_dispatcher(__name__).span


def _stream(answer: Answer) -> Iterator[Any]:
    yield from pieces(answer)


async def _astream(answer: Answer) -> AsyncIterator[Any]:
    for piece in pieces(answer):
        # Calls that run at the same time then overlap here as they did when they were live.
        await asyncio.sleep(0)
        yield piece


@_span
@llm_chat_callback()
def chat(self: Any, messages: Any, **kwargs: Any) -> Any:
    """Answer again."""
    return response(ANSWER.get())


@_span
@llm_chat_callback()
async def achat(self: Any, messages: Any, **kwargs: Any) -> Any:
    """Answer again."""
    await asyncio.sleep(0)
    return response(ANSWER.get())


@_span
@llm_chat_callback()
def stream_chat(self: Any, messages: Any, **kwargs: Any) -> Any:
    """Answer again, piece by piece."""
    return _stream(ANSWER.get())


@_span
@llm_chat_callback()
async def astream_chat(self: Any, messages: Any, **kwargs: Any) -> Any:
    """Answer again, piece by piece."""
    return _astream(ANSWER.get())


@_span
@llm_completion_callback()
def complete(self: Any, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
    """Answer again."""
    return response(ANSWER.get())


@_span
@llm_completion_callback()
async def acomplete(self: Any, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
    """Answer again."""
    await asyncio.sleep(0)
    return response(ANSWER.get())


@_span
@llm_completion_callback()
def stream_complete(self: Any, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
    """Answer again, piece by piece."""
    return _stream(ANSWER.get())


@_span
@llm_completion_callback()
async def astream_complete(self: Any, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
    """Answer again, piece by piece."""
    return _astream(ANSWER.get())


AGAIN: dict[str, Callable[..., Any]] = {
    "chat": chat,
    "achat": achat,
    "stream_chat": stream_chat,
    "astream_chat": astream_chat,
    "complete": complete,
    "acomplete": acomplete,
    "stream_complete": stream_complete,
    "astream_complete": astream_complete,
}
"""By name of the entry point."""
