"""What a provider told of its tokens while a class asked it past LlamaIndex's own entry points.

Such a class hands on an object alone. So the answers of HTTPX, which most providers' clients send
their requests with, are listened to.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pytest_rag.replay.ears import Ears
from pytest_rag.trace import usage

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EARS", "hearing"]

_current: ContextVar[list[Any] | None] = ContextVar("pytest_rag_heard_answers", default=None)


@contextmanager
def hearing(answers: list[Any]) -> Iterator[None]:
    """Let answers that come inside and tell their tokens be added to a list, as JSON values."""
    EARS.watch()
    token = _current.set(answers)
    try:
        yield
    finally:
        _current.reset(token)


def _listening(original: Any) -> Any:
    @functools.wraps(original)
    def send(self: Any, request: Any, **options: Any) -> Any:
        response = original(self, request, **options)
        _hear(response, options)
        return response

    return send


def _alistening(original: Any) -> Any:
    @functools.wraps(original)
    async def send(self: Any, request: Any, **options: Any) -> Any:
        response = await original(self, request, **options)
        _hear(response, options)
        return response

    return send


def _hear(response: Any, options: dict[str, Any]) -> None:
    answers = _current.get()
    if answers is None or options.get("stream") or not response.is_success:
        return
    try:
        told = response.json()
    except ValueError:  # no JSON, or no text
        return
    if usage.of_response(SimpleNamespace(raw=told)).input_tokens is not None:
        answers.append(told)


EARS = Ears("httpx", "send", {"Client": _listening, "AsyncClient": _alistening})
