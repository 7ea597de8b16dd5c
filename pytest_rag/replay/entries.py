"""The entry points that models have while a deck is open, each around the one it replaces."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pytest_rag.replay import scope
from pytest_rag.replay.again import AGAIN
from pytest_rag.replay.answers import Pieces
from pytest_rag.replay.calls import Spoken, open_batch, open_spoken
from pytest_rag.replay.paced import apaced, apaced_stream, paced, paced_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from pytest_rag.replay.requests import Kind

__all__ = ["EMBEDDING", "LIMITER", "LLM"]


def _own(original: Any, instance: Any) -> Any:
    """Return a method of a class, bound to an object."""
    return original.__get__(instance, type(instance))


# --- language models ---


def _open(kind: Kind, llm: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Spoken | None:
    options = dict(kwargs)
    name = "messages" if "chat" in kind else "prompt"
    asked = args[0] if args else options.pop(name, None)
    if len(args) > 1:
        options["formatted"] = args[1]
    return None if asked is None else open_spoken(kind, llm, asked, options)


def _spoken(kind: Kind, original: Any) -> Any:
    @functools.wraps(original)
    def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _open(kind, self, args, kwargs)
        if call is None:
            return _own(original, self)(*args, **kwargs)
        if call.answer is not None:
            with call.answering(call.answer):
                return _own(AGAIN[kind], self)(*args, **kwargs)
        with call.live():
            said = _own(original, self)(*args, **kwargs)
        if kind.startswith("stream"):
            return _kept(call, iter(said))
        call.keep(said)
        return said

    return entry


def _aspoken(kind: Kind, original: Any) -> Any:
    @functools.wraps(original)
    async def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _open(kind, self, args, kwargs)
        if call is None:
            return await _own(original, self)(*args, **kwargs)
        if call.answer is not None:
            with call.answering(call.answer):
                return await _own(AGAIN[f"a{kind}"], self)(*args, **kwargs)
        with call.live():
            said = await _own(original, self)(*args, **kwargs)
        if kind.startswith("stream"):
            return _akept(call, aiter(said))
        call.keep(said)
        return said

    return entry


_END = object()


def _kept(call: Spoken, stream: Iterator[Any]) -> Iterator[Any]:
    """Yield a stream's pieces and keep them, also where the reader stops early."""
    pieces = Pieces()
    piece: Any
    try:
        while True:
            with call.live():
                piece = next(stream, _END)
            if piece is _END:
                break
            pieces.add(piece)
            yield piece
    except GeneratorExit:
        if hasattr(stream, "close"):
            stream.close()
        call.keep_pieces(pieces)
        raise
    call.keep_pieces(pieces)


async def _akept(call: Spoken, stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield a stream's pieces and keep them, also where the reader stops early."""
    pieces = Pieces()
    piece: Any
    try:
        while True:
            with call.live():
                piece = await anext(stream, _END)
            if piece is _END:
                break
            pieces.add(piece)
            yield piece
    except GeneratorExit:
        if hasattr(stream, "aclose"):
            await stream.aclose()
        call.keep_pieces(pieces)
        raise
    call.keep_pieces(pieces)


# --- embedding models ---


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else next(iter(kwargs.values()))


def _embedded(kind: Kind, several: bool, original: Any) -> Any:
    @functools.wraps(original)
    def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = _first(args, kwargs)
        batch = open_batch(kind, self, given if several else [given])
        if batch is None:
            return _own(original, self)(*args, **kwargs)
        with batch.claimed():
            while not batch.is_whole:
                if not batch.missing:
                    batch.wait()
                    continue
                with batch.live():
                    left = [given[place] for place in batch.missing] if several else given
                    found = _own(original, self)(left)
                batch.keep(found if several else [found])
        return batch.vectors if several else batch.vectors[0]

    return entry


def _aembedded(kind: Kind, several: bool, original: Any) -> Any:
    @functools.wraps(original)
    async def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = _first(args, kwargs)
        batch = open_batch(kind, self, given if several else [given])
        if batch is None:
            return await _own(original, self)(*args, **kwargs)
        with batch.claimed():
            while not batch.is_whole:
                if not batch.missing:
                    await batch.await_others()
                    continue
                with batch.live():
                    left = [given[place] for place in batch.missing] if several else given
                    found = await _own(original, self)(left)
                batch.keep(found if several else [found])
        return batch.vectors if several else batch.vectors[0]

    return entry


# --- limits of rate, which nothing that comes from a cassette has to keep ---


def _limited(original: Any) -> Any:
    @functools.wraps(original)
    def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        take = scope.current()
        return None if take and take.tape.source.strict else _own(original, self)(*args, **kwargs)

    return entry


def _alimited(original: Any) -> Any:
    @functools.wraps(original)
    async def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        take = scope.current()
        if not (take and take.tape.source.strict):
            await _own(original, self)(*args, **kwargs)

    return entry


_KINDS: tuple[Kind, ...] = ("chat", "complete", "stream_chat", "stream_complete")


def _around(outer: Callable[[Any], Any], inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what stands before a method so that ``inner`` is nearer to it."""
    return lambda original: outer(inner(original))


def _llm(kind: Kind) -> dict[str, Callable[[Any], Any]]:
    streams = kind.startswith("stream")
    pace, apace = (paced_stream, apaced_stream) if streams else (paced, apaced)
    return {
        kind: _around(functools.partial(_spoken, kind), pace),
        f"a{kind}": _around(functools.partial(_aspoken, kind), apace),
    }


def _embedding(kind: Kind, name: str, *, several: bool) -> dict[str, Callable[[Any], Any]]:
    return {
        f"_get_{name}": _around(functools.partial(_embedded, kind, several), paced),
        f"_aget_{name}": _around(functools.partial(_aembedded, kind, several), apaced),
    }


LLM: dict[str, Callable[[Any], Any]] = {k: v for kind in _KINDS for k, v in _llm(kind).items()}
"""What stands before a language model's methods, by name."""

EMBEDDING: dict[str, Callable[[Any], Any]] = {
    **_embedding("embed_query", "query_embedding", several=False),
    **_embedding("embed_text", "text_embedding", several=False),
    **_embedding("embed_text", "text_embeddings", several=True),
}
"""What stands before an embedding model's methods."""

LIMITER: dict[str, Callable[[Any], Any]] = {"acquire": _limited, "async_acquire": _alimited}
"""What stands before a rate limiter's."""
