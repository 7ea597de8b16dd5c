"""What a case cost, by the calls of its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.costs.ledger import ledger_of
from pytest_rag.costs.money import known
from pytest_rag.costs.prices import if_free
from pytest_rag.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_rag.config import Config

__all__ = ["cost_of", "dearest", "known_part", "why_unknown"]


def dearest(config: Config, evalset: str) -> int | None:
    """Return what the dearest case of an evalset has cost, if every cost is known."""
    ledger = ledger_of(config)
    if ledger is None:
        return None
    try:
        before = ledger.cases_of(evalset)
    except LedgerError:
        return None
    finally:
        ledger.close()
    return None if before is None or before.unknown else before.most_nano


def cost_of(
    calls: Sequence[Mapping[str, Any]], cost_usd: float | None, *, broke: bool
) -> int | None:
    """Return what a case and its judges cost in nano-dollars; None where that is unknown.

    A case that broke before it made a call cost nothing. What came from a cache cost nothing now.
    """
    if not calls:
        return 0 if broke else known(cost_usd)
    costs = [known(call.get("cost_usd")) for call in calls if _is_live(call)]
    return None if None in costs else known_part(calls)


def known_part(calls: Sequence[Mapping[str, Any]]) -> int:
    """Return what is known of a case's cost."""
    return sum(known(call.get("cost_usd")) or 0 for call in calls if _is_live(call))


def _is_live(call: Mapping[str, Any]) -> bool:
    return bool(call.get("origin", "live") == "live")


def why_unknown(calls: Sequence[Mapping[str, Any]]) -> str:
    """Return why a case's cost is unknown, with what to type."""
    for call in calls:
        model = str(call.get("model"))
        if call.get("cost_usd") is not None:
            continue
        if not call.get("input_tokens"):
            return f"{model}: the provider returned no token count; {if_free(model)}"
        line = f'"{model}" = {{input = …, output = …}}'
        return f"No price is known for {model!r}: add {line} to [tool.pytest-rag.prices]"
    return "The pipeline tells of no calls: it is no LlamaIndex object and returned no 'usage'."
