"""Pays for the calls of a case under a run's ceiling: each is set aside before it starts."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_rag.costs.money import NANO, money, to_usd
from pytest_rag.costs.prices import price_calls, price_of
from pytest_rag.errors import BudgetError
from pytest_rag.types import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_rag.config import Config, Price
    from pytest_rag.costs.budget import Budget, Reservation

__all__ = ["Purse", "purse_of", "settled"]

_MAX_OUTPUT = 4096
_PATIENCE_S = 1.0
_HURRY_S = 0.3
"""Before the end of its case a call that waits is refused, so that the case can say why."""


@dataclass(slots=True, eq=False, kw_only=True)
class Purse:
    """What is set aside for a case, and what its calls do to it.

    Attributes:
        hold: What is set aside; grows where a call can cost more.
        config: Prices, and what a model without a limit of its own answers at most.
        pacer: Returns what paces calls that no tape paces; None where nothing does.
        refused: Why a call was refused, or None.
    """

    hold: Reservation
    config: Config
    pacer: Callable[[], Any] | None = None
    refused: BudgetError | None = None

    @property
    def max_output_tokens(self) -> int:
        """What a model is told to answer at most that has no limit of its own."""
        return self.config.max_output_tokens or _MAX_OUTPUT

    def fare(self, bound: Any) -> _Fare | None:
        """Return who pays for a call; None where it is free.

        Args:
            bound: What the call can take, as `pytest_rag.replay.ceiling.Bound`.

        Raises:
            BudgetError: if its price is unknown, or it has no bound.
        """
        why = price_of(bound.model, self.config.prices)
        if why is not None:
            free = f'; if it is free, "{bound.model}" = 0'
            raise self.refuse(f"Under a ceiling costs must be known: {why}{free}.")
        most = _most(bound, self.config, self.max_output_tokens)
        if most is None:
            raise self.refuse(
                f"{bound.model} is asked something other than text, and what that costs is not "
                "known before. Run without a ceiling, or with --rag-mode=replay."
            )
        if most == 0:
            return None
        if not bound.embeds and bound.output_tokens is None and not self.config.max_output_tokens:
            raise self.refuse(
                f"{bound.model} has no limit to its answers, so that what a call can cost is not "
                "known before. Give the model max_tokens, or say in [tool.pytest-rag] what it "
                "answers at most: max_output_tokens = …"
            )
        return _Fare(self, bound, most)

    def raise_refusal(self) -> None:
        """Raise what a pipeline swallowed.

        Raises:
            BudgetError: if a call was refused.
        """
        if self.refused is not None:
            raise self.refused

    def refuse(self, reason: BudgetError | str) -> BudgetError:
        """Remember the first refusal, which a pipeline may swallow, and return the error."""
        error = BudgetError(reason) if isinstance(reason, str) else reason
        self.refused = self.refused or error
        return error


def _most(bound: Any, config: Config, unlimited: int) -> int | None:
    """Return the most that a call can cost in nano-dollars, its client's attempts included.

    Args:
        bound: What it can take.
        config: For the prices.
        unlimited: Tokens that a model without a limit answers at most.
    """
    given = bound.input_tokens
    if given is None:
        return None
    output = bound.output_tokens
    said = (unlimited if output is None else output) * bound.choices
    stage = "embed" if bound.embeds else "llm"
    plain = Call(stage=stage, model=bound.model, input_tokens=given, output_tokens=said)
    ways: tuple[dict[str, Any], ...] = (
        {},
        {"cache_write_tokens": given},
        {"cache_write_tokens": given, "cache_write_1h_tokens": given},
    )
    costs = [
        _price(replace(plain, reasoning_tokens=thought, **way), config.prices)
        for way in ways
        for thought in (None, said)
    ]
    return None if None in costs else bound.attempts * max(c for c in costs if c is not None)


def _price(call: Call, prices: Mapping[str, Price]) -> int | None:
    cost = price_calls([call], prices).calls[0].cost_usd
    return None if cost is None else math.ceil(cost * NANO)


class _Fare:
    """The attempts of one call."""

    def __init__(self, purse: Purse, bound: Any, most: int) -> None:
        self._purse = purse
        self._bound = bound
        self._most = most
        self._held: int | None = None
        self._idle_since = time.monotonic()

    def reserve(self, latest: float) -> bool:
        """Set aside what an attempt can cost; False where it must wait for others.

        Raises:
            BudgetError: if it may not start.
        """
        hold = self._purse.hold
        try:
            self._held = hold.begin_call(self._most, self._bound.model)
        except BudgetError:
            self.give_up()
        if self._held is not None:
            return True
        now = time.monotonic()
        if not hold.budget.is_idle():
            self._idle_since = now
        if now - self._idle_since > _PATIENCE_S or time.perf_counter() > latest - _HURRY_S:
            hold.go_on()  # so that of several that wait for each other one gives way
            self.give_up()
        return False

    def give_up(self) -> None:
        """Refuse an attempt that cannot wait.

        Raises:
            BudgetError: always.
        """
        raise self._purse.refuse(self._too_dear()) from None

    def settle(self, tokens: Any, said: int) -> None:
        """Count what an answer cost.

        Args:
            tokens: What the provider counted, as `pytest_rag.trace.usage.Usage`.
            said: Tokens of the answer at most, for where it did not count.
        """
        if self._held is None:
            return
        call = Call(
            stage="embed" if self._bound.embeds else "llm",
            model=self._bound.model,
            input_tokens=tokens.input_tokens,
            cached_input_tokens=tokens.cached_input_tokens,
            cache_write_tokens=tokens.cache_write_tokens,
            cache_write_1h_tokens=tokens.cache_write_1h_tokens,
            output_tokens=tokens.output_tokens,
            reasoning_tokens=tokens.reasoning_tokens,
            tier=tokens.tier,
        )
        cost = _price(call, self._purse.config.prices)
        self._end(self._counted(said) if cost is None else cost)

    def end(self, *, paid: bool) -> None:
        """Count all of an attempt that came to no answer, or nothing of it; once."""
        self._end(self._held or 0 if paid else 0)

    def _end(self, cost: int) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._purse.hold.end_call(held, cost, self._bound.model)

    def _counted(self, said: int) -> int:
        """Return what a call cost at most whose provider did not count."""
        config, bound = self._purse.config, self._bound
        call = Call(
            stage="embed" if bound.embeds else "llm",
            model=bound.model,
            input_tokens=bound.input_tokens,
            output_tokens=said,
        )
        cost = _price(call, config.prices)
        return self._most if cost is None else min(cost, self._most)

    def _too_dear(self) -> BudgetError:
        bound, limit = self._bound, self._purse.hold.budget.limit_usd
        said = "" if bound.embeds else self._output()
        return BudgetError(
            f"A call of {bound.model} can cost {money(to_usd(self._most))} ({bound.input_tokens:,} "
            f"input tokens{said}): what is left of the run's ceiling of ${limit:g} may not be "
            "enough."
        )

    def _output(self) -> str:
        own = self._bound.output_tokens
        most = self._purse.max_output_tokens if own is None else own
        by = ", by max_output_tokens, since it has no max_tokens" if self._bound.is_told else ""
        return f" and {most:,} of output{by}"


def purse_of(
    hold: Reservation | None, config: Config, pacer: Callable[[], Any] | None = None
) -> Purse | None:
    """Return what pays for the calls of a case; None without a ceiling."""
    return None if hold is None else Purse(hold=hold, config=config, pacer=pacer)


@contextmanager
def settled(
    budget: Budget | None, config: Config, pacer: Callable[[], Any] | None = None
) -> Iterator[Purse | None]:
    """Yield what pays for calls that belong to no case, and settle for them at the end."""
    if budget is None:
        yield None
        return
    purse = Purse(hold=budget.open_hold(), config=config, pacer=pacer)
    try:
        yield purse
    finally:
        purse.hold.settle_calls()
