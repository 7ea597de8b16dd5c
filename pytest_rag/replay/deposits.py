"""What is set aside for an object before it is known how its model's class asks for it.

LlamaIndex's own code, and most of its providers', asks the model's chat, which is paid for by
itself: then the deposit is given back. Some classes ask past it, and the deposit pays.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_rag.replay import ceiling, scope
from pytest_rag.replay.aside import own_retries
from pytest_rag.replay.pacing import INSIDE
from pytest_rag.replay.requests import model_name, passes
from pytest_rag.trace.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from pytest_rag.replay.ceiling import Fare

__all__ = ["Deposit", "deposit_of"]

_OPENAI = "llama_index.llms.openai"
_RESPONSES = f"{_OPENAI}.responses"
_LIMIT = "max_output_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """Money that is set aside for one object.

    Attributes:
        fare: Who pays; None where there is no ceiling, or nothing to pay by itself.
        most: Tokens that are answered at most.
        options: Of the call beside those it was given, since the model has no other limit.
    """

    fare: Fare | None = None
    most: int = 0
    options: Mapping[str, int] = field(default_factory=dict)

    def pay(self) -> None:
        """Wait in this thread until it is set aside.

        Raises:
            BudgetError: if the call could pass the ceiling.
        """
        if self.fare is not None:
            ceiling.pay(self.fare, _latest())

    async def apay(self) -> None:
        """Wait likewise, and let the event loop go on.

        Raises:
            BudgetError: if the call could pass the ceiling.
        """
        if self.fare is not None:
            await ceiling.apay(self.fare, _latest())

    def open(self) -> AbstractContextManager[None]:
        """Let it be given back when a chat inside is paid for."""
        return nullcontext() if self.fare is None else ceiling.deposited(self.fare)

    def settle(self, tokens: Usage | None) -> None:
        """Count what the object cost: as much as it could where nobody told."""
        if self.fare is not None:
            self.fare.settle(tokens or Usage(), self.most)

    def end(self, *, paid: bool) -> None:
        """Count all of a call that came to no object, or nothing of it."""
        if self.fare is not None:
            self.fare.end(paid=paid)


def _latest() -> float:
    take = scope.own()
    return math.inf if take is None else take.deadline


def deposit_of(
    original: Any,
    model: Any,
    wanted: tuple[type, Callable[[], Any]],
    options: Mapping[str, Any] | None,
) -> Deposit:
    """Return what has to be set aside for an object.

    Args:
        original: The method of the model's class that asks for it.
        model: LlamaIndex's object.
        wanted: The class of the object, and what returns the messages.
        options: Of the call.

    Raises:
        BudgetError: if its price is unknown, or it has no bound.
    """
    purse = ceiling.current()
    if purse is None or INSIDE.get() or passes(model) or _asks_chat(original):
        return Deposit()
    ceiling.give_back()  # of a class that another is derived from
    output, messages = wanted
    given = {**(options or {}), "output": output}
    bound = ceiling.bound_of(model, model_name(model), (messages(),), given)
    bound = replace(bound, attempts=1 + (own_retries(model) or 0))
    told: dict[str, int] = {}
    if original.__module__ == _RESPONSES and _LIMIT not in given:  # which drops the model's own
        most = bound.output_tokens or purse.max_output_tokens
        told = {_LIMIT: most}
        bound = replace(bound, output_tokens=most, is_told=bound.output_tokens is None)
    fare = purse.fare(bound)
    most = (bound.output_tokens or purse.max_output_tokens) * bound.choices
    return Deposit(fare=fare, most=most, options={} if fare is None else told)


def _asks_chat(original: Any) -> bool:
    """Tell whether a method is known to ask its model's chat, by LlamaIndex's code for OpenAI."""
    if original.__module__ == _RESPONSES:
        return "stream" in str(original.__name__)
    return bool(original.__module__ == f"{_OPENAI}.base")
