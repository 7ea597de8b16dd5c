"""A real Redis server, and an engine that says how often it was asked."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import redis
from counting_engine import CountingEngine

from pytest_rag.cache import open_cache

if TYPE_CHECKING:
    from pathlib import Path

MISSING = "redis-server is not installed; the tests need it: apt-get install -y redis-server"


def free_port() -> int:
    """Return a port of loopback that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class RedisServer:
    """A server of the tests' own; it can be stopped and started again."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"redis://:s3same@127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.fail(MISSING, pytrace=False)
        ports = () if "--port" in self.options else ("--port", str(self.port))
        self.process = subprocess.Popen(
            [
                *(binary, "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""),
                *("--requirepass", "s3same", "--logfile", "log", *ports, *self.options),
            ]
        )
        self._await_port()
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def _await_port(self) -> None:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        pytest.fail(f"redis-server did not start: {(self.folder / 'log').read_text()}")


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
