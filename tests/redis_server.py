"""Debian's redis-server on a free port of loopback."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from machine import needed

if TYPE_CHECKING:
    from pathlib import Path


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
        binary = needed("redis-server")
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
