"""A small OpenAI-compatible server on loopback: exact usage, and failures where asked for."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES = {
    "fail-401": (401, "Incorrect API key provided", "invalid_api_key"),
    "fail-429": (429, "Rate limit reached for requests", "rate_limit_exceeded"),
    "fail-500": (500, "The server had an error", "server_error"),
}


class Server:
    """Runs in a thread of its own, with its own loop.

    Args:
        say: What is answered to the last message of a chat that is not streamed.

    Attributes:
        url: Where the API is.
        keys: ``Authorization`` values it was sent.
        connections: Sockets that clients have opened.
    """

    def __init__(self, say: Callable[[str], str] = lambda _prompt: "Five days.") -> None:
        self._say = say
        self.keys: list[str] = []
        self.connections: set[Any] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def routes(self, app: web.Application) -> None:
        """Say which address answers what."""
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embed)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        self.routes(app)
        runner = web.AppRunner(app, access_log=None)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _asked(self, request: web.Request) -> Any:
        self.keys.append(request.headers.get("Authorization", ""))
        self.connections.add(request.transport.get_extra_info("peername"))
        return await request.json()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await self._asked(request)
        text = json.dumps(asked["messages"])
        for word, (status, message, code) in FAILURES.items():
            if word in text:
                error = {"message": message, "type": code, "code": code}
                return web.json_response({"error": error}, status=status)
        usage = {
            "prompt_tokens": 1000,
            "completion_tokens": 200,
            "total_tokens": 1200,
            "prompt_tokens_details": {"cached_tokens": 400},
        }
        whole = {"id": "1", "created": 1, "model": asked["model"]}
        if asked.get("stream"):
            return await self._stream(request, whole, usage, asked)
        message = {"role": "assistant", "content": self._say(_last(asked))}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        done = {**whole, "object": "chat.completion", "choices": [choice], "usage": usage}
        return web.json_response(done)

    async def _stream(
        self,
        request: web.Request,
        whole: Any,
        usage: Any,
        asked: Any,
        words: tuple[str, ...] = ("Five ", "days."),
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        chunks = [
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": word}}]}
            for word in words
        ]
        if (asked.get("stream_options") or {}).get("include_usage"):
            chunks.append({"choices": [], "usage": usage})
        for chunk in chunks:
            line = {**whole, "object": "chat.completion.chunk", **chunk}
            await response.write(f"data: {json.dumps(line)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _embed(self, request: web.Request) -> web.Response:
        asked = await self._asked(request)
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        data = [
            {"object": "embedding", "index": place, "embedding": [1.0, float("leave" in text)]}
            for place, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return web.json_response(
            {"object": "list", "data": data, "model": asked["model"], "usage": usage}
        )


def _last(asked: Any) -> str:
    content = asked["messages"][-1]["content"]
    return content if isinstance(content, str) else json.dumps(content)
