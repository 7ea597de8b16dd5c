"""Keeps bytes by key between calls, runs and processes: in memory, in SQLite, in Redis.

A :class:`Cache` knows nothing of what it keeps. ``open_cache("sqlite:answers.db")`` gives one; more
kinds are registered in :data:`CACHES` or by the entry-point group ``pytest_rag.caches``::

    cache = open_cache("redis://:secret@cache.example.org/0")
    key = key_of("answers", query="What is due?", top_k=5)
    cache.put(key, pack(key, {"text": "Nothing."}), ttl=3600)
    body = unpack(key, cache.get(key))

A cache whose storage fails behaves like an empty one, warns once, and looks again after a moment.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pytest_rag.errors import ConfigError
from pytest_rag.registry import Registry, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "CACHES",
    "DEFAULT_PATH",
    "Cache",
    "CacheStats",
    "Key",
    "check_url",
    "key_of",
    "open_cache",
]

DEFAULT_PATH = Path(".rag_cache/cache.sqlite3")
"""Where ``sqlite`` without a path keeps its database, from the project's root."""

_NAMESPACE = re.compile(r"[\w.@+-]+(?:/[\w.@+-]+)*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):|([A-Za-z]+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Under what a value is kept.

    Attributes:
        namespace: Words with slashes between, such as ``answers/handbook/3f9a``; what is cleared
            together has the same beginning.
        digest: Of everything else the value depends on; lowercase hexadecimal.
    """

    namespace: str
    digest: str

    def __post_init__(self) -> None:
        """Refuse a namespace that is no path of words.

        Raises:
            ConfigError: says which characters may stand in one.
        """
        if _NAMESPACE.fullmatch(self.namespace) is None:
            raise ConfigError(
                f"{self.namespace!r} is no namespace of a cache: letters, digits and any of "
                "_.@+- may stand between slashes, such as 'answers/handbook'."
            )

    def __str__(self) -> str:
        """Render as ``namespace:digest``."""
        return f"{self.namespace}:{self.digest}"


def key_of(namespace: str, **parts: Any) -> Key:
    """Return the key of a value that depends on these parts; their order does not matter.

    Raises:
        TypeError: for a part that JSON cannot express.
        ValueError: for a number that is not finite.
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, allow_nan=False)
    # A lone surrogate is a legal character of a text, and has no UTF-8.
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Key(namespace=namespace, digest=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What a cache holds, and what was ever counted in it.

    Attributes:
        entries: Values that have not expired.
        bytes: Of those values.
        expired: Values that have, and are still there.
        leases: Values that somebody is computing now.
        namespaces: Entries by the first word of their namespace.
        totals: Sums of everything `Cache.tally` was told, of all processes.
    """

    entries: int
    bytes: int
    expired: int = 0
    leases: int = 0
    namespaces: Mapping[str, int] = field(default_factory=dict)
    totals: Mapping[str, float] = field(default_factory=dict)


class Cache(Protocol):
    """Keeps values by key; safe to use from many threads, and after a fork.

    No method but `check` and `stats` raises because the storage is away: a value that cannot be
    read is a miss, one that cannot be written is dropped, and a lease is granted.

    Attributes:
        url: As a person would write it, without its password.
        blocking: Whether a call may wait for a disk or a network, so that a coroutine should make
            it in a thread.
    """

    @property
    def url(self) -> str:
        """As a person would write it, without its password."""
        ...

    @property
    def blocking(self) -> bool:
        """Whether a call may wait for a disk or a network."""
        ...

    def get(self, key: Key) -> bytes | None:
        """Return a value that has not expired, or None."""
        ...

    def put(self, key: Key, value: bytes, *, ttl: float | None = None) -> bool:
        """Keep a value in place of any other, for ``ttl`` seconds; for good where None.

        Returns:
            Whether it is kept.
        """
        ...

    def delete(self, key: Key) -> bool:
        """Forget a value and tell whether there was one."""
        ...

    def scan(self, namespace: str) -> Iterator[tuple[Key, bytes]]:
        """Yield what is kept in exactly this namespace, in no order."""
        ...

    def clear(self, namespace: str | None = None) -> int:
        """Forget a namespace and those below it, or everything; return how many values that was.

        Totals are forgotten with everything.
        """
        ...

    def prune(self) -> int:
        """Forget what has expired, make the storage small; return how many values that was."""
        ...

    def lease(self, key: Key, token: str, seconds: float) -> bool:
        """Let one of all who ask compute a value; asking again with the same token extends it.

        Args:
            key: Of the value.
            token: Who asks; never the same for two.
            seconds: After which another may have it, should the holder have died.
        """
        ...

    def release(self, key: Key, token: str) -> None:
        """Give a lease back; nothing happens where another token holds it."""
        ...

    def tally(self, counts: Mapping[str, float]) -> None:
        """Add to the totals, whoever else adds at the same time."""
        ...

    def check(self) -> None:
        """Make sure that the storage can be used.

        Raises:
            UsageError: if not; says why.
        """
        ...

    def stats(self) -> CacheStats:
        """Return what is kept and counted.

        Raises:
            UsageError: if the storage cannot be read.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections; they are opened again when they are needed."""
        ...


# --- by name ----------------------------------------------------------------------------------


def _memory(url: str, _root: Path) -> Cache:
    from pytest_rag.cache.memory import MemoryCache

    return MemoryCache.from_url(url)


def _sqlite(url: str, root: Path) -> Cache:
    from pytest_rag.cache.sqlite import SQLiteCache

    return SQLiteCache.from_url(url, root)


def _redis(url: str, _root: Path) -> Cache:
    from pytest_rag.cache.redis import RedisCache

    return RedisCache.from_url(url)


CACHES: Registry[Callable[[str, Path], Cache]] = Registry("cache", "pytest_rag.caches")
for _name, _open in (
    ("memory", _memory),
    ("sqlite", _sqlite),
    ("redis", _redis),
    ("rediss", _redis),
):
    CACHES.register(_name, _open)


def check_url(url: str) -> str:
    """Return the kind of cache that a name or URL names.

    Raises:
        ConfigError: if there is none; names the nearest.
    """
    found = _SCHEME.match(url)
    kind = (found[1] or found[2]).lower() if found else url
    if found is None or CACHES.find(kind) is None:
        raise ConfigError(
            f"Unknown cache {kind!r}.{did_you_mean(kind, CACHES.names())} Write memory, sqlite, "
            "sqlite:PATH, redis://HOST:PORT/DB or rediss://HOST:PORT/DB."
        )
    return kind


def open_cache(url: str, root: Path | None = None) -> Cache:
    """Return the cache that a name or URL names.

    Args:
        url: ``memory``, ``sqlite``, ``sqlite:PATH``, ``redis://user:password@host:port/db``,
            ``rediss://…`` for TLS. Behind a ``?`` memory takes ``max_entries`` and ``max_bytes``,
            SQLite ``max_bytes``, and Redis what redis-py does, such as ``ssl_ca_certs``.
        root: Where relative paths start; the working directory where None.

    Raises:
        ConfigError: if the name or an option is unknown.
        MissingExtraError: if the package it needs is not installed.
    """
    return CACHES.get(check_url(url))(url, root if root is not None else Path.cwd())
