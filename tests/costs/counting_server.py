"""A server of models that counts what it is asked, and what records say of it."""

from __future__ import annotations

import json
import random
from typing import Any

from aiohttp import web
from openai_server import Server

IN, OUT = 1.0, 10.0
"""Dollars for a million tokens of its model."""


class Counting(Server):
    """Counts honestly: a token a byte asked, as many answered as chance and the limit allow.

    Attributes:
        tokens: Asked and answered of every request that was served.
        limits: What each was told to answer at most.
        failing: How many of the next requests are refused.
    """

    content = '{"score": 4, "reason": "yes"}'
    words: tuple[str, ...] = ("Five ", "days.")

    def __init__(self) -> None:
        self.tokens: list[tuple[int, int]] = []
        self.limits: list[int | None] = []
        self.failing = 0
        self.requests = 0
        self.chance = random.Random(0)
        super().__init__()

    @property
    def usd(self) -> float:
        """What was served cost."""
        return sum(given * IN + said * OUT for given, said in self.tokens) / 1e6

    def count(self, asked: Any, messages: Any, limit: int | None) -> tuple[int, int]:
        """Return the tokens of a request and of its answer, schemas and tools among them."""
        self.requests += 1
        self.limits.append(limit)
        texts = [messages] if isinstance(messages, str) else [m["content"] for m in messages]
        given = sum(len(text.encode()) for text in texts)
        forms = [asked[name] for name in ("tools", "response_format", "text") if asked.get(name)]
        given += sum(len(json.dumps(form)) // 4 for form in forms)
        said = self.chance.randint(1, limit or 9000)
        self.tokens.append((given, said))
        return given, said

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await self._asked(request)
        if self.failing:
            self.requests += 1
            self.failing -= 1
            return web.json_response({"error": {"message": "busy"}}, status=500)
        given, said = self.count(asked, asked["messages"], asked.get("max_tokens"))
        usage = {"prompt_tokens": given, "completion_tokens": said, "total_tokens": given + said}
        whole = {"id": "1", "created": 1, "model": asked["model"]}
        if asked.get("stream"):
            return await self._stream(request, whole, usage, asked, self.words)
        message = {"role": "assistant", "content": self.content}
        tools = asked.get("tools")
        if tools:
            function = {"name": tools[0]["function"]["name"], "arguments": self.content}
            calls = [{"id": "call_1", "type": "function", "function": function}]
            message = {"role": "assistant", "content": None, "tool_calls": calls}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return web.json_response({**whole, "choices": [choice], "usage": usage})


def results(pytester) -> list[dict]:
    """Return the results of the record."""
    lines = (pytester.path / "run.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == "result"]


def recorded(pytester) -> float:
    """Return what the record's calls cost."""
    return sum(call["cost_usd"] or 0 for result in results(pytester) for call in result["calls"])
