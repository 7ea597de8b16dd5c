"""Whether a stream of the official OpenAI client came to its end, or merely stopped.

The client takes both alike, and what it keeps of a stream does not tell them apart. So its
decoder is listened to for the server's last word.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.replay.ears import Ears

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["EARS", "Ending", "reading"]

_LAST_WORD = "[DONE]"


@dataclass(slots=True)
class Ending:
    """What is known of the end of a stream.

    Attributes:
        began: Whether anything of it was heard.
        done: Whether the server said that it was all.
    """

    began: bool = False
    done: bool = False

    def hear(self, event: Any) -> None:
        """Take in an event of the stream."""
        self.began = True
        self.done = self.done or str(getattr(event, "data", "")).startswith(_LAST_WORD)


_current: ContextVar[Ending | None] = ContextVar("pytest_rag_ending", default=None)


@contextmanager
def reading(ending: Ending) -> Iterator[None]:
    """Let what is heard of a stream inside be told to an ending."""
    token = _current.set(ending)
    try:
        yield
    finally:
        _current.reset(token)


def _listening(original: Any) -> Any:
    @functools.wraps(original)
    def events(self: Any) -> Iterator[Any]:
        for event in original(self):
            ending = _current.get()
            if ending is not None:
                ending.hear(event)
            yield event

    return events


def _alistening(original: Any) -> Any:
    @functools.wraps(original)
    async def events(self: Any) -> AsyncIterator[Any]:
        async for event in original(self):
            ending = _current.get()
            if ending is not None:
                ending.hear(event)
            yield event

    return events


EARS = Ears("openai", "_iter_events", {"Stream": _listening, "AsyncStream": _alistening})
