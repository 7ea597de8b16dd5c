"""A pipeline in production whose calls of models are written to the ledger."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import itertools
import types
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pytest_rag import config
from pytest_rag.costs.running import values_of
from pytest_rag.costs.writer import Writer
from pytest_rag.errors import PipelineError, UsageError
from pytest_rag.trace import is_traced, opened
from pytest_rag.trace.hub import HUB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from pytest_rag.trace import Trace
    from pytest_rag.types import Call

__all__ = ["to_ledger", "track"]

T = TypeVar("T")

_ENTRIES = (
    *("query", "aquery", "retrieve", "aretrieve", "synthesize", "asynthesize"),
    *("chat", "achat", "stream_chat", "astream_chat", "run", "__call__"),
)


def track(target: T, *, name: str | None = None, ledger: str | Path | None = None) -> T:
    """Return a pipeline like ``target`` that writes the calls of models it makes to the ledger.

    It is of a class derived from the target's own, so everything that takes the one takes the
    other; a function stays a function. Writing is done in a thread of its own and never fails or
    delays a query. Inside a run of pytest-rag nothing is written twice.

    Args:
        target: A LlamaIndex query engine, retriever, chat engine or workflow, any object with
            such methods, or a function of the query.
        name: What the calls are listed under; the target's own name where it is left out.
        ledger: The ledger's file; that of the project around the working directory by default.

    Raises:
        UsageError: if the target is a class, or has nothing that can be asked.
        ConfigError: if ``[tool.pytest-rag]`` is wrong.
    """
    if isinstance(target, type):
        raise UsageError(f"track() takes an object, not the class {target.__name__} itself.")
    tracker = _Tracker(name or _name(target), ledger)
    if inspect.isroutine(target) or isinstance(target, functools.partial):
        return cast("T", tracker.function(target))
    return cast("T", tracker.object(target))


def to_ledger(name: str, *, ledger: str | Path | None = None) -> Callable[[Call], None]:
    """Return a function that writes a priced call to the ledger, as ``on_call`` of a cache takes.

    A call that is made inside a run of pytest-rag, or of a tracked pipeline, is written by that.

    Args:
        name: What the calls are listed under.
        ledger: The ledger's file; that of the project around the working directory by default.
    """
    return _ToLedger(_Tracker(name, ledger))


class _ToLedger:
    """Writes calls that nobody else sees."""

    writes_ledger = True

    def __init__(self, tracker: _Tracker) -> None:
        self._tracker = tracker

    def __call__(self, call: Call) -> None:
        if not is_traced():
            self._tracker.write(lambda: [values_of(call)])


def _name(target: Any) -> str:
    return str(getattr(target, "__qualname__", None) or type(target).__qualname__)


class _Tracker:
    """Watches what is asked, and hands the calls it sees to the writer."""

    def __init__(self, name: str, ledger: str | Path | None) -> None:
        project = config.load(config.find_root(Path.cwd()))
        path = project.ledger_path if ledger is None else Path(ledger).absolute()
        self.name = name
        self._prices = project.prices
        self._writer = None if path is None else Writer.of(path)

    def function(self, function: Any) -> Any:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def acalled(*args: Any, **kwargs: Any) -> Any:
                return await self.watch_async(lambda: function(*args, **kwargs))

            return acalled

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            return self.watch(lambda: function(*args, **kwargs))

        return called

    def object(self, target: Any) -> Any:
        kind = type(target)
        names = [n for n in _ENTRIES if any(callable(vars(c).get(n)) for c in kind.__mro__)]
        if not names:
            raise UsageError(
                f"track() cannot tell how {kind.__name__} is asked. It takes a query engine, "
                "retriever, chat engine, workflow, or a function of the query."
            )
        derived = types.new_class(
            kind.__name__, (kind,), exec_body=lambda body: body.update(__slots__=())
        )
        derived.__module__, derived.__qualname__ = kind.__module__, kind.__qualname__
        # Set once the class is there: LlamaIndex puts spans around what a class body overrides.
        for name in names:
            setattr(derived, name, self._entry(getattr(kind, name)))
        made = copy.copy(target)
        object.__setattr__(made, "__class__", derived)
        return made

    def _entry(self, method: Any) -> Any:
        if inspect.iscoroutinefunction(method):

            @functools.wraps(method)
            async def aentry(this: Any, *args: Any, **kwargs: Any) -> Any:
                return await self.watch_async(lambda: method(this, *args, **kwargs))

            return aentry

        @functools.wraps(method)
        def entry(this: Any, *args: Any, **kwargs: Any) -> Any:
            return self.watch(lambda: method(this, *args, **kwargs))

        return entry

    # --- one query ------------------------------------------------------------------------

    def watch(self, asked: Callable[[], Any]) -> Any:
        """Ask, and follow what comes back to its end."""
        if self._writer is None or is_traced():
            return asked()
        query = _Query(self)
        try:
            with HUB.inside(query.seen):
                returned = asked()
        except BaseException:
            query.end()
            raise
        return query.follow(returned)

    async def watch_async(self, asked: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Ask and await, and follow what comes back to its end."""
        if self._writer is None or is_traced():
            return await asked()
        query = _Query(self)
        try:
            with HUB.inside(query.seen):
                returned = await asked()
        except BaseException:
            query.end()
            raise
        return query.follow(returned)

    def write(self, calls: Callable[[], list[dict[str, Any]]]) -> None:
        """Let the writer's thread make rows of calls and write them."""
        if self._writer is not None:
            self._writer.put(self.name, calls)

    def priced(self, seen: Trace, said: Call | None) -> list[dict[str, Any]]:
        from pytest_rag.costs.prices import price_calls

        calls = [*seen.calls, *([said] if said is not None else [])]
        return [values_of(call) for call in price_calls(calls, self._prices).calls]


