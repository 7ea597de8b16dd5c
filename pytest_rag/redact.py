"""Takes secrets out of everything that is written."""

from __future__ import annotations

import functools
import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["redact"]

_MARK = "[redacted]"
_PATTERNS = (
    re.compile(
        r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?)(?:(?:bearer|basic|token)\s+)?[^\s\"',}]+"
    ),
    re.compile(r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"(?i)(\b(?:api|secret|access)[_-]?key[\"']?\s*[:=]\s*[\"']?)[^\s\"',}&]{4,}"),
    re.compile(r"()\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|github_pat)[-_][A-Za-z0-9_-]{16,}"),
    re.compile(r"(://)[^/\s:@]+:[^/\s@]+(?=@)"),
)
# Most texts hold nothing of the kind, which one search tells.
_SUSPECT = re.compile("|".join(f"(?i:{p.pattern.removeprefix('(?i)')})" for p in _PATTERNS))
_SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD")
_SHORTEST = 8
_LONG = 200


def redact(value: Any) -> Any:
    """Return a plain JSON value with keys, tokens and passwords replaced.

    Gone are authorisation headers, values that look like a provider's key, passwords in URLs,
    and the value of every environment variable whose name ends in KEY, TOKEN, SECRET or PASSWORD.
    """
    return _redact(value, _secrets())


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
    return _without_keys(text) if len(text) > _LONG else _without_keys_again(text)


def _without_keys(text: str) -> str:
    for pattern in _PATTERNS if _SUSPECT.search(text) else ():
        text = pattern.sub(rf"\g<1>{_MARK}", text)
    return text


# Document ids and reasons come again and again.
_without_keys_again = functools.lru_cache(maxsize=4096)(_without_keys)


def _secrets() -> list[str]:
    values = {os.environ[name] for name in os.environ if name.endswith(_SECRET_NAMES)}
    return sorted((v for v in values if len(v) >= _SHORTEST), key=len, reverse=True)
