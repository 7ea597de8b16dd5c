"""Refuses connections to anything but this machine, for as long as a replay runs."""

from __future__ import annotations

import functools
import importlib.util
import ipaddress
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pytest_rag.replay import scope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NetworkRefusedError", "refusing"]


class NetworkRefusedError(ConnectionRefusedError):
    """Something tried to reach another machine in replay mode."""


def refusing(*, only_replayed: bool = False) -> ExitStack:
    """Refuse connections and look-ups of names from now on, until the result is closed.

    Sockets of this process that are opened through Python's ``socket`` are met, those of asyncio
    among them, and the connections of uvloop; loopback addresses and Unix sockets work as ever.

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
    if importlib.util.find_spec("uvloop") is not None:
        _stand_before_uvloop(undo, applies)
    return undo


def _stand_before_uvloop(undo: ExitStack, applies: Callable[[], bool]) -> None:
    """Meet what does not go through Python's ``socket``."""
    loop = importlib.import_module("uvloop").Loop
    for name, check in (
        ("create_connection", _before_connection),
        ("create_datagram_endpoint", _before_datagrams),
        ("getaddrinfo", _before_look_up),
    ):
        _stand_before(undo, loop, name, (applies, check))


def _always() -> bool:
    return True


def _is_replayed() -> bool:
    take = scope.current()
    return take is not None and take.tape.source.strict


_Check = tuple["Callable[[], bool]", "Callable[[str, tuple[Any, ...], Mapping[str, Any]], None]"]
"""Whether to look, and what looks."""


def _stand_before(undo: ExitStack, owner: Any, name: str, guard: _Check) -> None:
    applies, check = guard
    original = getattr(owner, name)
    was_own = name in vars(owner)

    @functools.wraps(original)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if applies():
            check(name, args, kwargs)
        return original(*args, **kwargs)

    def put_back() -> None:
        if was_own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)

    setattr(owner, name, guarded)
    undo.callback(put_back)


def _before_connect(_name: str, args: tuple[Any, ...], _kwargs: Mapping[str, Any]) -> None:
    """Check the arguments ``(socket, address)``, which have no names."""
    _check_address(args[0], args[1] if len(args) > 1 else None)


def _before_send(name: str, args: tuple[Any, ...], _kwargs: Mapping[str, Any]) -> None:
    """Check the address of a datagram: the last argument, where one is given."""
    has_address = len(args) >= (3 if name == "sendto" else 5)
    if has_address:
        _check_address(args[0], args[-1])


def _before_lookup(_name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    _check_host(args[0] if args else kwargs.get("host"))


def _before_look_up(_name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Check the arguments ``(loop, host, …)``."""
    _check_host(args[1] if len(args) > 1 else kwargs.get("host"))


def _before_connection(_name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Check the arguments ``(loop, protocol_factory, host, port, …)``."""
    _check_host(args[2] if len(args) > 2 else kwargs.get("host"))


def _before_datagrams(_name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Check the arguments ``(loop, protocol_factory, local_addr, remote_addr, …)``."""
    there = args[3] if len(args) > 3 else kwargs.get("remote_addr")
    _check_host(there[0] if isinstance(there, tuple) else None)


def _check_host(host: Any) -> None:
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
