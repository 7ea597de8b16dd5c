"""Lets cases in one by one under a run's ceiling, and settles for them when they are done."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_rag.costs.budget import Budget, Reservation
    from pytest_rag.records import Result

__all__ = ["admitted", "settling"]

_POLL_S = 0.02
_PATIENCE_S = 2.0


async def admitted(
    budget: Budget | None, evalset: str, *, by_call: bool = False
) -> Reservation | None:
    """Wait until a case may start, and return what is set aside; None without a ceiling.

    Args:
        budget: The run's.
        evalset: Name of the case's.
        by_call: Whether its calls alone cost money, and may be free.

    Raises:
        BudgetError: if it may not start any more.
    """
    if budget is None:
        return None
    async with budget.door():
        return await _let_in(budget, evalset, by_call=by_call)


async def _let_in(budget: Budget, evalset: str, *, by_call: bool) -> Reservation:
    idle_since = time.monotonic()
    while (hold := budget.admit(evalset, by_call=by_call)) is None:
        if not budget.is_idle():
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since > _PATIENCE_S:
            # What others hold is given back only once somebody asks for them, who waits for this.
            raise budget.too_little()
        await asyncio.sleep(_POLL_S)
    return hold


def settling(hold: Reservation | None, finish: Callable[[], Result]) -> Callable[[], Result]:
    """Return what is left to do of a case, made to settle what was set aside for it."""
    if hold is None:
        return finish
    hold.wait()

    def settled() -> Result:
        hold.go_on()
        result = finish()
        hold.settle_case(result.calls, cost_usd=result.cost_usd, broke=result.error is not None)
        return result

    return settled
