"""Tokens a provider counted, found in a LlamaIndex response whatever the provider's format."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Usage", "of_response", "of_texts"]

# OpenAI and compatible · Anthropic, OpenAI's Responses, Cohere · Google · Ollama · Bedrock
_INPUT = (
    "prompt_tokens",
    "input_tokens",
    "prompt_token_count",
    "prompt_eval_count",
    "inputTokens",
)
_OUTPUT = (
    "completion_tokens",
    "output_tokens",
    "candidates_token_count",
    "eval_count",
    "outputTokens",
)
_CACHED = (
    "cached_tokens",
    "cache_read_input_tokens",
    "cached_content_token_count",
    "prompt_cache_hit_tokens",
    "cacheReadInputTokens",
)
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_USAGE = ("usage", "usage_metadata", "tokens")
_AROUND = ("response", "meta")  # an event of OpenAI's Responses, a response of Cohere's
# Counted apart, and billed with the rest:
_MORE_INPUT = (
    "cache_read_input_tokens",  # Anthropic
    "cache_creation_input_tokens",
    "cacheReadInputTokens",  # Bedrock
    "cacheWriteInputTokens",
    "tool_use_prompt_token_count",  # Google
)
_MORE_OUTPUT = ("thoughts_token_count",)  # Google


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call; None where the provider did not say.

    Attributes:
        input_tokens: All input tokens, cached ones included.
        cached_input_tokens: Those the provider read from its own cache.
        output_tokens: Generated tokens.
        model: The model the provider says it used, or None.
    """

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    model: str | None = None


def of_response(response: Any) -> Usage:
    """Read the usage of a LlamaIndex ``ChatResponse`` or ``CompletionResponse``.

    A count of zero input tokens means unknown, since no live call has an empty prompt.
    """
    if response is None:
        return Usage()
    raw = getattr(response, "raw", None)
    around = _first(raw, _AROUND)
    more = getattr(response, "additional_kwargs", None)
    model = _model(raw) or _model(around)
    for source in (_first(raw, _USAGE), _first(around, _USAGE), _first(more, _USAGE), more, raw):
        given = _int(source, _INPUT) or 0
        apart = _sum(source, _MORE_INPUT)
        if given or apart:
            cached = _int(source, _CACHED)
            if cached is None:
                cached = _int(_first(source, _DETAILS), _CACHED)
            said = _int(source, _OUTPUT)
            thought = _sum(source, _MORE_OUTPUT)
            return Usage(
                input_tokens=given + apart,
                cached_input_tokens=cached,
                output_tokens=said if said is None and not thought else (said or 0) + thought,
                model=model,
            )
    return Usage(model=model)


def of_texts(model: str, texts: Iterable[str]) -> int | None:
    """Count the tokens of embedded texts as OpenAI does; None for a model of anyone else."""
    if not model.startswith("text-embedding-"):
        return None
    count = _cl100k()
    return sum(len(count(text)) for text in texts)


@functools.cache
def _cl100k() -> Callable[[str], list[int]]:
    """Return the encoding of OpenAI's embedding models, from the copy that LlamaIndex carries."""
    import llama_index.core
    import tiktoken

    carried = Path(llama_index.core.__path__[0], "_static", "tiktoken_cache")
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = before or str(carried)
    try:
        return partial(tiktoken.get_encoding("cl100k_base").encode, disallowed_special=())
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]


def _get(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def _first(source: Any, names: tuple[str, ...]) -> Any:
    return next((v for v in (_get(source, n) for n in names) if v is not None), None)


def _int(source: Any, names: tuple[str, ...]) -> int | None:
    value = _first(source, names)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _sum(source: Any, names: tuple[str, ...]) -> int:
    return sum(_int(source, (name,)) or 0 for name in names)


def _model(raw: Any) -> str | None:
    model = _first(raw, ("model", "model_version"))
    return model if isinstance(model, str) and model else None
