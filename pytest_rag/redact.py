"""Takes secrets out of everything that is written."""

from __future__ import annotations

import functools
import os
import re
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["holds_secret", "redact"]

_MARK = "[redacted]"
_PATTERNS = (
    re.compile(
        r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?)(?:(?:bearer|basic|token)\s+)?[^\s\"',}]+"
    ),
    re.compile(r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"(?i)(\b(?:api|secret|access)[_-]?key[\"']?\s*[:=]\s*[\"']?)[^\s\"',}&]{4,}"),
    re.compile(r"()\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|github_pat)[-_][A-Za-z0-9_-]{16,}"),
    re.compile(r"(://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(  # the path of a webhook is all that protects it
        r"(?i)(://(?:hooks\.slack\.com|(?:\w+\.)?discord(?:app)?\.com/api/webhooks"
        r"|[\w.-]+\.webhook\.office\.com)/)[^\s\"'<>]+"
    ),
)
# Most texts hold nothing of the kind, which one search tells.
_SUSPECT = re.compile("|".join(f"(?i:{p.pattern.removeprefix('(?i)')})" for p in _PATTERNS))
_SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "WEBHOOK", "WEBHOOK_URL")
_SHORTEST = 8
_LONG = 200


def redact(value: Any) -> Any:
    """Return a plain JSON value with keys, tokens and passwords replaced.

    Gone are authorisation headers, values that look like a provider's key, passwords in URLs, the
    addresses of well-known webhooks, and the value of every environment variable whose name ends
    in KEY, TOKEN, SECRET, PASSWORD, WEBHOOK or WEBHOOK_URL.
    """
    secrets = _secrets()
    return _redact(value, secrets) if _suspect(value, secrets) else value


def holds_secret(text: str) -> bool:
    """Tell whether a text holds the value of an environment variable that names a secret."""
    return any(secret in text for secret in _secrets())


def _suspect(value: Any, secrets: Sequence[str]) -> bool:
    """Tell whether any text in a value may hold a secret; most values hold none."""
    texts: set[str] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is str:
            texts.add(item)
        elif kind is dict:
            waiting.extend(item.values())
        elif kind is list or kind is tuple:
            waiting.extend(item)
    return any(_is_suspect(text, secrets) for text in texts if len(text) >= _SHORTEST)


def _is_suspect(text: str, secrets: Sequence[str]) -> bool:
    found = _SUSPECT.search(text) is not None if len(text) > _LONG else _looks_suspect(text)
    return found or any(secret in text for secret in secrets)


# Document ids and reasons come again and again.
@functools.lru_cache(maxsize=4096)
def _looks_suspect(text: str) -> bool:
    return _SUSPECT.search(text) is not None


def _redact(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, str):
        return _text(value, secrets) if len(value) >= _SHORTEST else value
    if isinstance(value, dict):
        return {k: v if v is None else _redact(v, secrets) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redact(inner, secrets) for inner in value]
    return value


def _text(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _MARK)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<1>{_MARK}", text)
    return text


def _secrets() -> list[str]:
    """Return the values as they are now of variables that name a secret, the longest first."""
    # A name that came is seen by their number; one that took another's place, a second later.
    values = {os.environ.get(name, "") for name in _names(len(os.environ), int(time.monotonic()))}
    return sorted((v for v in values if len(v) >= _SHORTEST), key=len, reverse=True)


@functools.lru_cache(maxsize=1)
def _names(_count: int, _second: int) -> list[str]:
    return [name for name in os.environ if name.endswith(_SECRET_NAMES)]
