"""What a provider told of its tokens while a class asked it past LlamaIndex's own entry points.

Such a class hands on an object alone. So the answers of HTTPX, which most providers' clients send
their requests with, are listened to.
"""

from __future__ import annotations

import functools
import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pytest_rag.trace import usage

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hearing", "unwatch", "watch"]

_METHOD = "send"

_current: ContextVar[list[Any] | None] = ContextVar("pytest_rag_heard_answers", default=None)
_watched: list[tuple[type, Any]] = []
_lock = threading.Lock()


@contextmanager
def hearing(answers: list[Any]) -> Iterator[None]:
    """Let answers that come inside and tell their tokens be added to a list, as JSON values."""
    watch()
    token = _current.set(answers)
    try:
        yield
    finally:
        _current.reset(token)


def watch() -> None:
    """Listen to HTTPX, once it is imported."""
    httpx = sys.modules.get("httpx")
    if httpx is None or _watched:
        return
    with _lock:
        for name, wrap in (("Client", _listening), ("AsyncClient", _alistening)):
            cls = getattr(httpx, name)
            original = vars(cls)[_METHOD]
            if not hasattr(original, "__wrapped__"):
                _watched.append((cls, original))
                setattr(cls, _METHOD, wrap(original))


def unwatch() -> None:
    """Leave HTTPX as it was."""
    with _lock:
        while _watched:
            cls, original = _watched.pop()
            setattr(cls, _METHOD, original)


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
