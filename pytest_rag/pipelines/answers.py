"""A LlamaIndex response ↔ the JSON that a cache keeps of it."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pytest_rag.cache.envelope import CorruptEntryError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

    from pytest_rag.types import Call

__all__ = ["MARK", "Form", "Receipt", "body_of", "is_empty", "output_class", "response_of"]

MARK = "pytest_rag"
"""Key of a response's metadata under which a hit says where it came from."""

Form = Literal["text", "stream", "read"]
"""Whole, word by word, or so but without ``async for`` even where it was awaited."""

_NOTHING = "Empty Response"  # what LlamaIndex answers where nothing was retrieved
_PIECES = re.compile(r"\s*\S+\s*")
_SHAPE: dict[str, type | tuple[type, ...]] = {
    "query": str,
    "kind": str,
    "answer": str,
    "nodes": list,
    "metadata": (dict, type(None)),
    "made": float,
    "latency_ms": float,
    "cost_usd": (float, type(None)),
    "cost_reason": (str, type(None)),
    "calls": list,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What an answer took to make.

    Attributes:
        made: When, in seconds since the epoch.
        latency_ms: From the question to the last word.
        calls: Of models, with their prices.
        cost_usd: Their sum, or None where one is unknown.
        cost_reason: Why it is unknown, or None.
    """

    made: float
    latency_ms: float
    calls: Sequence[Call] = ()
    cost_usd: float | None = None
    cost_reason: str | None = None


def output_class(engine: Any) -> Any:
    """Return the pydantic class that an engine's answers are made of, or None."""
    synthesizer = getattr(engine, "_response_synthesizer", None)
    return getattr(synthesizer, "_output_cls", None)


def is_empty(response: Any) -> bool:
    """Tell whether a finished response says nothing; LlamaIndex says so in two words."""
    text = response.response
    return text is None or (isinstance(text, str) and text.strip() in ("", _NOTHING))


def body_of(query: str, response: Any, receipt: Receipt, *, form: Form) -> dict[str, Any]:
    """Return a finished response as JSON.

    Nodes keep text, metadata, relationships and scores, and lose their embeddings. What JSON does
    not know, such as a date in the metadata, becomes a text.

    Args:
        query: As it was asked.
        response: LlamaIndex's ``Response`` or ``PydanticResponse``.
        receipt: What it took.
        form: In which it came.

    Raises:
        ValueError: if it holds something that has no JSON.
    """
    from pydantic_core import to_jsonable_python

    structured = hasattr(response.response, "model_dump_json")
    kind = "structured" if structured else form
    answer = response.response.model_dump_json() if structured else str(response.response)
    return {
        "query": query,
        "kind": kind,
        "answer": answer,
        "nodes": [_node_body(scored) for scored in response.source_nodes],
        "metadata": to_jsonable_python(response.metadata, fallback=_plain),
        "made": float(receipt.made),
        "latency_ms": float(receipt.latency_ms),
        "cost_usd": None if receipt.cost_usd is None else float(receipt.cost_usd),
        "cost_reason": receipt.cost_reason,
        "calls": [dataclasses.asdict(call) for call in receipt.calls],
    }


def _node_body(scored: Any) -> dict[str, Any]:
    from llama_index.core.storage.docstore.utils import doc_to_json
    from pydantic_core import to_jsonable_python

    score = None if scored.score is None else float(scored.score)
    if score is not None and not math.isfinite(score):
        raise ValueError(f"The score of node {scored.node.node_id!r} is {score}.")
    body = to_jsonable_python(doc_to_json(scored.node), fallback=_plain)
    if isinstance(body.get("__data__"), dict):
        body["__data__"]["embedding"] = None
    return {"node": body, "score": score}


def _plain(value: Any) -> Any:
    """Return a number of NumPy's as Python's own."""
    if hasattr(value, "item"):
        return value.item()
    raise ValueError(f"{type(value).__name__} {value!r:.60} has no JSON.")


# --- back -------------------------------------------------------------------------------------


def response_of(
    body: dict[str, Any], mark: dict[str, Any], *, is_async: bool, output_cls: Any = None
) -> Any:
    """Return the response that a body was made of, with a mark in its metadata.

    Args:
        body: As `body_of` made it.
        mark: What to tell of the hit, beside what the body knows.
        is_async: Whether a stream is to be read with ``async for``, where the engine's are.
        output_cls: Of a structured answer.

    Raises:
        CorruptEntryError: if it is no such body.
    """
    from llama_index.core.base.response.schema import (
        AsyncStreamingResponse,
        PydanticResponse,
        Response,
        StreamingResponse,
    )

    _check(body)
    answer, kind = body["answer"], body["kind"]
    rest: dict[str, Any] = {
        "source_nodes": [_node_of(node) for node in body["nodes"]],
        "metadata": {**(body["metadata"] or {}), MARK: {**mark, **_told(body)}},
    }
    if kind in ("stream", "read"):
        if is_async and kind == "stream":
            return AsyncStreamingResponse(response_gen=_said_async(answer), **rest)
        return StreamingResponse(response_gen=_said(answer), **rest)
    if kind == "structured":
        return PydanticResponse(response=_structured(answer, output_cls), **rest)
    return Response(response=answer, **rest)


def _check(body: dict[str, Any]) -> None:
    for name, kind in _SHAPE.items():
        if not isinstance(body.get(name), kind):
            raise CorruptEntryError(f"{name!r} of a kept answer is {body.get(name)!r:.60}.")


def _told(body: dict[str, Any]) -> dict[str, Any]:
    names = ("query", "latency_ms", "cost_usd", "cost_reason")
    calls = [{**call, "origin": "cache"} for call in body["calls"]]
    made = datetime.fromtimestamp(body["made"], UTC).isoformat(timespec="seconds")
    return {**{name: body[name] for name in names}, "calls": calls, "made": made}


def _node_of(body: Any) -> Any:
    from llama_index.core.schema import NodeWithScore
    from llama_index.core.storage.docstore.utils import json_to_doc

    try:
        return NodeWithScore(node=json_to_doc(body["node"]), score=body["score"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptEntryError(f"A node of a kept answer cannot be read: {error}") from error


def _structured(answer: str, output_cls: Any) -> Any:
    try:
        return output_cls.model_validate_json(answer)
    except (AttributeError, ValueError) as error:
        raise CorruptEntryError(f"A kept answer is no {output_cls}: {error}") from error


def _said(answer: str) -> Generator[str, None, None]:
    yield from _PIECES.findall(answer)


async def _said_async(answer: str) -> AsyncGenerator[str, None]:
    for piece in _PIECES.findall(answer):
        yield piece
