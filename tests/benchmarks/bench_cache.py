"""What a hit costs: in memory, in SQLite, in Redis, and through a whole query engine."""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import redis
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import Response
from llama_index.core.schema import NodeWithScore, TextNode

from pytest_rag import CachedQueryEngine
from pytest_rag.cache import key_of, open_cache
from pytest_rag.cache.envelope import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ROUNDS = 40
_CALLS = 250
_KEYS = 1000
_BODY = {"answer": "Five days of leave carry over. " * 100}  # about 3 kB


def _in_turn(*works: Callable[[int], object]) -> list[list[float]]:
    """Return the µs a call of each takes, round by round, in turn."""
    found: list[list[float]] = [[] for _ in works]
    for turn in range(_ROUNDS):
        order = list(range(len(works)))
        for place in order if turn % 2 else reversed(order):
            began = time.perf_counter()
            for n in range(_CALLS):
                works[place](n)
            found[place].append((time.perf_counter() - began) / _CALLS * 1e6)
    return found


def _spread(values: list[float], form: str) -> str:
    low, *_, high = sorted(values)
    return f"{low:{form}} to {high:{form}}"


@pytest.fixture
def redis_port(tmp_path) -> Iterator[int]:
    """A server of our own."""
    assert shutil.which("redis-server"), "apt-get install -y redis-server"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen([*command, "--bind", "127.0.0.1", "--logfile", "log"])
    with redis.Redis(port=port) as client:
        for _ in range(200):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.02)
    yield port
    server.kill()
    server.wait()


def _filled(url: str):
    cache = open_cache(url)
    keys = [key_of("bench", n=n) for n in range(_KEYS)]
    for key in keys:
        cache.put(key, pack(key, _BODY), ttl=3600)
    return cache, keys


def test_memory(row) -> None:
    """To a dictionary."""
    cache, keys = _filled("memory")
    plain = {key: cache.get(key) for key in keys}

    def whole(n: int) -> object:
        key = key_of("bench", n=n)
        return unpack(key, cache.get(key))

    bare, ours, all_of_it = _in_turn(lambda n: plain[keys[n]], lambda n: cache.get(keys[n]), whole)
    over = [a - b for a, b in zip(ours, bare, strict=True)]
    row("memory hit, over a dictionary", f"{statistics.median(over):.1f} µs", "≤ 50 µs",
        _spread(over, ".1f"))  # fmt: skip
    row("… with its key made and its JSON read", f"{statistics.median(all_of_it):.1f} µs", "",
        _spread(all_of_it, ".1f"))  # fmt: skip


def test_sqlite(row, tmp_path) -> None:
    """A value of 3 kB, among a thousand."""
    cache, keys = _filled(f"sqlite:{tmp_path / 'cache.sqlite3'}")
    (ours,) = _in_turn(lambda n: cache.get(keys[n]))
    row("SQLite hit", f"{statistics.median(ours):.1f} µs", "≤ 300 µs", _spread(ours, ".1f"))
    cache.close()


def test_redis(row, redis_port) -> None:
    """To a bare GET of redis-py on the same connection."""
    cache, keys = _filled(f"redis://127.0.0.1:{redis_port}/0")
    names = [f"pytest_rag:entry:{key}" for key in keys]
    client = cache._redis
    bare, ours = _in_turn(lambda n: client.get(names[n]), lambda n: cache.get(keys[n]))
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    row("Redis hit, to a bare GET", f"{statistics.median(ratios):.2f}x", "≤ 1.5x",
        f"{_spread(ratios, '.2f')}; a GET {statistics.median(bare):.0f} µs")  # fmt: skip
    cache.close()


class _Instant(BaseQueryEngine):
    """Answers at once, with three nodes."""

    def __init__(self) -> None:
        super().__init__(callback_manager=None)
        self.fingerprint = "1"

    def _get_prompt_modules(self) -> dict:
        return {}

    def _query(self, query_bundle):
        nodes = [NodeWithScore(node=TextNode(text="x" * 500), score=1.0) for _ in range(3)]
        return Response("Five days.", nodes)

    async def _aquery(self, query_bundle):
        return self._query(query_bundle)


def test_whole_engine(row) -> None:
    """A hit through ``query``, nodes and spans made, to an engine that answers at once."""
    engine = _Instant()
    cached = CachedQueryEngine(engine)
    cached.query("How?")
    bare, ours = _in_turn(lambda n: engine.query("How?"), lambda n: cached.query("How?"))
    how = f"{_spread(ours, '.0f')}; an engine that does nothing {statistics.median(bare):.0f} µs"
    row("a hit through CachedQueryEngine", f"{statistics.median(ours):.0f} µs", "", how)
