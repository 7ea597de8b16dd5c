"""Tokens a provider counted, found in a LlamaIndex response whatever the provider's format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Usage", "of_response"]

# OpenAI and compatible · Anthropic, OpenAI's Responses · Google · Ollama · Cohere
_INPUT = (
    "prompt_tokens",
    "input_tokens",
    "prompt_token_count",
    "prompt_eval_count",
)
_OUTPUT = (
    "completion_tokens",
    "output_tokens",
    "candidates_token_count",
    "eval_count",
)
_CACHED = ("cached_tokens", "cache_read_input_tokens", "cached_content_token_count")
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_USAGE = ("usage", "usage_metadata")


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
    counts = _first(raw, _USAGE)
    for source in (counts, getattr(response, "additional_kwargs", None), raw):
        given = _int(source, _INPUT)
        if given:
            cached = _int(source, _CACHED)
            if cached is None:
                cached = _int(_first(source, _DETAILS), _CACHED)
            return Usage(
                input_tokens=given,
                cached_input_tokens=cached,
                output_tokens=_int(source, _OUTPUT),
                model=_model(raw),
            )
    return Usage(model=_model(raw))


def _get(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def _first(source: Any, names: tuple[str, ...]) -> Any:
    return next((v for v in (_get(source, n) for n in names) if v is not None), None)


def _int(source: Any, names: tuple[str, ...]) -> int | None:
    value = _first(source, names)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _model(raw: Any) -> str | None:
    model = _get(raw, "model")
    return model if isinstance(model, str) and model else None
