"""What the parts save on the handbook, and that it costs no quality."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.llms.openai_like import OpenAILike
from openai_server import Server

from pytest_rag import CachedQueryEngine, load_evalset
from pytest_rag.metrics.text import token_f1
from pytest_rag.pipelines.local import LocalPipeline
from pytest_rag.stats.paired import sign_flip_test

if TYPE_CHECKING:
    from collections.abc import Iterator

EVALSETS = Path(__file__).parents[2] / "evalsets"
PROMPT = re.compile(r"Context:\n(.*)\n\nAnswer the question from.*\nQuestion: (.*)\nAnswer:", re.S)


def read(prompt: str) -> str:
    """Answer as a reader of few words would: the line that shares most words with the question."""
    found = PROMPT.search(prompt)
    assert found is not None, prompt
    asked = set(re.findall(r"\w{3,}", found[2].lower()))
    pieces = re.split(r"(?<=[.!?])\s+|\n", found[1])
    return max(pieces, key=lambda piece: len(asked & set(re.findall(r"\w{3,}", piece.lower()))))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A model behind OpenAI's protocol, which counts its tokens."""
    made = Server(reader=read)
    yield made
    made.close()


def handbook(server: Server, **params: Any) -> LocalPipeline:
    """Return the handbook read by that model."""
    llm = OpenAILike(model="few-words", api_base=server.url, api_key="k", is_chat_model=True)
    return LocalPipeline.from_folder(EVALSETS / "handbook", synthesizer="llm", llm=llm, **params)


def cases() -> list[Any]:
    """Return the cases of the handbook."""
    return list(load_evalset(EVALSETS / "handbook.rag.yaml").cases)
