"""The entry points of models that are asked for objects of a class.

LlamaIndex makes such an object out of a chat; some providers' classes ask for it past their own
``chat``. What made no call that is seen is taken for a call itself.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.program.utils import create_flexible_model
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.span import active_span_id
from pydantic import ValidationError

from pytest_rag.errors import RagError
from pytest_rag.replay import answers, heard, scope
from pytest_rag.replay.calls import Spoken, open_structured
from pytest_rag.replay.deposits import Deposit, deposit_of
from pytest_rag.replay.faults import fault_of
from pytest_rag.replay.requests import model_name
from pytest_rag.trace import usage
from pytest_rag.trace.hub import HUB
from pytest_rag.trace.marks import STARTED, Mark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from pytest_rag.replay.requests import Kind

__all__ = ["STRUCTURED"]

_END = object()
_span = get_dispatcher(__name__).span


@dataclass(slots=True, kw_only=True)
class _Wish:
    """A request for an object, or for the stages of one.

    Attributes:
        model: LlamaIndex's object.
        output: The class of what is asked for.
        ask: Asks the model.
        call: What stands between it and its model, or None.
        deposit: Pays for it where a class asks past its own chat.
    """

    model: Any
    output: Any
    ask: Callable[[], Any]
    call: Spoken | None
    deposit: Deposit = field(default_factory=Deposit)
    _told: list[Any] = field(default_factory=list)
    _kept: list[str] = field(default_factory=list)
    _started: list[str] = field(default_factory=list)
    _span_id: str | None = None

    @property
    def known(self) -> Any:
        """What was answered in an earlier run, as plain values, or None."""
        answer = None if self.call is None else self.call.answer
        return None if answer is None else answer.response

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hear of the calls that are made inside, and note one that broke and may have cost."""
        token = STARTED.set(self._started)
        try:
            with scope.listening() as keys, heard.hearing(self._told), self.deposit.open():
                yield
        except BaseException as error:
            self._broke(error)
            raise
        finally:
            STARTED.reset(token)
            self._kept += keys

    def _broke(self, error: BaseException) -> None:
        refused = isinstance(error, RagError)  # by us, before anybody was asked
        paid = not refused and (not isinstance(error, Exception) or fault_of(error).paid)
        raw = self._raw() if paid else None
        if paid and not self._started and isinstance(error, Exception):
            self._tell(None, self._live(), raw)
        if raw is not None:  # it was answered, and the answer was no such object
            self.deposit.settle(_counted(raw))
        self.deposit.end(paid=paid)

    def _raw(self) -> dict[str, Any] | None:
        """Return what the provider told beside its answer; None where that is not known."""
        return answers.beside(self._told[0]) if len(self._told) == 1 else None

    def open(self) -> None:
        """Note the span that stands for it."""
        self._span_id = active_span_id.get()

    def end(self, told: dict[str, Any], last: Any) -> None:
        """Keep what came, and note a call that nobody saw.

        Args:
            told: What came, by the key it is kept under.
            last: The object.
        """
        raw = self._raw()
        self.deposit.settle(None if raw is None else _counted(raw))
        if self.call is not None and not self._kept:
            self.call.keep_objects(told if raw is None else {**told, "raw": raw})
        if not self._started:
            self._tell(last, self._live(), raw)

    def again(self, last: Any) -> None:
        """Note a call that was answered before."""
        if self.call is not None and self.call.answer is not None:
            origin, ms = self.call.take.tape.source.origin, self.call.answer.latency_ms
            raw = self.call.answer.response.get("raw")
            self._tell(last, Mark(origin=origin, latency_ms=ms, recorded=True), raw)

    def _live(self) -> Mark | None:
        """Return the mark of a call that is recorded; of one that must not be live, none."""
        return None if self.call is None or self.call.take.tape.source.strict else self.call.mark

    def _tell(self, last: Any, mark: Mark | None, raw: Any = None) -> None:
        trace = HUB.of_span(self._span_id)
        if trace is not None and self._span_id is not None:
            dump = getattr(last, "model_dump_json", None)
            text = dump() if callable(dump) else ""
            said = CompletionResponse(text=text, raw=raw) if callable(dump) or raw else None
            asked = None if self.call is None else self.call.asked
            with trace.guarded():
                trace.add_call(self._span_id, model_name(self.model), mark, asked, said)


def _wish(
    kind: Kind, original: Any, model: Any, given: tuple[tuple[Any, ...], dict[str, Any]]
) -> _Wish:
    output, prompt, options, rest = _read(*given[0], **given[1])
    call = open_structured(kind, model, (output, prompt), options, rest)
    deposit = Deposit()
    if call is None or call.answer is None:
        wanted = (output, lambda: prompt.format_messages(llm=model, **rest))
        deposit = deposit_of(original, model, wanted, options)
    args, kwargs = given
    if deposit.options:
        args, kwargs = args[:2], {**kwargs, "llm_kwargs": {**(options or {}), **deposit.options}}

    def ask() -> Any:
        return original.__get__(model, type(model))(*args, **kwargs)

    return _Wish(model=model, output=output, ask=ask, call=call, deposit=deposit)


