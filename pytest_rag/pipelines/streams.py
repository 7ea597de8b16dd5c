"""A stream that somebody reads, and somebody else is told how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["Tee", "aread_all", "read_all", "tee"]


class Tee:
    """Takes down what a stream says, and whom to tell when it ends.

    Attributes:
        within: Makes the context in which every piece is made.
    """

    def __init__(
        self,
        within: Callable[[], AbstractContextManager[None]],
        on_piece: Callable[[], None],
        on_end: Callable[[str | None, BaseException | None], None],
    ) -> None:
        self.within = within
        self._pieces: list[str] = []
        self._on_piece = on_piece
        self._on_end: Callable[[str | None, BaseException | None], None] | None = on_end

    def add(self, piece: str) -> None:
        """Take down a piece."""
        self._pieces.append(piece)
        self._on_piece()

    def end(self, *, whole: bool, error: BaseException | None = None) -> None:
        """Tell the end once: the text of a whole stream, None of one that was left or broke."""
        if self._on_end is not None:
            told, self._on_end = self._on_end, None
            told("".join(self._pieces) if whole else None, error)


class _Sync:
    """Hands on the pieces of a stream; one that is dropped unread has ended, too."""

    def __init__(self, source: Any, tee: Tee) -> None:
        self._source = iter(source)
        self._tee = tee

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            with self._tee.within():
                piece: str = next(self._source)
        except StopIteration:
            self._tee.end(whole=True)
            raise
        except BaseException as error:
            self._tee.end(whole=False, error=error)
            raise
        self._tee.add(piece)
        return piece

    def close(self) -> None:
        """Stop reading."""
        if hasattr(self._source, "close"):
            self._source.close()
        self._tee.end(whole=False)

    def __del__(self) -> None:
        self._tee.end(whole=False)


class _Async:
    """The same for ``async for``; how a stream ended is told before the last step returns."""

    def __init__(self, source: Any, tee: Tee) -> None:
        self._source = aiter(source)
        self._tee = tee

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        try:
            with self._tee.within():
                piece: str = await anext(self._source)
        except StopAsyncIteration:
            from pytest_rag.loop import in_thread

            await in_thread(lambda: self._tee.end(whole=True))
            raise
        except BaseException as error:
            self._tee.end(whole=False, error=error)
            raise
        self._tee.add(piece)
        return piece

    async def aclose(self) -> None:
        """Stop reading."""
        if hasattr(self._source, "aclose"):
            await self._source.aclose()
        self._tee.end(whole=False)

    def __del__(self) -> None:
        self._tee.end(whole=False)


def tee(response: Any, made: Tee) -> Any:
    """Return a streaming response whose reader lets ``made`` see what is read.

    It is the same object: LlamaIndex's own, whose generator has been replaced.
    """
    source = response.response_gen
    wrapper = _Async if hasattr(source, "__anext__") or hasattr(source, "__aiter__") else _Sync
    response.response_gen = wrapper(source, made)
    return response


def read_all(response: Any) -> None:
    """Read a response to its end, if it is a stream."""
    for _ in getattr(response, "response_gen", None) or ():
        pass


async def aread_all(response: Any) -> None:
    """Read a response to its end, if it is a stream, of either kind."""
    if hasattr(getattr(response, "response_gen", None), "__anext__"):
        async for _ in response.response_gen:
            pass
    else:
        read_all(response)
