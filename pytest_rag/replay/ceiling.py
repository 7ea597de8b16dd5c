"""Who pays for a call of a model where the run has a ceiling, and how many tokens it can take."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from pytest_rag.replay.aside import own_retries
from pytest_rag.replay.requests import model_name
from pytest_rag.replay.values import canonical, plain
from pytest_rag.trace import tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_rag.replay.pacing import Pacer
    from pytest_rag.trace.usage import Usage

__all__ = [
    "Bound",
    "Fare",
    "Purse",
    "apay",
    "bound_of",
    "current",
    "deposited",
    "fare_of",
    "give_back",
    "is_on_a_loop",
    "paid_by",
    "pay",
    "said_tokens",
]

_POLL_S = 0.02
# What frames a message, and a whole request, whoever the provider is.
_A_MESSAGE, _A_REQUEST = 8, 16
_LIMITS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_new_tokens",
    "max_tokens_to_sample",
    "num_predict",
)
_OPENAI = "llama_index.llms.openai"
_HOLDERS = ("additional_kwargs", "generate_kwargs", "generation_config", "_generation_config")
_WORDS = frozenset({"text", "tool_call", "thinking", "citable", "citation", "cache"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What one attempt of a call can take at most.

    Attributes:
        model: Its name.
        embeds: Whether it is an embedding model's.
        input_tokens: None where something other than text is asked.
        output_tokens: None where nothing limits them, and the call cannot be told a limit.
        is_told: Whether the call is told its limit, since the model has none of its own.
        choices: How many answers are asked for.
        attempts: How many the model's own client may make of one.
    """

    model: str
    embeds: bool
    input_tokens: int | None
    output_tokens: int | None
    is_told: bool = False
    choices: int = 1
    attempts: int = 1


class Fare(Protocol):
    """Sets money aside for the attempts of one call, one after the other."""

    def reserve(self, latest: float) -> bool:
        """Set aside what an attempt can cost; False where it must wait for others.

        Raises:
            BudgetError: if it may not start.
        """
        ...

    def give_up(self) -> None:
        """Refuse an attempt that cannot wait.

        Raises:
            BudgetError: always.
        """
        ...

    def settle(self, tokens: Usage, said: int) -> None:
        """Count what an answer cost.

        Args:
            tokens: What the provider counted.
            said: Tokens of the answer at most, for where it did not count.
        """
        ...

    def end(self, *, paid: bool) -> None:
        """Count all of an attempt that came to no answer, or nothing of it; once."""
        ...


class Purse(Protocol):
    """Pays for the calls of one case, or of the building of a pipeline."""

    @property
    def max_output_tokens(self) -> int:
        """What a model is told to answer at most that has no limit of its own."""
        ...

    @property
    def pacer(self) -> Callable[[], Pacer] | None:
        """What paces calls that no tape paces, as those of a judge."""
        ...

    def fare(self, bound: Bound) -> Fare | None:
        """Return who pays for a call; None where it is free.

        Raises:
            BudgetError: if its price is unknown, or it has no bound.
        """
        ...


_current: ContextVar[Purse | None] = ContextVar("pytest_rag_purse", default=None)
_deposit: ContextVar[Fare | None] = ContextVar("pytest_rag_deposit", default=None)
_active: list[Purse] = []


def current() -> Purse | None:
    """Return who pays for a call made here, or None where there is no ceiling.

    In a thread without context that is one of those at work; all draw on the same ceiling.
    """
    purse = _current.get()
    if purse is not None or not _active:
        return purse
    main = threading.current_thread() is threading.main_thread()
    return None if main else _active[-1]


@contextmanager
def paid_by(purse: Purse | None) -> Iterator[None]:
    """Let calls made inside be paid for by a purse; None changes nothing."""
    if purse is None:
        yield
        return
    token = _current.set(purse)
    _active.append(purse)
    try:
        yield
    finally:
        _current.reset(token)
        _active.remove(purse)


@contextmanager
def deposited(fare: Fare) -> Iterator[None]:
    """Let what was set aside be given back when a chat that is made inside is to be paid for."""
    token = _deposit.set(fare)
    try:
        yield
    finally:
        _deposit.reset(token)


def give_back() -> None:
    """Give back what was set aside for an object, since what asks for it pays for itself."""
    deposit = _deposit.get()
    if deposit is not None:
        deposit.end(paid=False)


def pay(fare: Fare, latest: float) -> None:
    """Wait in this thread until an attempt is paid for.

    Args:
        fare: Of the call.
        latest: When the case is given up, on the performance counter.

    Raises:
        BudgetError: if it could pass the ceiling.
    """
    while not fare.reserve(latest):
        if is_on_a_loop():  # which others need to come to an end
            fare.give_up()
        time.sleep(_POLL_S)


async def apay(fare: Fare, latest: float) -> None:
    """Wait likewise, and let the event loop go on.

    Raises:
        BudgetError: if it could pass the ceiling.
    """
    while not fare.reserve(latest):  # noqa: ASYNC110 - others are in other processes
        await asyncio.sleep(_POLL_S)


