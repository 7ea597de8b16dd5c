"""A model's server that counts, and a project whose pipelines ask it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import late_imports
import llama_index.embeddings.openai
import llama_index.llms.openai
import pytest
import redis
from aiohttp import web
from machine import sweep
from openai_server import Server
from redis_server import RedisServer

__all__ = ["late_imports", "llama_index"]

KEY = "sk-proj-abcdefghijklmnopqrstuvwx0123456789"
NOWHERE = "http://127.0.0.1:9/v1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """LlamaIndex never closes the clients that it makes, so their sockets are left to Python."""
    here = Path(__file__).parent
    quiet = ("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
    for item in items:
        if item.path.is_relative_to(here):
            for words in quiet:
                item.add_marker(pytest.mark.filterwarnings(words))


class Counting(Server):
    """Answers tools and schemas too, takes its time where asked to, and counts.

    Attributes:
        wait_s: How long every answer takes.
        answers: Answers chats in place of the server, where there is one.
    """

    wait_s = 0.0
    answers: Any = None

    async def _asked(self, request: web.Request) -> Any:
        await asyncio.sleep(self.wait_s)
        return await super()._asked(request)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        if self.answers is not None:
            return await self.answers(request)
        asked = json.loads(await request.text())
        tools = asked.get("tools")
        if not tools and "response_format" not in asked:
            return await super()._chat(request)
        await self._asked(request)
        whole: dict[str, Any] = {"id": "1", "created": 1, "model": asked["model"]}
        if asked.get("stream"):
            words = ('{"days":', " 5}")
            return await self._stream(request, whole, {"prompt_tokens": 100}, asked, words)
        message: dict[str, Any] = {"role": "assistant", "content": '{"days": 5}'}
        if tools:
            function = {"name": tools[0]["function"]["name"], "arguments": '{"days": 5}'}
            calls = [{"id": "call_1", "type": "function", "function": function}]
            message = {"role": "assistant", "content": None, "tool_calls": calls}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        done = {"object": "chat.completion", "choices": [choice], "usage": usage}
        return web.json_response({**whole, **done})


@pytest.fixture(scope="session")
def model_server() -> Any:
    """One server for all tests here."""
    made = Counting()
    yield made
    made.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Redis server of these tests."""
    started = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield started
    started.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of a Redis server that is empty."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def server(model_server: Counting, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The server, its address and a key in the environment."""
    monkeypatch.setenv("SERVER", model_server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    yield model_server
    model_server.wait_s = 0.0
    sweep()


class Played:
    """Records and replays a project in a temporary folder.

    Attributes:
        calls: What the last recording asked of the server.
    """

    def __init__(self, run_rag: Any, pytester: Any, server: Counting, monkeypatch: Any) -> None:
        self.run_rag = run_rag
        self.path = pytester.path
        self.server = server
        self.calls = 0
        self._monkeypatch = monkeypatch

    def record(self, files: dict[str, str] | None = None, *args: str, **options: Any) -> Any:
        """Run the project in record mode."""
        before = len(self.server.keys)
        done = self.run_rag(files or {}, "--rag-mode=record", *args, **options)
        self.calls = len(self.server.keys) - before
        self.no_secret()
        return done

    def replay(self, files: dict[str, str] | None = None, *args: str, **options: Any) -> Any:
        """Run the project in replay mode, with neither key nor server."""
        before = len(self.server.keys)
        with self._monkeypatch.context() as patched:
            patched.delenv("OPENAI_API_KEY")
            patched.setenv("SERVER", NOWHERE)
            done = self.run_rag(files or {}, "--rag-mode=replay", *args, **options)
        assert len(self.server.keys) == before
        return done

    def no_secret(self) -> None:
        """Hold every file of the project to having no key in it."""
        for path in self.path.rglob("*"):
            if path.is_file():
                text = path.read_bytes()
                assert KEY.encode() not in text, path
                assert b"Authorization" not in text, path
                assert b"Bearer" not in text, path

    def results(self, name: str = "run.jsonl") -> list[dict[str, Any]]:
        """Return the results of a run record, in order of case and repeat."""
        lines = [json.loads(line) for line in (self.path / name).read_text().splitlines()]
        found = [line for line in lines if line["kind"] == "result"]
        return sorted(found, key=lambda r: (r["evalset"], r["case"], r["repeat"]))

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the calls of a cassette."""
        text = (self.path / "cassettes" / f"{name}.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()[1:]]


@pytest.fixture
def played(run_rag: Any, pytester: Any, server: Counting, monkeypatch: Any) -> Played:
    """A project to record and replay."""
    return Played(run_rag, pytester, server, monkeypatch)
