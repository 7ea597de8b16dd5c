"""The price of a call: the project's own, then genai-prices; unknown is never free."""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_rag.config import Price
from pytest_rag.costs.money import to_nano, to_usd
from pytest_rag.types import Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


__all__ = [
    "JUDGE",
    "LOCAL_MODELS",
    "Bill",
    "if_free",
    "load_list",
    "price_calls",
    "price_of",
    "tokens_of",
]

JUDGE = "judge"
"""The stage of a metric's own calls, whose cost is not the pipeline's."""

LOCAL_MODELS = frozenset({"MockEmbedding", "MockLLM", "MockSparseEmbedding", "wordllama"})
"""Models that run inside this process and bill nobody."""

_FREE = Price()
_PROCESSING = frozenset({"batch"})
_BEDROCK = re.compile(r"(?:\w+\.)?(?:amazon|anthropic|cohere|meta|mistral)\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Calls with their prices, and the sum.

    Attributes:
        calls: As given, with ``cost_usd`` filled where it is known.
        cost_usd: Sum of the pipeline's in US dollars; None where one call's cost is unknown.
        reason: Why that sum is unknown, with what to type; None where it is known.
        judge_cost_usd: Sum of the judges' calls; None where one call's cost is unknown.
        judge_reason: Why that is unknown, or None.
    """

    calls: tuple[Call, ...]
    cost_usd: float | None
    reason: str | None = None
    judge_cost_usd: float | None = 0.0
    judge_reason: str | None = None


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
    """Price every call; no calls cost nothing. Judges' calls are summed up apart."""
    priced: list[Call] = []
    reasons: dict[bool, str | None] = {False: None, True: None}
    for call in calls:
        cost, why = _cost(call, prices)
        priced.append(replace(call, cost_usd=cost))
        judges = call.stage == JUDGE
        reasons[judges] = reasons[judges] or why
    return Bill(
        calls=tuple(priced),
        cost_usd=_sum(call for call in priced if call.stage != JUDGE),
        reason=reasons[False],
        judge_cost_usd=_sum(call for call in priced if call.stage == JUDGE),
        judge_reason=reasons[True],
    )


def _sum(calls: Iterable[Call]) -> float | None:
    total = 0
    for call in calls:
        if call.cost_usd is None:
            return None
        total += to_nano(call.cost_usd)
    return to_usd(total)


def price_of(model: str, prices: Mapping[str, Price]) -> str | None:
    """Return why a model has no price, with the line to add; None where it has one."""
    probe = Call(stage="llm", model=model, input_tokens=1, output_tokens=1)
    return _cost(probe, prices)[1]


def _cost(call: Call, prices: Mapping[str, Price]) -> tuple[float | None, str | None]:
    if call.cost_usd is not None:
        return call.cost_usd, None
    own = prices.get(call.model) or (_FREE if call.model in LOCAL_MODELS else None)
    if own == _FREE:
        return 0.0, None
    if not call.input_tokens:  # no live call has an empty prompt
        return None, f"{call.model}: the provider returned no token count; {if_free(call.model)}"
    if call.output_tokens is None and call.stage != "embed":
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
    given, said = call.input_tokens or 0, call.output_tokens or 0
    cached, written, thought = _parts(call)
    spent = (
        (given - cached - written) * price.input
        + cached * _or(price.cached_input, price.input)
        + written * _or(price.cache_write, price.input)
        + (said - thought) * price.output
        + thought * _or(price.reasoning, price.output)
    )
    return spent / 1e6


def _or(price: float | None, otherwise: float) -> float:
    return otherwise if price is None else price


def _parts(call: Call) -> tuple[int, int, int]:
    """Return tokens read from a cache, written to it, and reasoned: no more than there are."""
    given = call.input_tokens or 0
    cached = min(call.cached_input_tokens or 0, given)
    written = min(call.cache_write_tokens or 0, given - cached)
    return cached, written, min(call.reasoning_tokens or 0, call.output_tokens or 0)


def _listed(call: Call) -> float | None:
    cached, written, thought = _parts(call)
    counts = {
        "input_tokens": call.input_tokens,
        "cache_read_tokens": cached,
        "cache_write_tokens": written,
        "cache_write_1h_tokens": min(call.cache_write_1h_tokens or 0, written),
        "output_tokens": call.output_tokens or 0,
        "output_reasoning_tokens": thought,
    }
    told = tuple((name, n) for name, n in counts.items() if n)
    return _from_list(call.model, call.tier, told)


@functools.lru_cache(maxsize=4096)
def _from_list(model: str, tier: str | None, counts: tuple[tuple[str, int], ...]) -> float | None:
    from genai_prices import Usage, calc_price

    usage = Usage(**dict(counts))
    context = _context(tier)
    for name, provider in _names(model):
        try:
            found = calc_price(usage, model_ref=name, provider_id=provider, price_context=context)
        except LookupError:
            continue
        return float(found.total_price)
    return None


def _context(tier: str | None) -> dict[str, str] | None:
    """Return how genai-prices names the way a call was served."""
    if tier is None:
        return None
    return {"processing" if tier in _PROCESSING else "service_tier": tier}


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