def is_on_a_loop() -> bool:
    """Tell whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def fare_of(
    purse: Purse, model: Any, given: tuple[tuple[Any, ...], Mapping[str, Any]], *, alone: bool
) -> tuple[Fare | None, dict[str, int]]:
    """Return who pays for a call, None where it is free, and the options that limit its answer.

    Args:
        purse: Of its case.
        model: LlamaIndex's object.
        given: Arguments of the call, and its keyword arguments.
        alone: Whether its client tries again by itself, so that all tries are paid in advance.

    Raises:
        BudgetError: if its price is unknown, or it has no bound.
    """
    attempts = 1 + (own_retries(model) or 0) if alone else 1
    bound = replace(bound_of(model, model_name(model), *given), attempts=attempts)
    if not bound.embeds:
        give_back()
    option = _limit_option(model) if bound.output_tokens is None else None
    if option is None:
        return purse.fare(bound), {}
    most = purse.max_output_tokens
    fare = purse.fare(replace(bound, output_tokens=most, is_told=True))
    return fare, {} if fare is None else {option: most}


def _limit_option(model: Any) -> str | None:
    """Return the option of a call that limits its answer; None where it may not be heeded.

    It is by the code of LlamaIndex's OpenAI classes, which others are derived from.
    """
    names = {cls.__name__ for cls in type(model).__mro__ if cls.__module__.startswith(_OPENAI)}
    if "OpenAIResponses" in names:
        return "max_output_tokens"
    if "OpenAI" not in names:
        return None
    # Its prompts that are no chats are given the whole context window where that can be counted.
    fills = not model.metadata.is_chat_model and getattr(model, "_tokenizer", None) is not None
    return None if fills else "max_tokens"


# --- how many tokens --------------------------------------------------------------------------


def bound_of(model: Any, name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> Bound:
    """Return what a call can take: no tokenizer makes more tokens of a text than it has bytes.

    Args:
        model: LlamaIndex's object.
        name: Of the model.
        args: Positional arguments of the call, what is asked the first of them.
        options: Keyword arguments.
    """
    embeds = hasattr(model, "_get_query_embedding")
    left = dict(options)
    asked = args[0] if args else left.pop(next(iter(left)), "")
    extra = getattr(model, "additional_kwargs", None)
    given = _embedded(name, asked) if embeds else _prompted(name, asked)
    if given is not None:
        given += _bytes(left) + (_bytes(extra) if extra else 0) + _A_REQUEST * (not embeds)
    return Bound(
        model=name,
        embeds=embeds,
        input_tokens=given,
        output_tokens=0 if embeds else _limit(model, left),
        choices=max([1, *_numbers(("n",), left, extra)]),
    )


def said_tokens(name: str, response: Any) -> int:
    """Return how many tokens an answer has at most whose provider did not count them."""
    counted = tokens.of_answer(name, response)
    message = getattr(response, "message", None)
    text = getattr(response, "text", "") if message is None else message
    return counted if counted is not None else len(str(text).encode("utf-8", "replace"))


def _embedded(name: str, asked: Any) -> int:
    texts = [asked] if isinstance(asked, str) else [str(text) for text in asked]
    counted = tokens.of_texts(name, texts)
    return sum(map(_text, texts)) if counted is None else counted


def _prompted(name: str, asked: Any) -> int | None:
    """Return the tokens of a prompt or of messages; None where they hold more than words."""
    if isinstance(asked, str):
        counted = tokens.of_prompt(name, asked)
        return _A_MESSAGE + (_text(asked) if counted is None else counted)
    blocks = [block for message in asked for block in getattr(message, "blocks", ())]
    if any(getattr(block, "block_type", "text") not in _WORDS for block in blocks):
        return None
    counted = tokens.of_prompt(name, asked)
    if counted is None:
        counted = sum(_text(str(message.content or "")) for message in asked)
    more = sum(_bytes(m.additional_kwargs) for m in asked if m.additional_kwargs)
    others = (block for block in blocks if block.block_type != "text")
    return counted + more + sum(map(_bytes, others)) + _A_MESSAGE * len(asked)


def _text(text: str) -> int:
    return len(text.encode("utf-8", "replace")) + 1


def _bytes(value: Any) -> int:
    return 0 if value in (None, {}) else len(canonical(plain(value)))


def _limit(model: Any, options: Mapping[str, Any]) -> int | None:
    held = (getattr(model, holder, None) for holder in _HOLDERS)
    own = {name: getattr(model, name, None) for name in _LIMITS}
    return max(_numbers(_LIMITS, options, own, *held), default=None)


def _numbers(names: tuple[str, ...], *sources: Any) -> list[int]:
    found = [
        source.get(name) if hasattr(source, "get") else getattr(source, name, None)
        for source in sources
        if source is not None
        for name in names
    ]
    return [n for n in found if type(n) is int and n > 0]
