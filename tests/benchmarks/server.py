"""An OpenAI-compatible server; prints its address, then serves: `server.py SECONDS [A_TOKEN]`.

It answers after the seconds, and those of each token that it reads.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from pytest_rag.trace.tokens import of_prompt

_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Up to five days."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 120, "completion_tokens": 5, "total_tokens": 125},
}


async def _complete(request: web.Request) -> web.Response:
    asked = await request.json()
    fixed, token = (*map(float, sys.argv[1:]), 0.0)[:2]
    if not token:
        await asyncio.sleep(fixed)
        return web.json_response(_ANSWER)
    read = of_prompt("gpt-4o-mini", "".join(each["content"] for each in asked["messages"])) or 0
    await asyncio.sleep(fixed + token * read)
    usage = {"prompt_tokens": read, "completion_tokens": 5, "total_tokens": read + 5}
    return web.json_response({**_ANSWER, "usage": usage})


async def _serve() -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _complete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=256)
    await site.start()
    host, port = runner.addresses[0][:2]
    sys.stdout.write(f"http://{host}:{port}/v1\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


asyncio.run(_serve())
