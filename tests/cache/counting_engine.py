"""A query engine of LlamaIndex's kind that says how often it was asked."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode


def source(text: str = "Five days carry over.", score: float = 0.75) -> NodeWithScore:
    """Return a scored node of a document."""
    node = TextNode(id_="leave-1", text=text, metadata={"file_name": "leave.md", "page": 3})
    node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id="leave.md")
    return NodeWithScore(node=node, score=score)


class CountingEngine(BaseQueryEngine):
    """Answers with the question, or with what it is told.

    Attributes:
        answer: A text, an exception, or a function of the query.
        asked: Every query, in order.
    """

    def __init__(self, answer: Any = None, *, wait_s: float = 0.0, streaming: bool = False) -> None:
        super().__init__(callback_manager=None)
        self.answer = answer
        self.wait_s = wait_s
        self.streaming = streaming
        self.asked: list[str] = []

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}

    def _said(self, query: str) -> str:
        self.asked.append(query)
        said = self.answer(query) if callable(self.answer) else self.answer
        if isinstance(said, BaseException):
            raise said
        return f"It is about {query}." if said is None else said

    def _query(self, query_bundle: Any) -> Any:
        time.sleep(self.wait_s)
        said = self._said(query_bundle.query_str)
        if not self.streaming:
            return Response(said, [source()], {"leave-1": {"file_name": "leave.md"}})
        return StreamingResponse(self._words(said), [source()], {})

    def _words(self, said: str) -> Any:
        for word in said.split(" "):
            if word == "BREAK":
                raise ConnectionError("the stream broke")
            yield f"{word} "

    async def _aquery(self, query_bundle: Any) -> Any:
        await asyncio.sleep(self.wait_s)
        said = self._said(query_bundle.query_str)
        if not self.streaming:
            return Response(said, [source()], {"leave-1": {"file_name": "leave.md"}})
        return AsyncStreamingResponse(self._awords(said), [source()], {})

    async def _awords(self, said: str) -> Any:
        for word in self._words(said):
            await asyncio.sleep(0)
            yield word


def mark(response: Any) -> dict[str, Any]:
    """Return what a response says of the cache; nothing where the engine was asked."""
    return (response.metadata or {}).get("pytest_rag", {})
