"""The cache of many machines: a Redis server, through redis-py."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_rag.cache import CacheStats, Key
from pytest_rag.cache.outage import Outage
from pytest_rag.errors import ConfigError
from pytest_rag.extras import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["RedisCache"]

_ENTRY = "pytest_rag:entry:"
_LEASE = "pytest_rag:lease:"
_TOTALS = "pytest_rag:totals"
_COUNTED = "pytest_rag:counted:"
_BATCH = 500
_NUMBER = re.compile(rb"-?\d+(\.\d+)?(e[+-]?\d+)?")
_ADVICE = (
    "The URL of the Redis cache cannot be read. Write redis://user:password@host:port/db, and any "
    "of / ? # @ in the password as %2F, %3F, %23 or %40."
)
# Extends the lease of a token, or grants it where nobody has it.
_TAKE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_GIVE_BACK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
# Adds to the totals once, however often the client sends it again after an answer got lost.
_ADD = """
if not redis.call('SET', KEYS[2], 1, 'NX', 'EX', 60) then return 0 end
for i = 1, #ARGV, 2 do redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""


class RedisCache:
    """Keeps values in a Redis server; all its keys begin with ``pytest_rag:``.

    How much there is room for, and what goes first, are the server's ``maxmemory`` settings.
    """

    blocking = True

    def __init__(self, client: Any, *, name: str = "redis", pause_s: float = 1.0) -> None:
        """Use a client of redis-py's, which must not decode responses.

        Args:
            client: A ``redis.Redis``.
            name: For messages; without a password.
            pause_s: How long a server that failed is left alone.
        """
        redis = require("redis", "redis")
        self.url = name
        self._redis = client
        self._take = client.register_script(_TAKE)
        self._give_back = client.register_script(_GIVE_BACK)
        self._add = client.register_script(_ADD)
        self._outage = Outage(name, (redis.RedisError, OSError), pause_s=pause_s)

    @classmethod
    def from_url(cls, url: str) -> RedisCache:
        """Return the cache of ``redis://…`` or ``rediss://…``; nothing is connected yet.

        Raises:
            ConfigError: if redis-py cannot read the URL; the message holds no password.
            MissingExtraError: if redis-py is not installed.
        """
        redis = require("redis", "redis")
        retry = require("redis.retry", "redis")
        backoff = require("redis.backoff", "redis")
        name = _without_password(url)
        try:
            client = redis.Redis.from_url(
                url,
                socket_connect_timeout=2.0,
                socket_timeout=5.0,
                # An idle connection that the server has closed is opened again, once; a server
                # that is silent is not waited for twice.
                retry=retry.Retry(backoff.NoBackoff(), 1, (redis.ConnectionError,)),
            )
            pool = client.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # refuses what it does not know
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(_unreadable(name, error)) from None
        return cls(client, name=name)

    # --- values -------------------------------------------------------------------------------

    def get(self, key: Key) -> bytes | None:
        """Return a value that has not expired, or None."""
        found = self._outage.guard(lambda: self._read(f"{_ENTRY}{key}"), None)
        return found if isinstance(found, bytes) else None

    def _read(self, name: str) -> Any:
        try:
            return self._redis.get(name)
        except require("redis", "redis").ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return b""  # somebody's list or set, and no value of ours

    def put(self, key: Key, value: bytes, *, ttl: float | None = None) -> bool:
        """Keep a value in place of any other; tell whether it is kept."""
        until = None if ttl is None else max(1, round(ttl * 1000))
        return bool(
            self._outage.guard(lambda: self._redis.set(f"{_ENTRY}{key}", value, px=until), None)
        )

    def delete(self, key: Key) -> bool:
        """Forget a value and tell whether there was one."""
        return bool(self._outage.guard(lambda: self._redis.unlink(f"{_ENTRY}{key}"), 0))

    def scan(self, namespace: str) -> Iterator[tuple[Key, bytes]]:
        """Yield what is kept in exactly this namespace."""
        head = f"{_ENTRY}{namespace}:"
        nothing: list[tuple[bytes, bytes]] = []
        for name, value in self._outage.guard(lambda: list(self._pairs(head)), nothing):
            yield Key(namespace=namespace, digest=_text(name)[len(head) :]), value

    def _pairs(self, head: str) -> Iterator[tuple[bytes, bytes]]:
        names = list(self._names(head))
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            for name, value in zip(batch, self._redis.mget(batch), strict=True):
                if value is not None:
                    yield name, value

    def clear(self, namespace: str | None = None) -> int:
        """Forget a namespace and those below it, or everything of ours."""
        if namespace is None:
            heads = [_ENTRY]
            self._outage.guard(lambda: self._redis.delete(_TOTALS), 0)
        else:
            heads = [f"{_ENTRY}{namespace}:", f"{_ENTRY}{namespace}/"]
        return self._outage.guard(lambda: sum(map(self._forget, heads)), 0)

    def _forget(self, head: str) -> int:
        gone = 0
        batch: list[bytes] = []
        for name in self._names(head):
            batch.append(name)
            if len(batch) == _BATCH:
                gone += self._redis.unlink(*batch)
                batch = []
        return gone + (self._redis.unlink(*batch) if batch else 0)

    def prune(self) -> int:
        """Do nothing: a Redis server forgets what has expired by itself."""
        return 0

    def _names(self, head: str) -> Iterator[bytes]:
        """Yield every key with a beginning; the server may tell one twice."""
        pattern = "".join(f"\\{c}" if c in "*?[]\\^" else c for c in head) + "*"
        yield from set(self._redis.scan_iter(match=pattern, count=_BATCH))

    # --- leases and totals --------------------------------------------------------------------

    def lease(self, key: Key, token: str, seconds: float) -> bool:
        """Grant a lease that nobody else holds."""
        name, until = f"{_LEASE}{key}", max(1, round(seconds * 1000))

        def ask() -> bool:
            if self._redis.set(name, token, nx=True, px=until):
                return True
            return bool(self._take(keys=[name], args=[token, until]))

        return self._outage.guard(ask, instead=True)

    def release(self, key: Key, token: str) -> None:
        """Give a lease back."""
        name = f"{_LEASE}{key}"
        self._outage.guard(lambda: self._give_back(keys=[name], args=[token]), None)

    def tally(self, counts: Mapping[str, float]) -> None:
        """Add to the totals."""
        keys = [_TOTALS, f"{_COUNTED}{uuid.uuid4().hex}"]
        words = [str(word) for pair in counts.items() for word in pair]
        self._outage.guard(lambda: self._add(keys=keys, args=words), None)

    # --- the whole ----------------------------------------------------------------------------

    def check(self) -> None:
        """Make sure that the server answers, lets us in and lets us write.

        Raises:
            UsageError: if not; says why.
        """
        self._outage.strict(lambda: self._redis.unlink(f"{_LEASE}nobody's"))

    def stats(self) -> CacheStats:
        """Return what is kept and counted.

        Raises:
            UsageError: if the server does not answer.
        """
        return self._outage.strict(self._stats)

    def _stats(self) -> CacheStats:
        names = list(self._names(_ENTRY))
        sizes: list[int] = []
        for start in range(0, len(names), _BATCH):
            with self._redis.pipeline(transaction=False) as pipeline:
                for name in names[start : start + _BATCH]:
                    pipeline.strlen(name)
                sizes += pipeline.execute(raise_on_error=False)
        alive = [(n, s) for n, s in zip(names, sizes, strict=True) if isinstance(s, int) and s]
        heads = (_text(name)[len(_ENTRY) :].partition(":")[0] for name, _ in alive)
        totals = self._redis.hgetall(_TOTALS)
        return CacheStats(
            entries=len(alive),
            bytes=sum(size for _, size in alive),
            leases=sum(1 for _ in self._names(_LEASE)),
            namespaces=Counter(head.partition("/")[0] for head in heads),
            totals={_text(n): float(v) for n, v in totals.items() if _NUMBER.fullmatch(v)},
        )

    def close(self) -> None:
        """Close every connection."""
        self._redis.close()


def _text(name: bytes) -> str:
    """Return a key's name; anybody may have put one there."""
    return name.decode(errors="replace")


def _without_password(url: str) -> str:
    """Return scheme, host, port and database of a URL.

    Raises:
        ConfigError: if they cannot be told from its password, and the message holds nothing of
            it; or if the database is no number.
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise ConfigError(_ADVICE) from None
    if "@" in parts.path:
        raise ConfigError(_ADVICE)
    database = parts.path.strip("/")
    server = f"{parts.scheme}://{parts.hostname or 'localhost'}{port}"
    if database and not (database.isascii() and database.isdigit()):
        raise ConfigError(
            f"{database!r} is no database of Redis: they are numbers. Write {server}/0."
        )
    return f"{server}{parts.path}"


def _unreadable(name: str, error: Exception) -> str:
    unknown = re.search("unexpected keyword argument ('.+')", str(error))
    if unknown is None:
        return f"{name} cannot be read: {error}"
    return f"{name} has no option {unknown[1]}; those of TLS belong to rediss://…"
