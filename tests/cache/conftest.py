"""A real Redis server, and an engine that says how often it was asked."""

from __future__ import annotations

import asyncio

import pytest
import redis
from counting_engine import CountingEngine
from redis_server import RedisServer

from pytest_rag.cache import open_cache


@pytest.fixture(scope="session", autouse=True)
def no_loop_of_its_own():
    """LlamaIndex makes the main thread a loop and never closes it, unless it was told of none."""
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    """One server for all tests that do not stop it."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(shared_server):
    """The address of an empty server, with its password."""
    with redis.Redis.from_url(shared_server.url) as client:
        client.flushall()
    return shared_server.url


@pytest.fixture
def own_server(tmp_path):
    """A server that a test may kill."""
    folder = tmp_path / "own-redis"
    folder.mkdir()
    server = RedisServer(folder).start()
    yield server
    server.stop()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def cache(request, tmp_path):
    """Each kind of cache, empty."""
    urls = {"memory": "memory", "sqlite": f"sqlite:{tmp_path / 'cache.sqlite3'}"}
    url = urls.get(request.param) or request.getfixturevalue("redis_url")
    opened = open_cache(url)
    yield opened
    opened.close()


@pytest.fixture
def engine():
    """An engine that counts."""
    return CountingEngine()
