"""Refuses connections to anything but this machine, for as long as a replay runs."""

from __future__ import annotations

import functools
import ipaddress
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pytest_rag.replay import scope

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NetworkRefusedError", "refusing"]


class NetworkRefusedError(ConnectionRefusedError):
    """Something tried to reach another machine in replay mode."""


def refusing(*, only_replayed: bool = False) -> ExitStack:
    """Refuse connections and look-ups of names from now on, until the result is closed.

    Sockets of this process that are opened through Python's ``socket`` are met, those of asyncio
    among them; loopback addresses and Unix sockets work as ever.

    Args:
        only_replayed: Refuse nothing but what evalsets do that are replayed.
    """
    undo = ExitStack()
    applies = _is_replayed if only_replayed else _always
    for name in ("connect", "connect_ex"):
        _stand_before(undo, socket.socket, name, (applies, _before_connect))
    for name in ("sendto", "sendmsg"):
        if hasattr(socket.socket, name):
            _stand_before(undo, socket.socket, name, (applies, _before_send))
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        _stand_before(undo, socket, name, (applies, _before_lookup))
    return undo


def _always() -> bool:
    return True


def _is_replayed() -> bool:
    take = scope.current()
    return take is not None and take.tape.source.strict


_Check = tuple["Callable[[], bool]", "Callable[[str, tuple[Any, ...]], None]"]
"""Whether to look, and what looks."""


def _stand_before(undo: ExitStack, owner: Any, name: str, guard: _Check) -> None:
    applies, check = guard
    original = getattr(owner, name)
    was_own = name in vars(owner)

    @functools.wraps(original)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if applies():
            check(name, args or tuple(kwargs.values()))
        return original(*args, **kwargs)

    def put_back() -> None:
        if was_own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)

    setattr(owner, name, guarded)
    undo.callback(put_back)


def _before_connect(_name: str, args: tuple[Any, ...]) -> None:
    """Check the arguments ``(socket, address)``."""
    _check_address(args[0], args[1] if len(args) > 1 else None)


def _before_send(name: str, args: tuple[Any, ...]) -> None:
    """Check the address of a datagram: the last argument, where one is given."""
    has_address = len(args) >= (3 if name == "sendto" else 5)
    if has_address:
        _check_address(args[0], args[-1])


def _before_lookup(_name: str, args: tuple[Any, ...]) -> None:
    host = args[0] if args else None
    if not _is_local(host):
        raise _refused(_text(host))


def _check_address(sock: socket.socket, address: Any) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        return
    if not _is_local(address[0]):
        raise _refused(f"{_text(address[0])}:{address[1]}")


def _is_local(host: Any) -> bool:
    text = _text(host).rstrip(".").lower()
    if text in ("", "localhost", socket.gethostname().lower()) or text.endswith(".localhost"):
        return True
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback or found.is_unspecified


def _text(host: Any) -> str:
    if host is None:
        return ""
    return host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)


def _refused(where: str) -> NetworkRefusedError:
    text = (
        f"Replay mode refused a connection to {where}: answers come from the cassette, and nothing "
        "but this machine may be reached. Record what is missing with --rag-mode=record, or run "
        "live."
    )
    take = scope.current()
    if take is not None and take.refused is None:
        take.refused = text
    return NetworkRefusedError(text)
