"""Sets a model's own retries aside while ours are at work, since both would multiply."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["own_retries", "set_aside"]

_CLIENTS = ("_client", "_aclient")
_NAME = "max_retries"


def own_retries(model: Any) -> int | None:
    """Return how often a model's object would try again by itself, or None where it cannot."""
    with _lock:
        held = _held.get(id(model))
    found = getattr(model, _NAME, None) if held is None else held.retries
    return found if type(found) is int and found >= 0 else None


@dataclass(slots=True)
class _Held:
    model: Any
    retries: Any
    clients: dict[str, tuple[Any, Any]]
    users: int = 0


_held: dict[int, _Held] = {}
_lock = threading.Lock()


@contextmanager
def set_aside(model: Any) -> Iterator[None]:
    """Let a model's object and its clients try only once for as long as somebody is inside."""
    with _lock:
        held = _held.get(id(model))
        if held is None:
            held = _held[id(model)] = _Held(model, getattr(model, _NAME, None), _clients(model))
            _set(model, 0)
            for client, _ in held.clients.values():
                _set(client, 0)
        held.users += 1
    try:
        yield
    finally:
        with _lock:
            held.users -= 1
            if held.users == 0:
                del _held[id(model)]
                _put_back(held)


def _put_back(held: _Held) -> None:
    _set(held.model, held.retries)
    known = held.clients
    for name, (client, retries) in _clients(held.model).items():
        before = known.get(name)
        # A client that was made meanwhile was told 0.
        same = before is not None and before[0] is client
        _set(client, before[1] if same and before is not None else held.retries or retries)


def _clients(model: Any) -> dict[str, tuple[Any, Any]]:
    found = {name: getattr(model, name, None) for name in _CLIENTS}
    return {
        name: (client, getattr(client, _NAME))
        for name, client in found.items()
        if client is not None and hasattr(client, _NAME)
    }


def _set(of: Any, retries: Any) -> None:
    if retries is not None and hasattr(of, _NAME):
        with suppress(AttributeError, TypeError, ValueError):  # frozen, or none of ours
            setattr(of, _NAME, retries)
