"""Under a ceiling no call of a model starts that could pass it."""

from __future__ import annotations

import json
import random

import llama_index.embeddings.openai
import llama_index.llms.openai
import pytest
from aiohttp import web
from openai_server import Server

import pytest_rag.metrics.llamaindex
import pytest_rag.replay.paced

__all__ = ["llama_index", "pytest_rag"]

IN, OUT = 1.0, 10.0
"""Dollars for a million tokens of the model ``acme``."""
SETTINGS = "[tool.pytest-rag]\nprices = {acme = {input = 1, output = 10}, free = 0}\n"
JUDGE = """
[tool.pytest-rag.judge]
model = "app:judge"
"""
APP = """
    import asyncio, os
    from llama_index.llms.openai_like import OpenAILike

    def model(name="acme", **given):
        return OpenAILike(
            model=name, api_base=os.environ["SERVER"], api_key="none", is_chat_model=True,
            **{"max_tokens": 100, "max_retries": 4, "timeout": 10.0, **given},
        )

    def build(name="acme", calls=1, **given):
        llm = model(name, **given)

        async def ask(query):
            said = [await llm.acomplete(f"{query}, {n}") for n in range(calls)]
            return said[-1].text

        return ask

    def blocking(name="acme", **given):
        llm = model(name, **given)
        return lambda query: llm.complete(query).text

    def streaming(name="acme"):
        llm = model(name)
        return lambda query: "".join(piece.delta or "" for piece in llm.stream_complete(query))

    def swallowing(calls=50):
        llm = model()

        async def ask(query):
            said = "nothing"
            for n in range(calls):
                try:
                    said = (await llm.acomplete(f"{query}, {n}")).text
                except Exception:
                    break
            return said

        return ask

    def judge():
        return model(max_tokens=100)
"""


class Counting(Server):
    """Counts honestly: a token a byte asked, as many answered as chance and the limit allow.

    Attributes:
        tokens: Asked and answered of every request that was served.
        failing: How many of the next requests are refused.
    """

    def __init__(self) -> None:
        self.tokens: list[tuple[int, int]] = []
        self.failing = 0
        self.requests = 0
        self.chance = random.Random(0)
        super().__init__()

    @property
    def usd(self) -> float:
        """What was served cost."""
        return sum(given * IN + said * OUT for given, said in self.tokens) / 1e6

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await self._asked(request)
        self.requests += 1
        if self.failing:
            self.failing -= 1
            return web.json_response({"error": {"message": "busy"}}, status=500)
        given = sum(len(message["content"].encode()) for message in asked["messages"])
        said = self.chance.randint(1, min(asked.get("max_tokens", 3000), 3000))
        self.tokens.append((given, said))
        usage = {"prompt_tokens": given, "completion_tokens": said, "total_tokens": given + said}
        whole = {"id": "1", "created": 1, "model": asked["model"]}
        if asked.get("stream"):
            return await self._stream(request, whole, usage, asked)
        message = {"role": "assistant", "content": '{"score": 4, "reason": "yes"}'}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return web.json_response({**whole, "choices": [choice], "usage": usage})


@pytest.fixture
def server(monkeypatch):
    """The server, and its address in the environment."""
    made = Counting()
    monkeypatch.setenv("SERVER", made.url)
    monkeypatch.setattr("pytest_rag.replay.faults._FIRST_S", 0.01)
    yield made
    made.close()


def evalset(count: int, factory: str = "build", checks: str = "", **params: object) -> str:
    """Return an evalset of some cases."""
    cases = "".join(f"  - {{id: c{n}, query: question {n}{checks}}}\n" for n in range(count))
    return f"pipeline: {{factory: 'app:{factory}', params: {json.dumps(params)}}}\ncases:\n{cases}"


def results(pytester) -> list[dict]:
    """Return the results of the record."""
    lines = (pytester.path / "run.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == "result"]


def recorded(pytester) -> float:
    """Return what the record's calls cost."""
    return sum(call["cost_usd"] or 0 for result in results(pytester) for call in result["calls"])


def run(run_rag, text: str, limit: float, *args: str, more: str = "", **how: object):
    """Run an evalset under a ceiling."""
    files = {"app.py": APP, "pyproject.toml": SETTINGS + more, "a.rag.yaml": text}
    out = ("--rag-out=run.jsonl", "--rag-baseline=none")
    return run_rag(files, f"--rag-max-cost={limit}", *out, *args, **how)


# --- the bound holds ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factory", "params"),
    [("build", {"calls": 3}), ("blocking", {}), ("streaming", {})],
    ids=["async", "blocking", "streaming"],
)
def test_the_ceiling_is_never_passed(run_rag, pytester, server, factory, params):
    """Whatever the calls cost; eight cases at a time; what was served is what is recorded."""
    done = run(run_rag, evalset(24, factory, **params), 0.006)
    assert 0 < server.usd <= 0.006
    assert done.ret == 1
    outcomes = {result["outcome"] for result in results(pytester)}
    assert outcomes == {"passed", "not_run"}
    assert recorded(pytester) == pytest.approx(server.usd) or factory == "streaming"


def test_workers_share_it(run_rag, pytester, server):
    """Two processes draw on one file."""
    run(run_rag, evalset(24, calls=2), 0.006, "-n2", apart=True)
    assert 0 < server.usd <= 0.006
    assert recorded(pytester) == pytest.approx(server.usd)
    assert {r["outcome"] for r in results(pytester)} == {"passed", "not_run"}
