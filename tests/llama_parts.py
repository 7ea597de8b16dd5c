"""Real LlamaIndex parts with scripted answers, for the tests."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
)
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode

from pytest_rag.config import Config
from pytest_rag.loop import LoopThread
from pytest_rag.observe import Attempt, ask, read
from pytest_rag.pipelines.adapters import adapt

WORDS = ("leave", "parking", "pension", "travel", "holiday")
TEXTS = {
    "leave.md": "Five days of leave carry over.",
    "parking.md": "Parking is free for everybody.",
    "pension.md": "The pension plan pays monthly.",
}


def observe(target: Any, query: str, filters: dict | None = None, **config: Any) -> Any:
    """Ask a pipeline one question, as the runner does, and return the observation."""
    return observe_all(target, [query], filters, **config)[0]


def observe_all(
    target: Any, queries: list[str], filters: dict | list[dict] | None = None, **config: Any
) -> list[Any]:
    """Ask a pipeline several questions at once and return the observations, or what was raised."""
    settings = Config(**config)
    pipeline = adapt(target, settings.document_key)
    each = filters if isinstance(filters, list) else [filters or {}] * len(queries)
    loop = LoopThread()

    async def together() -> list[Any]:
        asked = (ask(pipeline, q, f, Attempt()) for q, f in zip(queries, each, strict=True))
        return await asyncio.gather(*asked, return_exceptions=len(queries) > 1)

    try:
        done = loop.submit(together()).result(timeout=60)
        return [r if isinstance(r, BaseException) else read(r, settings) for r in done]
    finally:
        loop.close()


def node(document: str, text: str | None = None, **metadata: Any) -> TextNode:
    """Return a node of a document."""
    made = TextNode(text=text or TEXTS.get(document, document), metadata=metadata)
    made.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=document)
    return made


def documents() -> list[Document]:
    """Return three documents with a department each."""
    return [
        Document(id_=name, text=text, metadata={"department": name[0]})
        for name, text in TEXTS.items()
    ]


def index() -> VectorStoreIndex:
    """Return an index of three documents."""
    return VectorStoreIndex.from_documents(documents(), embed_model=WordEmbedding())


class WordEmbedding(BaseEmbedding):
    """Counts a few words; waits as long as it is told."""

    wait_s: float = 0.0
    busy_s: float = 0.0

    def _vector(self, text: str) -> list[float]:
        low = text.lower()
        return [0.01 + low.count(word) for word in WORDS]

    def _get_query_embedding(self, query: str) -> list[float]:
        time.sleep(self.wait_s)
        burn(self.busy_s)
        return self._vector(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        await asyncio.sleep(self.wait_s)
        burn(self.busy_s)
        return self._vector(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vector(text)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        await asyncio.sleep(self.wait_s)
        return self._vector(text)


def burn(seconds: float) -> None:
    """Use the processor for as long, by this thread's own clock."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class FixedRetriever(BaseRetriever):
    """Returns the same nodes for every question; synchronous only."""

    def __init__(self, *nodes: Any, wait_s: float = 0.0) -> None:
        super().__init__()
        self.nodes = nodes or tuple(node(name) for name in TEXTS)
        self.wait_s = wait_s

    def _retrieve(self, query_bundle: Any) -> list[NodeWithScore]:
        time.sleep(self.wait_s)
        return [
            n if isinstance(n, NodeWithScore) else NodeWithScore(node=n, score=1 / (place + 1))
            for place, n in enumerate(self.nodes)
        ]


class AwaitingRetriever(FixedRetriever):
    """The same, awaiting where it is asked to; raises where it is not."""

    def _retrieve(self, query_bundle: Any) -> list[NodeWithScore]:
        raise AssertionError("asked synchronously")

    async def _aretrieve(self, query_bundle: Any) -> list[NodeWithScore]:
        await asyncio.sleep(self.wait_s)
        self.__dict__.setdefault("loops", set()).add(id(asyncio.get_running_loop()))
        return super()._retrieve(query_bundle)


def usage(prompt: str, answer: str) -> dict[str, Any]:
    """Return what an OpenAI-compatible provider tells: a token a word."""
    counts = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(answer.split())}
    return {"model": "scripted-1", "usage": counts}


class ChatLLM(FunctionCallingLLM):
    """A chat model that answers by a rule and tells its usage; it awaits natively.

    A rule may return a text, or a mapping ``{"tool": name, "arguments": {…}}``.
    """

    rule: Any = None
    wait_s: float = 0.0

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            model_name="scripted", is_chat_model=True, is_function_calling_model=True
        )

    def _answer(self, messages: Any) -> ChatResponse:
        prompt = "\n".join(str(m.content) for m in messages)
        said = self.rule(prompt) if callable(self.rule) else self.rule or "An answer."
        if isinstance(said, BaseException):
            raise said
        if isinstance(said, str):
            message = ChatMessage(role="assistant", content=said)
            return ChatResponse(message=message, raw=usage(prompt, said))
        call = {"id": "call-1", "name": said["tool"], "arguments": said["arguments"]}
        message = ChatMessage(
            role="assistant", content="", additional_kwargs={"tool_calls": [call]}
        )
        return ChatResponse(message=message, raw=usage(prompt, json.dumps(said)))

    def _pieces(self, messages: Any) -> list[ChatResponse]:
        whole = self._answer(messages)
        text, pieces = "", []
        for word in str(whole.message.content).split(" "):
            delta = word if not text else f" {word}"
            text += delta
            message = ChatMessage(
                role="assistant", content=text, additional_kwargs=whole.message.additional_kwargs
            )
            pieces.append(ChatResponse(message=message, delta=delta, raw=None))
        pieces[-1].raw = whole.raw  # told at the end, as providers do
        return pieces

    @llm_chat_callback()
    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        time.sleep(self.wait_s)
        return self._answer(messages)

    @llm_chat_callback()
    async def achat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        await asyncio.sleep(self.wait_s)
        return self._answer(messages)

    @llm_chat_callback()
    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        def pieces() -> Any:
            for piece in self._pieces(messages):
                time.sleep(self.wait_s)
                yield piece

        return pieces()

    @llm_chat_callback()
    async def astream_chat(self, messages: Any, **kwargs: Any) -> Any:
        async def pieces() -> Any:
            for piece in self._pieces(messages):
                await asyncio.sleep(self.wait_s)
                yield piece

        return pieces()

    def _as_message(self, prompt: str) -> list[ChatMessage]:
        return [ChatMessage(role="user", content=prompt)]

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        said = self.chat(self._as_message(prompt))
        return CompletionResponse(text=str(said.message.content), raw=said.raw)

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        said = await self.achat(self._as_message(prompt))
        return CompletionResponse(text=str(said.message.content), raw=said.raw)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        asked = [] if user_msg is None else [user_msg]
        asked = [m if isinstance(m, ChatMessage) else self._as_message(m)[0] for m in asked]
        return {"messages": [*(chat_history or []), *asked]}

    def get_tool_calls_from_response(
        self, response: Any, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        calls = response.message.additional_kwargs.get("tool_calls") or []
        return [
            ToolSelection(tool_id=c["id"], tool_name=c["name"], tool_kwargs=c["arguments"])
            for c in calls
        ]


class BlockingLLM(CustomLLM):
    """A completion model with nothing but synchronous methods, as people write their own."""

    answer: str = "An answer."
    wait_s: float = 0.0

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="blocking")

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        time.sleep(self.wait_s)
        return CompletionResponse(text=self.answer, raw=usage(prompt, self.answer))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        yield self.complete(prompt)
