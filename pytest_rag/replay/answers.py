"""LlamaIndex's responses ↔ plain JSON values; imported only once LlamaIndex is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LogProb,
)

from pytest_rag.replay.values import Given, plain
from pytest_rag.trace import usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Answer", "Pieces", "beside", "of_response", "pieces", "response"]

# The answer itself, which is in the message or text already.
_BULKY = frozenset({"choices", "candidates", "content", "output", "message", "text", "response"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model answered once.

    Attributes:
        response: As plain JSON values; of an embedding the packed vector.
        latency_ms: How long it took, from request to the last token.
        usage: Tokens by name as the provider counted them, for the eye; empty where it did not.
    """

    response: Any
    latency_ms: float
    usage: Mapping[str, int]


def of_response(given: ChatResponse | CompletionResponse, latency_ms: float) -> Answer:
    """Return what is kept of a response."""
    return Answer(response=_dumped(given), latency_ms=latency_ms, usage=_usage(given))


class Pieces:
    """Keeps a stream as it comes: a text where a piece added text and nothing else."""

    def __init__(self) -> None:
        self._kept: list[Any] = []
        self._before: dict[str, Any] | None = None
        self._last: ChatResponse | CompletionResponse | None = None

    def add(self, piece: ChatResponse | CompletionResponse) -> None:
        """Take in a piece at once; its maker may change it when the next one comes."""
        told = _dumped(piece, raw=False)
        delta = piece.delta or ""
        self._kept.append(delta if told == _grown(self._before, delta) else told)
        self._before, self._last = told, piece

    def answer(self, latency_ms: float) -> Answer | None:
        """Return what is kept of the stream, or None where nothing came."""
        if self._last is None:
            return None
        last = _dumped(self._last)
        if {"raw", "additional_kwargs", "logprobs"} & last.keys():
            self._kept[-1] = last
        told = {"pieces": self._kept}
        return Answer(response=told, latency_ms=latency_ms, usage=_usage(self._last))


def response(answer: Answer) -> ChatResponse | CompletionResponse:
    """Return the response that was given once."""
    return _loaded(answer.response)


def pieces(answer: Answer) -> Iterator[ChatResponse | CompletionResponse]:
    """Yield the pieces of a stream as they came once."""
    before: dict[str, Any] | None = None
    for piece in answer.response["pieces"]:
        before = _grown(before, piece) if isinstance(piece, str) else piece
        yield _loaded(before)


def _grown(before: Mapping[str, Any] | None, delta: str) -> dict[str, Any]:
    """Return the piece that follows another where only text was added."""
    if before is not None and "message" not in before:
        return {"text": before["text"] + delta, "delta": delta}
    message = {"role": "assistant", "content": ""} if before is None else before["message"]
    text = (message.get("content") or "") + delta
    return {"message": {"role": message["role"], "content": text}, "delta": delta}


def _dumped(given: ChatResponse | CompletionResponse, *, raw: bool = True) -> dict[str, Any]:
    told: dict[str, Any] = (
        {"message": _message(given.message)}
        if isinstance(given, ChatResponse)
        else {"text": given.text}
    )
    if given.delta is not None:
        told["delta"] = given.delta
    if given.additional_kwargs and raw:
        told["additional_kwargs"] = plain(given.additional_kwargs)
    if given.logprobs:
        told["logprobs"] = plain(given.logprobs)
    said = plain(given.raw) if raw else None
    if isinstance(said, dict):
        told["raw"] = beside(said)
    return told


def beside(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a provider told beside the answer itself."""
    return {key: value for key, value in said.items() if key not in _BULKY}


def _message(message: ChatMessage) -> dict[str, Any]:
    kinds = [block.block_type for block in message.blocks]
    told: dict[str, Any] = {"role": message.role.value}
    if kinds == ["text"] or not kinds:
        told["content"] = message.content or ""
    else:
        told["blocks"] = plain([block.model_dump(mode="json") for block in message.blocks])
    if message.additional_kwargs:
        told["additional_kwargs"] = plain(message.additional_kwargs)
    return told


def _loaded(told: Mapping[str, Any]) -> ChatResponse | CompletionResponse:
    logprobs = [[LogProb(**one) for one in some] for some in told.get("logprobs", ())]
    common: dict[str, Any] = {
        "raw": Given.of(told.get("raw")),
        "delta": told.get("delta"),
        "logprobs": logprobs or None,
        "additional_kwargs": Given.of(told.get("additional_kwargs", {})),
    }
    if "message" not in told:
        return CompletionResponse(text=told["text"], **common)
    message = dict(told["message"])
    message["additional_kwargs"] = Given.of(message.get("additional_kwargs", {}))
    return ChatResponse(message=ChatMessage(**message), **common)


def _usage(given: ChatResponse | CompletionResponse) -> dict[str, int]:
    found = usage.of_response(given)
    names = ("input_tokens", "cached_input_tokens", "output_tokens")
    return {name: n for name in names if (n := getattr(found, name)) is not None}
