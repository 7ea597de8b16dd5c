"""What went wrong with a call of a model: whether to try again, when, and how to say it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Fault", "backoff", "fault_of", "retry_after", "says_why"]

_AGAIN = frozenset({429, 500, 502, 503, 504, 529})
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_TIMEOUTS = frozenset(
    {"APITimeoutError", "TimeoutException", "TimeoutError", "ServerTimeoutError", "ReadTimeout"}
)
_UNREACHED = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ClientConnectorError"})
_BROKEN = frozenset(
    {
        "APIConnectionError",
        "ClientConnectionError",
        "ConnectionError",
        "NetworkError",
        "RemoteProtocolError",
        "TransportError",
    }
)
_OWN_FAULT = frozenset({"UnsupportedProtocol", "LocalProtocolError", "NetworkRefusedError"})
_ELSEWHERE = (
    "Its client was first used on an event loop that is not the cases', as by blocking code with "
    "use_async=True in a factory that is asynchronous. Make the factory a plain function"
)
_FIRST_S, _LONGEST_S = 0.5, 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failed attempt.

    Attributes:
        again: Whether another attempt may succeed.
        after_s: Seconds the provider asks to wait before it, or None.
        refused: Whether the provider said that there were too many (429).
        paid: Whether the provider may have worked, and count it.
        text: What happened, in plain words; empty where the exception says it.
    """

    again: bool
    after_s: float | None = None
    refused: bool = False
    paid: bool = False
    text: str = ""


def fault_of(error: BaseException, now: float | None = None) -> Fault:
    """Return what an exception of a model's client means, whatever the client.

    Args:
        error: The exception.
        now: Seconds since the epoch, for a ``Retry-After`` that is a date.
    """
    status = _status(error)
    if status is not None:
        return Fault(
            again=status in _AGAIN and not _is_spent(error),
            after_s=retry_after(_headers(error), time.time() if now is None else now),
            refused=status == 429,
        )
    if isinstance(error, json.JSONDecodeError):
        text = "What the provider answered is no JSON, so it cannot be read"
        return Fault(again=False, paid=True, text=text)
    kinds = [{cls.__name__ for cls in type(each).__mro__} for each in _chain(error)]
    names = set[str]().union(*kinds)
    if any(kind & _OWN_FAULT for kind in kinds[:2]):  # deeper ones are the transport's own
        return Fault(again=False)
    if names & _UNREACHED or isinstance(_root(error), ConnectionRefusedError):
        return Fault(again=True, text="The provider could not be reached")
    if names & _TIMEOUTS:
        text = "The provider did not answer within the client's time-out"
        return Fault(again=True, paid=True, text=text)
    if any(isinstance(each, RuntimeError) and "loop" in str(each) for each in _chain(error)):
        return Fault(again=True, paid=True, text=_ELSEWHERE)
    if names & _BROKEN:
        text = "The connection broke before the answer was complete"
        return Fault(again=True, paid=True, text=text)
    return Fault(again=False, paid=True)


def retry_after(headers: Any, now: float) -> float | None:
    """Return the seconds that ``Retry-After`` or ``retry-after-ms`` asks for, or None.

    Args:
        headers: A mapping, or None.
        now: Seconds since the epoch, which a date is counted from.
    """
    if headers is None:
        return None
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = headers.get(name)
        if said is None:
            continue
        try:
            seconds = float(said) * scale
        except ValueError:
            seconds = _until(said, now)
        if 0 <= seconds < float("inf"):
            return seconds
    return None


def backoff(attempt: int, chance: float) -> float:
    """Return the seconds before another attempt where nobody says how many.

    They double from 0.5 to 8; chance takes away up to half, so that callers do not come together.

    Args:
        attempt: How many have failed, from 1.
        chance: From 0 to 1.
    """
    return min(_FIRST_S * 2.0 ** (attempt - 1), _LONGEST_S) * (1 - chance / 2)


def says_why(raw: Any) -> bool:
    """Tell whether a provider's object in OpenAI's form says why the answer ended."""
    return any(_get(choice, "finish_reason") is not None for choice in _get(raw, "choices") or ())


def _get(of: Any, name: str) -> Any:
    return of.get(name) if isinstance(of, dict) else getattr(of, name, None)


def _until(date: str, now: float) -> float:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - now)
    except ValueError:
        return -1.0


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    candidates = (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(error, "status", None),
        getattr(error, "code", None),
    )
    return next((c for c in candidates if type(c) is int and 400 <= c <= 599), None)


def _headers(error: BaseException) -> Any:
    response = getattr(error, "response", None)
    found = getattr(response, "headers", None) or getattr(error, "headers", None)
    return found if hasattr(found, "get") else None


def _is_spent(error: BaseException) -> bool:
    """Tell whether an account has nothing left, which no waiting mends."""
    return getattr(error, "code", None) in _SPENT or getattr(error, "type", None) in _SPENT


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _root(error: BaseException) -> BaseException:
    return list(_chain(error))[-1]
