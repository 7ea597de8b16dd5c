"""The price of a call: the project's own, then genai-prices; unknown is never free."""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_rag.config import Price

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_rag.types import Call

__all__ = ["LOCAL_MODELS", "Bill", "if_free", "load_list", "price_calls", "tokens_of"]

LOCAL_MODELS = frozenset({"wordllama"})
"""Models that run inside this process and bill nobody."""

_FREE = Price()
_BEDROCK = re.compile(r"(?:\w+\.)?(?:amazon|anthropic|cohere|meta|mistral)\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Calls with their prices, and the sum.

    Attributes:
        calls: As given, with ``cost_usd`` filled where it is known.
        cost_usd: Sum in US dollars; None where one call's cost is unknown.
        reason: Why the sum is unknown, with what to type; None where it is known.
    """

    calls: tuple[Call, ...]
    cost_usd: float | None
    reason: str | None = None


def tokens_of(counts: Iterable[int | None]) -> int | None:
    """Return the sum of token counts; None where one of them is unknown."""
    found = 0
    for count in counts:
        if count is None:
            return None
        found += count
    return found


def load_list() -> None:
    """Import the list of prices where OpenAI's client is there, before that client is used.

    Both know ``httpx2``. While one thread imports it, calls of the client in another one fail.
    """
    if "openai" in sys.modules:
        import genai_prices  # noqa: F401 - what it imports is what counts


def price_calls(calls: Sequence[Call], prices: Mapping[str, Price]) -> Bill:
    """Price every call; no calls cost nothing."""
    priced = []
    total: float | None = 0.0
    reason: str | None = None
    for call in calls:
        cost, why = _cost(call, prices)
        priced.append(replace(call, cost_usd=cost))
        total = None if cost is None or total is None else total + cost
        reason = reason or why
    return Bill(calls=tuple(priced), cost_usd=total, reason=reason)


def _cost(call: Call, prices: Mapping[str, Price]) -> tuple[float | None, str | None]:
    if call.cost_usd is not None:
        return call.cost_usd, None
    own = prices.get(call.model) or (_FREE if call.model in LOCAL_MODELS else None)
    if own == _FREE:
        return 0.0, None
    if call.input_tokens is None:
        return None, f"{call.model}: the provider returned no token count; {if_free(call.model)}"
    if call.output_tokens is None and call.stage == "llm":
        return None, f"{call.model}: the provider returned no count of output tokens"
    cost = _listed(call) if own is None else _own(call, own)
    if cost is None:
        line = f'"{call.model}" = {{input = …, output = …}}'
        return None, f"no price is known for {call.model!r}: add {line} to [tool.pytest-rag.prices]"
    return cost, None


def if_free(model: str) -> str:
    """Return what to write where a model that tells no tokens costs nothing."""
    return f'if it is free, add "{model}" = 0 to [tool.pytest-rag.prices]'


def _own(call: Call, price: Price) -> float:
    cached = call.cached_input_tokens or 0
    cached_price = price.input if price.cached_input is None else price.cached_input
    fresh = (call.input_tokens or 0) - cached
    spent = fresh * price.input + cached * cached_price + (call.output_tokens or 0) * price.output
    return spent / 1e6


def _listed(call: Call) -> float | None:
    return _from_list(
        call.model, call.input_tokens or 0, call.cached_input_tokens or 0, call.output_tokens or 0
    )


@functools.lru_cache(maxsize=4096)
def _from_list(model: str, fresh_and_cached: int, cached: int, output: int) -> float | None:
    from genai_prices import Usage, calc_price

    usage = Usage(
        input_tokens=fresh_and_cached, cache_read_tokens=cached or None, output_tokens=output
    )
    for name, provider in _names(model):
        try:
            return float(calc_price(usage, model_ref=name, provider_id=provider).total_price)
        except LookupError:
            continue
    return None


def _names(model: str) -> Iterator[tuple[str, str | None]]:
    """Yield what the list may know a model as, with its provider where the name tells it."""
    yield model, None
    provider, slash, name = model.rpartition("/")
    if slash:  # "openai/gpt-4o-mini"; Google writes "models/gemini-2.5-flash"
        yield name, None if provider == "models" else provider
    if model.startswith("text-embedding-"):
        yield model, "openai"
    if _BEDROCK.match(model):
        yield model, "aws"