def _read(
    output_cls: Any, prompt: Any, llm_kwargs: Any = None, **given: Any
) -> tuple[Any, Any, Any, dict[str, Any]]:
    return output_cls, prompt, llm_kwargs, given


def _counted(raw: Any) -> usage.Usage:
    return usage.of_response(CompletionResponse(text="", raw=raw))


def _made(output: Any, told: Any) -> Any:
    """Return an object, or one of which a part had come, as LlamaIndex makes them."""
    if isinstance(told, list):
        return [_made(output, one) for one in told]
    try:
        return output.model_validate(told)
    except ValidationError:
        return create_flexible_model(output).model_validate(told)


# --- objects ----------------------------------------------------------------------------------


@_span
def _predict(_self: Any, wish: _Wish) -> Any:
    wish.open()
    if wish.known is not None:
        found = _made(wish.output, wish.known["object"])
        wish.again(found)
        return found
    wish.deposit.pay()
    with wish.watching():
        found = wish.ask()
    wish.end({"object": found}, found)
    return found


@_span
async def _apredict(_self: Any, wish: _Wish) -> Any:
    wish.open()
    if wish.known is not None:
        found = _made(wish.output, wish.known["object"])
        wish.again(found)
        return found
    await wish.deposit.apay()
    with wish.watching():
        found = await wish.ask()
    wish.end({"object": found}, found)
    return found


def _structured(original: Any) -> Any:
    @functools.wraps(original)
    def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        wish = _wish("structured", original, self, (args, kwargs))
        return _predict.__get__(self, type(self))(wish)

    return entry


def _astructured(original: Any) -> Any:
    @functools.wraps(original)
    async def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        wish = _wish("structured", original, self, (args, kwargs))
        return await _apredict.__get__(self, type(self))(wish)

    return entry


# --- their stages -----------------------------------------------------------------------------


@_span
def _begin(_self: Any, wish: _Wish) -> None:
    wish.open()


def _streamed(original: Any) -> Any:
    @functools.wraps(original)
    def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        wish = _wish("stream_structured", original, self, (args, kwargs))
        _begin.__get__(self, type(self))(wish)
        return _flow(wish) if wish.known is None else _flow_again(wish)

    return entry


def _flow(wish: _Wish) -> Iterator[Any]:
    """Yield the stages of an object and keep them, also where the reader stops early."""
    found: list[Any] = []
    wish.deposit.pay()
    with wish.watching():
        stream = iter(wish.ask())
    try:
        while True:
            with wish.watching():
                piece = next(stream, _END)
            if piece is _END:
                break
            found.append(piece)
            yield piece
    except GeneratorExit:
        if hasattr(stream, "close"):
            stream.close()
        wish.end({"objects": found}, None)
        raise
    wish.end({"objects": found}, found[-1] if found else None)


def _flow_again(wish: _Wish) -> Iterator[Any]:
    piece = None
    for told in wish.known["objects"]:
        piece = _made(wish.output, told)
        yield piece
    wish.again(piece)


def _astreamed(original: Any) -> Any:
    @functools.wraps(original)
    async def entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        wish = _wish("stream_structured", original, self, (args, kwargs))
        _begin.__get__(self, type(self))(wish)
        if wish.known is not None:
            return _aflow_again(wish)
        await wish.deposit.apay()
        with wish.watching():
            stream = await wish.ask()
        return _aflow(wish, aiter(stream))

    return entry


async def _aflow(wish: _Wish, stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield the stages of an object and keep them, also where the reader stops early."""
    found: list[Any] = []
    try:
        while True:
            with wish.watching():
                piece = await anext(stream, _END)
            if piece is _END:
                break
            found.append(piece)
            yield piece
    except GeneratorExit:
        if hasattr(stream, "aclose"):
            await stream.aclose()
        wish.end({"objects": found}, None)
        raise
    wish.end({"objects": found}, found[-1] if found else None)


async def _aflow_again(wish: _Wish) -> AsyncIterator[Any]:
    piece = None
    for told in wish.known["objects"]:
        piece = _made(wish.output, told)
        yield piece
    wish.again(piece)


STRUCTURED: dict[str, Callable[[Any], Any]] = {
    "structured_predict": _structured,
    "astructured_predict": _astructured,
    "stream_structured_predict": _streamed,
    "astream_structured_predict": _astreamed,
}
"""What stands before the methods that a provider's class has in place of LlamaIndex's own."""
