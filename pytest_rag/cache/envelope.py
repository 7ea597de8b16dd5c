"""JSON around a value, which tells a whole value of ours from a torn or foreign one."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_rag.cache import Key

__all__ = ["CorruptEntryError", "pack", "unpack"]

_HEAD = b'{"check":"'
_MIDDLE = b'","body":'
_DIGEST = 32
_START = len(_HEAD) + _DIGEST + len(_MIDDLE)


class CorruptEntryError(ValueError):
    """A value is torn, was put under another key, or is none of ours."""


def pack(key: Key, body: Mapping[str, Any]) -> bytes:
    """Return a JSON object that holds ``body`` and a checksum of it and its key.

    Raises:
        TypeError: for what JSON cannot express.
        ValueError: for a number that is not finite.
    """
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        inner = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can hold
        inner = json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    return b"".join((_HEAD, _checksum(key, inner), _MIDDLE, inner, b"}"))


def unpack(key: Key, value: bytes) -> dict[str, Any]:
    """Return the ``body`` that was packed for this key.

    Raises:
        CorruptEntryError: for anything else.
    """
    inner = value[_START:-1]
    if value[:_START] != b"".join((_HEAD, _checksum(key, inner), _MIDDLE)) or value[-1:] != b"}":
        raise CorruptEntryError(f"The value of {key} is torn or foreign.")
    try:
        body = json.loads(inner)
    except (ValueError, RecursionError) as error:
        raise CorruptEntryError(f"The value of {key} is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise CorruptEntryError(f"The value of {key} is no JSON object.")
    return body


def _checksum(key: Key, inner: bytes) -> bytes:
    made = hashlib.blake2b(inner, digest_size=_DIGEST // 2, person=b"pytest-rag")
    made.update(str(key).encode("utf-8", "surrogatepass"))
    return made.hexdigest().encode()
