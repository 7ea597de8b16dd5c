"""The entry points that pace calls, each around the model's own."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from pytest_rag.replay import endings
from pytest_rag.replay.endings import Ending
from pytest_rag.replay.faults import says_why
from pytest_rag.replay.pacing import Turn, turn_of
from pytest_rag.trace import usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

__all__ = ["apaced", "apaced_stream", "paced", "paced_stream"]

_END = object()


def _own(original: Any, instance: Any) -> Any:
    return original.__get__(instance, type(instance))


def _turn(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Turn | None:
    return turn_of(model, args, kwargs)


# --- answers that come at once ---


def paced(original: Any) -> Any:
    """Pace a method that returns an answer."""

    @functools.wraps(original)
    def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        turn = _turn(self, args, kwargs)
        if turn is None:
            return _own(original, self)(*args, **kwargs)
        kwargs.update(turn.options)
        said = _asked(turn, lambda: _own(original, self)(*args, **kwargs))
        turn.succeeded(said)
        return said

    return entry


def _asked(turn: Turn, ask: Callable[[], Any]) -> Any:
    """Ask until there is an answer, or no hope of one."""
    while True:
        turn.wait()
        try:
            with turn.asking():
                return ask()
        except Exception as error:
            if not turn.failed(error):
                raise
        except BaseException:
            turn.end()
            raise


def apaced(original: Any) -> Any:
    """Pace a method whose answer is awaited."""

    @functools.wraps(original)
    async def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        turn = _turn(self, args, kwargs)
        if turn is None:
            return await _own(original, self)(*args, **kwargs)
        kwargs.update(turn.options)
        said = await _aasked(turn, lambda: _own(original, self)(*args, **kwargs))
        turn.succeeded(said)
        return said

    return entry


async def _aasked(turn: Turn, ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until there is an answer, or no hope of one."""
    while True:
        await turn.await_turn()
        try:
            with turn.asking():
                return await ask()
        except Exception as error:
            if not turn.failed(error):
                raise
        except BaseException:
            turn.end()
            raise


# --- answers that come piece by piece ---


def paced_stream(original: Any) -> Any:
    """Pace a method that returns an iterator; it is asked again until it has said something."""

    @functools.wraps(original)
    def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        turn = _turn(self, args, kwargs)
        if turn is None:
            return _own(original, self)(*args, **kwargs)
        kwargs.update(turn.options)

        def ask() -> Any:
            return iter(_own(original, self)(*args, **kwargs))

        flow = _flow(turn, _asked(turn, ask), ask)
        weakref.finalize(flow, turn.end).atexit = False  # nobody may ever read it
        return flow

    return entry


def _flow(turn: Turn, stream: Iterator[Any], ask: Callable[[], Any]) -> Iterator[Any]:
    piece: Any
    heard = _Heard()
    endings.EARS.watch()
    try:
        while True:
            try:
                with turn.asking(), endings.reading(heard.ending):
                    piece = next(stream, _END)
            except Exception as error:
                if not turn.failed(error, spoke=heard.spoke):
                    raise
                heard = _Heard()
                stream = _asked(turn, ask)
                continue
            if piece is _END:
                break
            yield from heard.add(piece)
    finally:
        turn.end()
        if hasattr(stream, "close"):
            stream.close()
    yield from heard.rest()
    _finish(turn, heard)


def apaced_stream(original: Any) -> Any:
    """Pace a method that gives an asynchronous iterator."""

    @functools.wraps(original)
    async def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        turn = _turn(self, args, kwargs)
        if turn is None:
            return await _own(original, self)(*args, **kwargs)
        kwargs.update(turn.options)

        async def ask() -> Any:
            return aiter(await _own(original, self)(*args, **kwargs))

        flow = _aflow(turn, await _aasked(turn, ask), ask)
        weakref.finalize(flow, turn.end).atexit = False  # nobody may ever read it
        return flow

    return entry


async def _aflow(
    turn: Turn, stream: AsyncIterator[Any], ask: Callable[[], Awaitable[Any]]
) -> AsyncIterator[Any]:
    piece: Any
    heard = _Heard()
    endings.EARS.watch()
    try:
        while True:
            try:
                with turn.asking(), endings.reading(heard.ending):
                    piece = await anext(stream, _END)
            except Exception as error:
                if not turn.failed(error, spoke=heard.spoke):
                    raise
                heard = _Heard()
                stream = await _aasked(turn, ask)
                continue
            if piece is _END:
                break
            for one in heard.add(piece):
                yield one
    finally:
        turn.end()
        if hasattr(stream, "aclose"):
            await stream.aclose()
    for one in heard.rest():
        yield one
    _finish(turn, heard)


def _finish(turn: Turn, heard: _Heard) -> None:
    if heard.is_cut_short:
        raise turn.cut_short()
    turn.succeeded(heard.counted, heard.last)


class _Heard:
    """What came of a stream so far; pieces that say nothing yet are held back."""

    def __init__(self) -> None:
        self._held: list[Any] = []
        self._says_why = False
        self.spoke = False
        self.ending = Ending()
        self.counted: Any = None
        self.last: Any = None

    @property
    def is_cut_short(self) -> bool:
        """Whether it ended, and nobody said so."""
        return self.ending.began and not self.ending.done and not self._says_why

    def add(self, piece: Any) -> list[Any]:
        """Take in a piece; return those to hand on now."""
        self.last = piece
        raw = getattr(piece, "raw", None)
        if usage.of_response(piece).input_tokens is not None:
            self.counted = piece
        self._says_why = self._says_why or says_why(raw)
        if not self.spoke and not _says(piece):
            self._held.append(piece)
            return []
        self.spoke = True
        return [*self.rest(), piece]

    def rest(self) -> list[Any]:
        """Return what was held back."""
        held, self._held = self._held, []
        return held


def _says(piece: Any) -> bool:
    message = getattr(piece, "message", None)
    return bool(piece.delta or (message is not None and message.additional_kwargs))
