"""A judge that answers by a rule, over HTTP, and the scores it gives."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from openai_server import Server

from pytest_rag import metrics
from pytest_rag.config import Config, JudgeSettings, OpenAICompatible, Price
from pytest_rag.judging import Bench, Judged
from pytest_rag.loop import LoopThread
from pytest_rag.types import Case, Observation, Retrieved, Timing

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "PYTEST_RAG_TEST_JUDGE_KEY"
PRICES = {"judge-1": Price(input=1.0, output=2.0)}
APP = """
    def build():
        return lambda query: {
            "answer": f"Answer to {query}.",
            "retrieved": [{"id": "a.md", "text": "A text."}],
            "usage": {"model": "m-1", "input_tokens": 10, "output_tokens": 5},
        }
    """
CONFIG = """
    [tool.pytest-rag]
    prices = {{judge-1 = {{input = 1, output = 2}}, m-1 = {{input = 1, output = 1}}}}

    [tool.pytest-rag.judge]
    model = {{openai_compatible = {{base_url = "{url}", model = "judge-1"}}}}
    """
"""A pipeline that answers at once, and a project whose judge is a server at ``url``."""
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


class JudgeServer(Server):
    """Answers with what ``rule`` makes of a prompt: a text, a status, or seconds to be silent."""

    def __init__(self, rule: Any = "yes") -> None:
        self.rule = rule
        self.prompts: list[str] = []
        super().__init__()

    def settings(self, **more: Any) -> JudgeSettings:
        """Return the configuration that names this server."""
        model = OpenAICompatible(base_url=self.url, model="judge-1")
        return JudgeSettings(**{"model": model, **more})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await self._asked(request)
        prompt = "\n".join(str(message["content"]) for message in asked["messages"])
        self.prompts.append(prompt)
        said = self.rule(prompt) if callable(self.rule) else self.rule
        if isinstance(said, float):
            await asyncio.sleep(said)
            said = "too late"
        if isinstance(said, int):
            error = {"message": "slow down", "type": "x", "code": "x"}
            headers = {"Retry-After": "0", "x-should-retry": "false"}
            return web.json_response({"error": error}, status=said, headers=headers)
        text = said if isinstance(said, str) else json.dumps(said)
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": text},
        }
        whole = {"id": "1", "created": 1, "model": asked["model"], "object": "chat.completion"}
        return web.json_response({**whole, "choices": [choice], "usage": USAGE})


def case(**more: Any) -> Case:
    """Return a case with a query and a reference answer."""
    given = {"id": "c", "query": "How many days carry over?", "answers": ("Five days.",), **more}
    return Case(**given)


def seen(answer: str | None = "Five days carry over.", *texts: str, **more: Any) -> Observation:
    """Return an observation with an answer and retrieved texts."""
    nodes = [
        Retrieved(id=f"{n}.md", node=str(n), text=text)
        for n, text in enumerate(texts or ("Up to five days of leave carry over.",))
    ]
    given = {"query": "?", "retrieved": tuple(nodes), "timing": Timing(latency_ms=1.0), **more}
    return Observation(answer=answer, **given)


def judged(
    settings: JudgeSettings,
    names: list[Any],
    of_case: Case | None = None,
    observation: Observation | None = None,
) -> Judged:
    """Compute awaited metrics, each a name, or a metric with its argument, on a loop."""
    plan = [(metrics.get(n), None) if isinstance(n, str) else n for n in names]
    bench = Bench(Config(root=Path.cwd(), judge=settings, prices=PRICES))
    loop = LoopThread()
    try:
        asked = bench.judge(plan, of_case or case(), observation or seen())
        return loop.submit(asked).result(timeout=60)
    finally:
        loop.submit(bench.close()).result(timeout=5)
        loop.close()


def trusted(evalset: str, judges: Mapping[str, tuple[str, str]]) -> str:
    """Return the calibration of an evalset by which judges decide.

    Args:
        evalset: Its name.
        judges: By metric, the version of its prompt and the judge.
    """
    metrics = {
        name: {"judge": judge, "use": "gate", "version": f"{prompt} {judge}", "why": "a test"}
        for name, (prompt, judge) in judges.items()
    }
    return json.dumps({"schema_version": 1, "evalset": evalset, "metrics": metrics})
