"""Tokens a provider counted, found in a LlamaIndex response whatever the provider's format."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Usage", "of_response"]

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
_WRITTEN = ("cache_creation_input_tokens", "cacheWriteInputTokens", "cache_write_tokens")
_WRITTEN_1H = ("ephemeral_1h_input_tokens",)
_REASONED = ("reasoning_tokens", "thoughts_token_count")
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")
_KEPT = ("cache_creation",)
_TIER = ("service_tier", "serviceTier")
_USUAL_TIERS = frozenset({"", "auto", "default", "standard", "on_demand"})
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
_ALL_INPUT = ("prompt_tokens",)  # OpenAI's count, whatever else a proxy tells beside it
_MORE_OUTPUT = ("thoughts_token_count",)  # Google


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call; None where the provider did not say.

    Attributes:
        input_tokens: All input tokens, cached ones included.
        cached_input_tokens: Those the provider read from its own cache.
        cache_write_tokens: Those it wrote there.
        cache_write_1h_tokens: The part of these that it keeps for an hour.
        output_tokens: Generated tokens, those of reasoning included.
        reasoning_tokens: Those of reasoning.
        model: The model the provider says it used, or None.
        tier: How it was served, or None for the usual way.
    """

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    model: str | None = None
    tier: str | None = None


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
        given = _input(source)
        if given:
            return Usage(
                input_tokens=given,
                cached_input_tokens=_within(source, _CACHED, _DETAILS),
                cache_write_tokens=_within(source, _WRITTEN, _DETAILS),
                cache_write_1h_tokens=_int(_first(source, _KEPT), _WRITTEN_1H),
                output_tokens=_output(source, response),
                reasoning_tokens=_within(source, _REASONED, _OUTPUT_DETAILS),
                model=model,
                tier=_tier(source, around, raw),
            )
    return Usage(model=model)


def _input(source: Any) -> int:
    """Return all input tokens; what is counted apart is added, 0 where nothing is known."""
    given = _int(source, _INPUT) or 0
    apart = 0 if _int(source, _ALL_INPUT) else _sum(source, _MORE_INPUT)
    return given + apart


def _output(source: Any, response: Any) -> int | None:
    """Return all output tokens; none for an answer that is there is a count not made."""
    said = _int(source, _OUTPUT)
    apart = _sum(source, _MORE_OUTPUT) or _reasoned_apart(source, said)
    if said is None and not apart:
        return None
    total = (said or 0) + apart
    return None if total == 0 and _text(response) else total


def _reasoned_apart(source: Any, said: int | None) -> int:
    """Return reasoning tokens where the total tells that the output does not hold them."""
    total = _int(source, ("total_tokens",))
    thought = _within(source, _REASONED, _OUTPUT_DETAILS)
    if total is None or not thought or said is None:
        return 0
    return thought if total == _input(source) + said + thought else 0


def _text(response: Any) -> str:
    text = getattr(getattr(response, "message", None), "content", None)
    text = text or getattr(response, "text", None)
    return text if isinstance(text, str) else ""


def _within(source: Any, names: tuple[str, ...], details: tuple[str, ...]) -> int | None:
    value = _int(source, names)
    return value if value is not None else _int(_first(source, details), names)


def _tier(*sources: Any) -> str | None:
    found = next((v for s in sources if isinstance(v := _first(s, _TIER), str)), "")
    return None if found in _USUAL_TIERS else found


def _get(source: Any, name: str) -> Any:
    if isinstance(source, Mapping):
        return source.get(name)
    lacks = _lacks_of(source.__class__)
    return None if lacks is not None and lacks(source, name) else getattr(source, name, None)


@functools.cache
def _lacks_of(cls: type) -> Callable[[Any, str], bool] | None:
    """Return what tells that a pydantic model lacks a name, which it takes long to say itself."""
    if not hasattr(cls, "__pydantic_fields__"):
        return None
    known = frozenset(dir(cls))

    def lacks(model: Any, name: str) -> bool:
        more = model.__pydantic_extra__
        return not (name in model.__dict__ or name in known or (more and name in more))

    return lacks


def _first(source: Any, names: tuple[str, ...]) -> Any:
    return next((v for v in (_get(source, n) for n in names) if v is not None), None)


def _int(source: Any, names: tuple[str, ...]) -> int | None:
    value = _first(source, names)
    real = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if real else None


def _sum(source: Any, names: tuple[str, ...]) -> int:
    return sum(_int(source, (name,)) or 0 for name in names)


def _model(raw: Any) -> str | None:
    model = _first(raw, ("model", "model_version"))
    return model if isinstance(model, str) and model else None
