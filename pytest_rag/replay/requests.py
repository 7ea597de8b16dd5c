"""A call of a LlamaIndex model → the request that identifies it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pytest_rag.redact import redact
from pytest_rag.replay.values import canonical, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Kind", "Request", "model_name", "of_embedding", "of_llm", "passes"]

Kind = Literal[
    "chat",
    "complete",
    "stream_chat",
    "stream_complete",
    "structured",
    "stream_structured",
    "embed_query",
    "embed_text",
]

# Settings of a model object that change its answers; everything else is a matter of transport.
_PARAMETERS = (
    "additional_kwargs",
    "dimensions",
    "frequency_penalty",
    "generate_kwargs",
    "json_mode",
    "max_tokens",
    "modalities",
    "num_output",
    "presence_penalty",
    "query_instruction",
    "reasoning_effort",
    "seed",
    "stop",
    "stop_sequences",
    "strict",
    "system_prompt",
    "temperature",
    "text_instruction",
    "thinking",
    "top_k",
    "top_p",
    "verbosity",
)
_TRANSPORT = frozenset({"timeout", "headers", "extra_headers", "http_client", "api_key"})


@dataclass(frozen=True)
class Request:
    """What was asked of a model, as plain JSON values without secrets.

    Attributes:
        kind: Of call.
        model: Its name, or its class's where it has none.
        body: Messages, prompt or text, and the parameters that matter.
        component: LlamaIndex's object that is asked.
    """

    kind: Kind
    model: str
    body: Mapping[str, Any]
    component: Any = field(repr=False, compare=False)

    @cached_property
    def text(self) -> str:
        """The one text of the request."""
        return canonical([self.kind, self.model, self.body])

    @cached_property
    def key(self) -> str:
        """32 hexadecimal digits that identify the request."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def of_llm(
    kind: Kind, llm: Any, asked: Any, options: Mapping[str, Any], *, judge: str = ""
) -> Request:
    """Return the request of a language model's call.

    Args:
        kind: Of call.
        llm: LlamaIndex's object.
        asked: Messages, or a prompt's text.
        options: Keyword arguments of the call.
        judge: The metric whose judge asks, which keeps its answers apart; empty for a pipeline.
    """
    name = "prompt" if isinstance(asked, str) else "messages"
    said = asked if isinstance(asked, str) else [_message(message) for message in asked]
    kept = {k: v for k, v in options.items() if k not in _TRANSPORT and v not in (None, False)}
    body = {name: said, "options": plain(kept), "parameters": _parameters(llm)}
    body |= {"stage": f"judge: {judge}"} if judge else {}
    return Request(kind, model_name(llm), redact({k: v for k, v in body.items() if v}), llm)


def of_embedding(kind: Kind, model: Any, text: str) -> Request:
    """Return the request of one text to an embedding model."""
    sparse = True if "BaseSparseEmbedding" in {c.__name__ for c in type(model).__mro__} else None
    body = {"text": text, "parameters": _parameters(model), "sparse": sparse}
    kept = redact({k: v for k, v in body.items() if v not in (None, {})})
    return Request(kind, model_name(model), kept, model)


def _message(message: Any) -> Any:
    """Return a chat message, short where it is nothing but text."""
    blocks = getattr(message, "blocks", None)
    if blocks is None:
        return plain(message)
    more = plain(message.additional_kwargs)
    simple = all(getattr(block, "block_type", None) == "text" for block in blocks)
    content = {"content": message.content or ""} if simple else {"blocks": plain(blocks)}
    return {"role": plain(message.role), **content, **({"additional": more} if more else {})}


def _parameters(model: Any) -> dict[str, Any]:
    found = {name: getattr(model, name, None) for name in _PARAMETERS}
    return {k: plain(v) for k, v in found.items() if v is not None and v != {}}


def model_name(model: Any) -> str:
    """Return the name of a model's object, or its class's where it has none."""
    metadata = getattr(model, "metadata", None)
    named = (getattr(model, "model_name", None), getattr(metadata, "model_name", None))
    known = (name for name in (*named, getattr(model, "model", None)) if isinstance(name, str))
    return next((name for name in known if name and name != "unknown"), type(model).__name__)


def passes(model: Any) -> bool:
    """Tell whether a model computes here, as its class says, or hands every call to another."""
    from llama_index.core.llms.structured_llm import StructuredLLM

    return isinstance(model, StructuredLLM) or getattr(type(model), "rag_record", True) is False
