"""A server whose faults are scripted, and a project whose pipelines ask it."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpcore
import late_imports
import llama_index.embeddings.openai
import llama_index.llms.openai
import pytest

import pytest_rag.replay.paced

__all__ = ["httpcore", "late_imports", "llama_index", "pytest_rag"]

APP = """
    import os
    from llama_index.core.llms import ChatMessage
    from llama_index.embeddings.openai import OpenAIEmbedding
    from llama_index.llms.openai import OpenAI

    given = {"api_base": os.environ["SERVER"], "api_key": "none", "timeout": 1.0, "max_retries": 2}

    def complete(model):
        llm = OpenAI(model=model, **given)
        return lambda query: llm.complete(query).text

    def acomplete(model):
        llm = OpenAI(model=model, **given)

        async def ask(query):
            return (await llm.acomplete(query)).text

        return ask

    def stream(model):
        llm = OpenAI(model=model, **given)

        def ask(query):
            said = [ChatMessage(role="user", content=query)]
            return "".join(piece.delta or "" for piece in llm.stream_chat(said))

        return ask

    def astream(model):
        llm = OpenAI(model=model, **given)

        async def ask(query):
            said = [ChatMessage(role="user", content=query)]
            pieces = await llm.astream_chat(said)
            return "".join([piece.delta or "" async for piece in pieces])

        return ask

    def embed(model):
        embedding = OpenAIEmbedding(model="text-embedding-3-small", **given)
        return lambda query: str(len(embedding.get_query_embedding(query)))
"""

MODELS = {
    "complete": "gpt-4o-mini",
    "acomplete": "gpt-4o",
    "stream": "gpt-4.1-mini",
    "astream": "gpt-4.1",
    "embed": "text-embedding-3-small",
}
WAYS = ("complete", "acomplete", "stream", "astream")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """LlamaIndex never closes the clients that it makes, so their sockets are left to Python."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            for kind in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))


@pytest.fixture(scope="session")
def mock_server() -> Any:
    """One server for all tests here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of its web framework
        from llmock.testing import LLMockServer

        started = LLMockServer().start()
    yield started
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started.stop()


class Chaos:
    """Runs a case of every way to ask against the scripted server."""

    def __init__(self, run_rag: Any, pytester: Any, server: Any) -> None:
        self.run_rag = run_rag
        self.path = pytester.path
        self.server = server

    def ask(
        self, fault: Any, *ways: str, case: str = "", config: str = "", cases: int = 1
    ) -> dict[str, Any]:
        """Let every way meet a fault, and return the result of each, or all of the only one's."""
        self.server.state.scenarios.clear()
        self.server.state.journal.clear()
        files = {"app.py": APP}
        query = "How many days are there in a leave year, number"
        lines = (f"  - {{id: c{n}, query: '{query} {n}?'{case}}}\n" for n in range(cases))
        ids = "".join(lines)
        for way in ways:
            if fault is not None:
                match = replace(fault.match, model=MODELS[way])
                self.server.state.scenarios.add(replace(fault, match=match))
            pipeline = f"{{factory: app:{way}, params: {{model: {MODELS[way]}}}}}"
            files[f"{way}.rag.yaml"] = f"pipeline: {pipeline}\ncases:\n{ids}"
        (self.path / "pyproject.toml").write_text(config, encoding="utf-8")
        self.run_rag(files, "--rag-out=run.jsonl", "--rag-baseline=none")
        lines = (self.path / "run.jsonl").read_text(encoding="utf-8").splitlines()
        self.results = [r for r in map(json.loads, lines) if r["kind"] == "result"]
        return {result["evalset"]: result for result in self.results}

    def asked(self, way: str) -> int:
        """How many requests of a way came in."""
        journal = self.server.state.journal.records(wait=2.0)
        return sum(record.model == MODELS[way] for record in journal)


@pytest.fixture
def chaos(run_rag: Any, pytester: Any, mock_server: Any, monkeypatch: Any) -> Chaos:
    """A project that asks in every way, and the server it asks."""
    monkeypatch.setenv("SERVER", mock_server.base_url("openai"))
    monkeypatch.setattr("pytest_rag.replay.faults._FIRST_S", 0.01)
    return Chaos(run_rag, pytester, mock_server)