class _Query:
    """One query under trace, until its answer is read to the end."""

    def __init__(self, tracker: _Tracker) -> None:
        self.seen = opened()
        self._tracker = tracker
        self._ended = itertools.count()
        self._follower: asyncio.Future[None] | None = None

    def end(self, said: Call | None = None) -> None:
        """Close the trace and write what it saw, once."""
        if next(self._ended):
            return
        self.seen.give_up()
        HUB.close(self.seen)
        if said is not None or self.seen.span_ids():
            self._tracker.write(lambda: self._tracker.priced(self.seen, said))

    def follow(self, returned: Any) -> Any:
        """Return what was returned, made to tell when it has come to its end."""
        if hasattr(returned, "stream_events"):  # a workflow's handler
            self._follower = asyncio.ensure_future(self._wait(returned))
        elif inspect.iscoroutine(returned):
            return self._await(returned)
        elif inspect.isgenerator(returned):
            return self._read(returned)
        elif inspect.isasyncgen(returned):
            return self._aread(returned)
        elif _is_stream(returned):
            self._follow_stream(returned)
        else:
            self.end(_said(returned))
        return returned

    def _follow_stream(self, response: Any) -> None:
        """Let a streaming response tell its end; one that is dropped unread has ended, too."""
        source = vars(response).get("response_gen")
        followed: Any = response
        if source is not None:
            asynchronous = hasattr(source, "__anext__")
            followed = self._aread(source) if asynchronous else self._read(iter(source))
            response.response_gen = followed
        # The pieces outlive the response: `for piece in engine.query(…).response_gen`.
        weakref.finalize(followed, self.end)

    async def _wait(self, handler: Any) -> None:
        """Await a workflow beside whoever else awaits it, who is told what it raises."""
        try:
            await handler
        except Exception:  # noqa: BLE001, S110 - theirs
            pass
        finally:
            self.end()

    async def _await(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            with HUB.inside(self.seen):
                returned = await coroutine
        except BaseException:
            self.end()
            raise
        return self.follow(returned)

    def _read(self, source: Iterator[Any]) -> Iterator[Any]:
        try:
            while True:
                with HUB.inside(self.seen):
                    try:
                        piece = next(source)
                    except StopIteration:
                        return
                yield piece
        finally:
            self.end()

    async def _aread(self, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            while True:
                with HUB.inside(self.seen):
                    try:
                        piece = await anext(source)
                    except StopAsyncIteration:
                        return
                yield piece
        finally:
            self.end()


def _is_stream(returned: Any) -> bool:
    return "Streaming" in type(returned).__name__ and hasattr(returned, "source_nodes")


def _said(returned: Any) -> Call | None:
    """Return what a function's own answer tells of its usage, or None."""
    if not isinstance(returned, Mapping) or returned.get("usage") is None:
        return None
    from pytest_rag.pipelines.reply import read
    from pytest_rag.trace.found import Found

    try:
        return read({"answer": "", "usage": returned["usage"]}, None, Found()).call
    except PipelineError:
        return None
