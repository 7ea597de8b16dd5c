"""The cache of one process: least recently used goes first."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from pytest_rag.cache import CacheStats, Key
from pytest_rag.cache.options import split
from pytest_rag.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["MemoryCache"]


class MemoryCache:
    """Keeps values in this process, within a number of entries and of bytes.

    A value larger than the whole is not kept. What is kept is lost with the process, and a fork
    has its own copy.
    """

    blocking = False

    def __init__(
        self,
        *,
        max_entries: int = 10_000,
        max_bytes: int = 256 << 20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make an empty cache.

        Args:
            max_entries: The most values it keeps.
            max_bytes: The most bytes those may have together, keys not counted.
            clock: Seconds since any fixed moment.

        Raises:
            ConfigError: if a limit is below 1.
        """
        if max_entries < 1 or max_bytes < 1:
            raise ConfigError("max_entries and max_bytes of a memory cache must be above 0.")
        self.url = "memory"
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.RLock()
        self._entries: OrderedDict[Key, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0
        self._leases: dict[Key, tuple[float, str]] = {}
        self._totals: Counter[str] = Counter()

    @classmethod
    def from_url(cls, url: str) -> MemoryCache:
        """Return the cache of ``memory`` or ``memory:?max_entries=…&max_bytes=…``.

        Raises:
            ConfigError: for anything else.
        """
        address, options = split(url, ("max_entries", "max_bytes"))
        if address.strip("/"):
            raise ConfigError(f"A memory cache has no address: write 'memory', not {url!r}.")
        return cls(**options)  # type: ignore[arg-type]

    def get(self, key: Key) -> bytes | None:
        """Return a value that has not expired, or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            if found[0] <= self._clock():
                self._forget(key)
                return None
            self._entries.move_to_end(key)
            return found[1]

    def put(self, key: Key, value: bytes, *, ttl: float | None = None) -> bool:
        """Keep a value, and let go of the least recently used ones where there is no room."""
        expires = math.inf if ttl is None else self._clock() + ttl
        with self._lock:
            self._forget(key)
            if len(value) > self._max_bytes:
                return False
            self._entries[key] = (expires, value)
            self._bytes += len(value)
            while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
                self._forget(next(iter(self._entries)))
        return True

    def delete(self, key: Key) -> bool:
        """Forget a value and tell whether there was one."""
        with self._lock:
            return self._forget(key)

    def scan(self, namespace: str) -> Iterator[tuple[Key, bytes]]:
        """Yield what is kept in exactly this namespace."""
        now = self._clock()
        with self._lock:
            found = [
                (key, value)
                for key, (expires, value) in self._entries.items()
                if key.namespace == namespace and expires > now
            ]
        yield from found

    def clear(self, namespace: str | None = None) -> int:
        """Forget a namespace and those below it, or everything."""
        with self._lock:
            if namespace is None:
                self._totals.clear()
            gone = [key for key in self._entries if _is_within(key, namespace)]
            for key in gone:
                self._forget(key)
        return len(gone)

    def prune(self) -> int:
        """Forget what has expired."""
        now = self._clock()
        with self._lock:
            gone = [key for key, (expires, _) in self._entries.items() if expires <= now]
            for key in gone:
                self._forget(key)
            self._leases = {k: lease for k, lease in self._leases.items() if lease[0] > now}
        return len(gone)

    def lease(self, key: Key, token: str, seconds: float) -> bool:
        """Grant a lease that nobody else holds."""
        now = self._clock()
        with self._lock:
            until, holder = self._leases.get(key, (0.0, token))
            if holder != token and until > now:
                return False
            self._leases[key] = (now + seconds, token)
            return True

    def release(self, key: Key, token: str) -> None:
        """Give a lease back."""
        with self._lock:
            if self._leases.get(key, (0.0, ""))[1] == token:
                del self._leases[key]

    def tally(self, counts: Mapping[str, float]) -> None:
        """Add to the totals."""
        with self._lock:
            for name, count in counts.items():
                self._totals[name] += count  # type: ignore[assignment]

    def check(self) -> None:
        """Do nothing: memory is always there."""

    def stats(self) -> CacheStats:
        """Return what is kept and counted."""
        now = self._clock()
        with self._lock:
            alive = [(k, v) for k, (expires, v) in self._entries.items() if expires > now]
            return CacheStats(
                entries=len(alive),
                bytes=sum(len(value) for _, value in alive),
                expired=len(self._entries) - len(alive),
                leases=sum(until > now for until, _ in self._leases.values()),
                namespaces=Counter(key.namespace.partition("/")[0] for key, _ in alive),
                totals=dict(self._totals),
            )

    def close(self) -> None:
        """Do nothing: what is kept stays until the process ends."""

    def _forget(self, key: Key) -> bool:
        found = self._entries.pop(key, None)
        self._bytes -= len(found[1]) if found is not None else 0
        return found is not None


def _is_within(key: Key, namespace: str | None) -> bool:
    return namespace is None or f"{key.namespace}/".startswith(f"{namespace}/")
