"""Whatever a pipeline returns → answer, retrieved documents and usage."""

from __future__ import annotations

import inspect
import math
import operator
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import PipelineError
from pytest_rag.loop import in_thread
from pytest_rag.pipelines.nodes import document_of, from_mapping, from_node, is_number
from pytest_rag.registry import did_you_mean
from pytest_rag.types import Call, Retrieved, Step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_rag.trace.found import Found

__all__ = ["Reply", "finish", "finish_async", "read", "steps", "unfinished"]

_KEYS = frozenset({"answer", "retrieved", "usage"})
_USAGE_KEYS = frozenset(
    {"model", "input_tokens", "cached_input_tokens", "output_tokens", "cost_usd"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a pipeline said.

    Attributes:
        answer: Its text, or None for a retriever.
        retrieved: Nodes in the pipeline's order; None where the reply does not carry them.
        call: What the pipeline says it used, or None.
    """

    answer: str | None
    retrieved: tuple[Retrieved, ...] | None
    call: Call | None = None


def finish(raw: Any) -> Any:
    """Read a synchronous stream to its end; anything else is returned as it is."""
    if not _is_stream(raw) or _is_async_stream(raw):
        return raw
    if hasattr(raw, "get_response"):
        return raw.get_response()
    for _ in raw.response_gen:  # a streaming chat response gathers its text as it is read
        pass
    return raw


def unfinished(raw: Any) -> bool:
    """Tell whether something is left to await, or a stream that only a loop can read."""
    return inspect.isawaitable(raw) or _is_async_stream(raw)


async def finish_async(raw: Any) -> Any:
    """Await what can be awaited and read a stream to its end, a synchronous one in a thread."""
    if inspect.isawaitable(raw):
        raw = await raw
    if _is_async_stream(raw):
        if hasattr(raw, "get_response"):
            return await raw.get_response()
        async for _ in raw.async_response_gen():
            pass
        return raw
    return await in_thread(partial(finish, raw)) if _is_stream(raw) else raw


def _is_async_stream(raw: Any) -> bool:
    """Tell whether a stream of LlamaIndex's is read with ``async for``."""
    if not _is_stream(raw):
        return False
    if hasattr(raw, "get_response"):
        return hasattr(raw, "async_response_gen")
    return getattr(raw, "achat_stream", None) is not None


def _is_stream(raw: Any) -> bool:
    return "Streaming" in type(raw).__name__ and hasattr(raw, "source_nodes")


def read(raw: Any, document_key: str | None, found: Found) -> Reply:
    """Read a pipeline's finished result.

    Args:
        raw: A LlamaIndex response, a text, a list of nodes, or a mapping
            ``{"answer": str, "retrieved": [{"id": str, "score": float, "text": str}],
            "usage": {…}}``.
        document_key: Metadata key that names a node's document, or None.
        found: What was seen of retrievers, for a result that does not say what was retrieved.

    Raises:
        PipelineError: for anything else; says what came and what is expected.
    """
    said = _said(raw, document_key, found)
    if said.retrieved is None and found.nodes is not None:
        return replace(said, retrieved=_documents(found.nodes, document_key))
    return said


def steps(found: Found, document_key: str | None) -> tuple[Step, ...]:
    """Return what retrievers and postprocessors did, in documents."""
    return tuple(
        Step(
            stage=step.stage,
            part=step.part,
            documents=_ids(step.nodes, document_key),
            given=_ids(step.given, document_key),
        )
        for step in found.steps
    )


def _ids(nodes: Iterable[Any], document_key: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(document_of(node, document_key) for node in nodes))


def _documents(nodes: Iterable[Any], document_key: str | None) -> tuple[Retrieved, ...]:
    return tuple(from_node(node, document_key) for node in nodes)


def _said(raw: Any, document_key: str | None, found: Found) -> Reply:
    if isinstance(raw, str):
        return Reply(answer=raw, retrieved=None)
    if isinstance(raw, Mapping):
        return _from_mapping(raw)
    if isinstance(raw, list | tuple) and all(_is_node(entry) for entry in raw):
        return Reply(answer=None, retrieved=_documents(raw, document_key))
    if "llama_index.core" in sys.modules:
        told = _from_llama_index(raw, document_key, found)
        if told is not None:
            return told
    raise PipelineError(
        f"The pipeline returned {type(raw).__name__} {raw!r:.80}. Expected a LlamaIndex response, "
        'a text, or a mapping {"answer": …, "retrieved": [{"id": …, "score": …, "text": …}]}.'
    )


def _is_node(entry: Any) -> bool:
    return hasattr(getattr(entry, "node", entry), "ref_doc_id")


def _from_mapping(raw: Mapping[Any, Any]) -> Reply:
    for key in raw:
        if key not in _KEYS:
            raise PipelineError(
                f"The pipeline's answer has a key {key!r}.{did_you_mean(str(key), _KEYS)}"
            )
    answer, retrieved = raw.get("answer"), raw.get("retrieved")
    if answer is not None and not isinstance(answer, str):
        raise PipelineError(f"'answer' of the pipeline's answer is {answer!r:.80}, not a text.")
    if answer is None and retrieved is None:
        raise PipelineError("The pipeline's answer has neither 'answer' nor 'retrieved'.")
    if retrieved is not None and not isinstance(retrieved, list | tuple):
        raise PipelineError(f"'retrieved' of the pipeline's answer is {retrieved!r:.80}, no list.")
    return Reply(
        answer=answer,
        retrieved=None
        if retrieved is None
        else tuple(from_mapping(entry, place) for place, entry in enumerate(retrieved)),
        call=None if raw.get("usage") is None else _call(raw["usage"]),
    )


def _call(used: Any) -> Call:
    if not isinstance(used, Mapping):
        raise PipelineError(f"'usage' of the pipeline's answer is {used!r:.80}, not a mapping.")
    for key in used:
        if key not in _USAGE_KEYS:
            raise PipelineError(
                f"'usage' of the pipeline's answer has a key {key!r}."
                f"{did_you_mean(str(key), _USAGE_KEYS)}"
            )
    amounts = {key: _amount(key, value) for key, value in used.items() if key != "model"}
    return Call(stage="llm", model=str(used.get("model") or "unknown"), **amounts)


def _amount(key: str, value: Any) -> Any:
    """Return tokens as an int and money as a float, NumPy's numbers made Python's own."""
    if value is None:
        return None
    where = f"usage.{key} of the pipeline's answer is"
    whole = key != "cost_usd"
    if is_number(value) and (isinstance(value, Integral) or not whole):
        try:
            size = float(value)
        except OverflowError:
            raise PipelineError(f"{where} too large a number.") from None
        if math.isfinite(size) and size >= 0:
            return operator.index(value) if whole else size
    kind = "a whole number" if whole else "a number"
    raise PipelineError(f"{where} {value!r:.60}, not {kind} of 0 or more.")


def _from_llama_index(raw: Any, document_key: str | None, found: Found) -> Reply | None:
    """Read a query engine's, chat engine's, LLM's or agent's response.

    Left out of a response's sources are nodes that its engine has written itself, such as the
    answers to sub-questions. One without any, as a custom engine makes it of a text, does not
    tell that nothing was retrieved if something was.
    """
    nodes = getattr(raw, "source_nodes", None)
    if nodes is not None and hasattr(raw, "response"):
        sources = [node for node in nodes if _is_source(node, found)]
        told = None if not sources and found.nodes else _documents(sources, document_key)
        return Reply(answer=_plain(raw.response), retrieved=told)
    for attribute in ("message", "response"):  # ChatResponse; AgentOutput
        content = getattr(getattr(raw, attribute, None), "content", None)
        if isinstance(content, str):
            return Reply(answer=content, retrieved=None)
    text = getattr(raw, "text", None)  # CompletionResponse
    if isinstance(text, str) and hasattr(raw, "raw"):
        return Reply(answer=text, retrieved=None)
    return None


def _is_source(scored: Any, found: Found) -> bool:
    node = getattr(scored, "node", scored)
    return not found.ids or bool(node.ref_doc_id) or node.node_id in found.ids


def _plain(response: Any) -> str:
    """Return an answer's text; a structured one is its JSON."""
    if hasattr(response, "model_dump_json"):
        return str(response.model_dump_json())
    return "" if response is None else str(response)
