"""Calls of models: each counted once, in its own case, with the tokens its provider told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace as Told
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.llms import MockLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_parts import (
    AwaitingRetriever,
    BlockingLLM,
    ChatLLM,
    FixedRetriever,
    WordEmbedding,
    node,
    observe,
    observe_all,
)
from pydantic import BaseModel

from pytest_rag.config import Config
from pytest_rag.judge import Job
from pytest_rag.pipelines.adapters import adapt
from pytest_rag.runner import Runner
from pytest_rag.trace.tokens import of_texts
from pytest_rag.trace.usage import of_response
from pytest_rag.types import Case


class Echo(AwaitingRetriever):
    """Finds a document named like the question."""

    async def _aretrieve(self, query_bundle: Any) -> Any:
        found = await super()._aretrieve(query_bundle)
        found[0].node = node(query_bundle.query_str)
        return found[:1]


class EchoSync(FixedRetriever):
    def _retrieve(self, query_bundle: Any) -> Any:
        found = super()._retrieve(query_bundle)
        found[0].node = node(query_bundle.query_str)
        return found[:1]


def _echo(prompt: str) -> str:
    """Answer with as many words as the question's number says."""
    number = int(prompt.rsplit("case-", maxsplit=1)[-1].split(maxsplit=1)[0])
    return " ".join(["word"] * (number + 1))


@pytest.mark.parametrize("kind", [Echo, EchoSync], ids=["async", "threads"])
def test_fifty_cases_at_once_never_mix(kind):
    """Every case has its own documents, its own answer and its own tokens."""
    engine = RetrieverQueryEngine.from_args(kind(wait_s=0.01), llm=ChatLLM(rule=_echo, wait_s=0.01))
    seen = observe_all(engine, [f"case-{n}" for n in range(50)])
    for number, each in enumerate(seen):
        assert [n.id for n in each.retrieved] == [f"case-{number}"]
        assert len(each.answer.split()) == number + 1
        assert [call.output_tokens for call in each.calls] == [number + 1]


@pytest.mark.parametrize(
    "ask",
    [
        lambda q: str(BlockingLLM().chat([ChatMessage(role="user", content=q)])),
        lambda q: str(ChatLLM().complete(q)),
        lambda q: ChatLLM().predict(PromptTemplate("{q}"), q=q),
        lambda q: "".join(p.delta for p in ChatLLM().stream_chat([ChatMessage(content=q)])),
    ],
    ids=["chat by complete", "complete by chat", "predict", "stream"],
)
def test_one_call_is_counted_once(ask):
    """Whatever methods of the model's class call each other on the way."""
    seen = observe(ask, "one two three")
    assert len(seen.calls) == 1
    assert (seen.input_tokens, seen.output_tokens) in ((3, 2), (5, 2))  # a template may add two


class Answer(BaseModel):
    """A structured answer."""

    days: int


def test_a_structured_prediction_is_a_call():
    """A model that calls a tool to fill a class has its tokens counted."""
    llm = ChatLLM(rule=lambda prompt: {"tool": "Answer", "arguments": {"days": 5}})

    def ask(query: str) -> str:
        return llm.structured_predict(Answer, PromptTemplate("{q}"), q=query).model_dump_json()

    seen = observe(ask, "How many days?")
    assert seen.answer == '{"days":5}'
    assert len(seen.calls) == 1
    assert seen.input_tokens


def test_embeddings_are_calls():
    """Each request to the model is one, without tokens where nobody counts them."""

    def ask(query: str) -> str:
        model = WordEmbedding(model_name="words")
        model.get_query_embedding(query)
        model.get_text_embedding_batch(["a", "b"])
        return "x"

    seen = observe(ask, "leave")
    assert [(c.stage, c.model, c.input_tokens) for c in seen.calls] == [
        ("embed", "words", None)
    ] * 2
    assert (seen.cost_usd, seen.cost_reason) == (
        None,
        (
            "words: the provider returned no token count; if it is free, "
            'add "words" = 0 to [tool.pytest-rag.prices]'
        ),
    )


def test_a_model_without_a_name_goes_by_its_class():
    """So that a price can be given for it."""
    seen = observe(lambda q: str(WordEmbedding().get_query_embedding(q)), "q")
    assert [call.model for call in seen.calls] == ["WordEmbedding"]


def test_a_stream_that_is_not_read_on_is_a_call_without_tokens():
    """The provider would have told at the end."""

    def ask(query: str) -> str:
        stream = ChatLLM(rule="one two three").stream_chat([ChatMessage(content=query)])
        first = next(stream).delta
        stream.close()
        return first

    seen = observe(ask, "q")
    assert seen.answer == "one"
    assert [(c.model, c.output_tokens) for c in seen.calls] == [("scripted", None)]


def _run(target: Any) -> Any:
    runner = Runner(Config())
    try:
        case = Case(id="a", query="q")
        (future,) = runner.start(adapt(target), [Job(evalset="e", case=case, metrics=())])
        return runner.result(future)
    finally:
        runner.close()


@pytest.mark.parametrize("streaming", [False, True])
def test_what_was_spent_before_a_call_that_fails_is_kept(streaming):
    """The case is an error; its record has the first call's tokens, and that the second failed."""

    async def ask(query: str) -> str:
        await ChatLLM().acomplete("one two")
        broken = ChatLLM(rule=lambda prompt: ConnectionError("the line is dead"))
        if not streaming:
            await broken.acomplete(query)
        async for _ in await broken.astream_chat([ChatMessage(content=query)]):
            pass
        return "x"

    result = _run(ask)
    assert result.outcome == "error"
    assert result.error["message"] == "the line is dead"
    assert [call["input_tokens"] for call in result.calls] == [2, None]
    assert result.cost_usd is None
    assert result.stages_ms["llm"] > 0


def test_a_case_that_times_out_keeps_what_it_spent():
    """Calls up to then are in the record."""

    async def ask(query: str) -> str:
        await ChatLLM().acomplete("one two")
        await asyncio.sleep(60)
        return "x"

    runner = Runner(Config())
    try:
        case = Case(id="a", query="q", timeout_s=0.3)
        (future,) = runner.start(adapt(ask), [Job(evalset="e", case=case, metrics=())])
        result = runner.result(future)
    finally:
        runner.close()
    assert "timeout_s" in result.error["message"]
    assert [call["input_tokens"] for call in result.calls] == [2]


def test_a_mock_model_has_a_name_and_no_tokens():
    """LlamaIndex's own stand-in tells nothing, and nothing is made up."""
    seen = observe(RetrieverQueryEngine.from_args(FixedRetriever(), llm=MockLLM()), "q")
    assert [(c.model, c.input_tokens) for c in seen.calls] == [("MockLLM", None)]
    assert seen.input_tokens is None


# --- what providers tell ----------------------------------------------------------------------


OPENAI = Told(
    model="gpt-4o-mini-2024-07-18",
    usage=Told(
        prompt_tokens=100,
        completion_tokens=20,
        prompt_tokens_details=Told(cached_tokens=64),
    ),
)
RESPONSES = Told(
    model="gpt-5",
    usage=Told(input_tokens=100, output_tokens=20, input_tokens_details=Told(cached_tokens=64)),
)
ANTHROPIC = {
    "model": "claude-sonnet-4-20250514",
    "usage": Told(
        input_tokens=30,
        cache_creation_input_tokens=6,
        cache_read_input_tokens=64,
        output_tokens=20,
    ),
}
GOOGLE = {
    "model_version": "gemini-2.5-flash",
    "usage_metadata": {
        "prompt_token_count": 90,
        "tool_use_prompt_token_count": 10,
        "cached_content_token_count": 64,
        "candidates_token_count": 15,
        "thoughts_token_count": 5,
        "total_token_count": 120,
    },
}
OLLAMA = {"model": "llama3", "prompt_eval_count": 100, "eval_count": 20}
BEDROCK = {"usage": {"inputTokens": 36, "cacheReadInputTokens": 64, "outputTokens": 20}}
COHERE = Told(meta=Told(tokens=Told(input_tokens=100, output_tokens=20)))
DEEPSEEK = {
    "model": "deepseek-chat",
    "usage": {"prompt_tokens": 100, "completion_tokens": 20, "prompt_cache_hit_tokens": 64},
}


@pytest.mark.parametrize(
    ("raw", "model", "cached"),
    [
        (OPENAI, "gpt-4o-mini-2024-07-18", 64),
        (RESPONSES, "gpt-5", 64),
        (Told(type="response.completed", response=RESPONSES), "gpt-5", 64),
        (ANTHROPIC, "claude-sonnet-4-20250514", 64),
        (GOOGLE, "gemini-2.5-flash", 64),
        (OLLAMA, "llama3", None),
        (BEDROCK, None, 64),
        (COHERE, None, None),
        (DEEPSEEK, "deepseek-chat", 64),
    ],
    ids=[
        "openai",
        "responses",
        "responses stream",
        "anthropic",
        "google",
        "ollama",
        "bedrock",
        "cohere",
        "deepseek",
    ],
)
def test_usage_as_providers_tell_it(raw, model, cached):
    """A hundred tokens in, cached ones among them, and twenty out, whoever says so."""
    for response in (
        ChatResponse(message=ChatMessage(content="x"), raw=raw),
        CompletionResponse(text="x", raw=raw),
    ):
        found = of_response(response)
        assert (found.input_tokens, found.output_tokens) == (100, 20)
        assert (found.cached_input_tokens, found.model) == (cached, model)


@pytest.mark.parametrize(
    ("raw", "kwargs"),
    [
        (None, {"prompt_tokens": 100, "completion_tokens": 20}),
        (Told(choices=[]), {"prompt_tokens": 100, "completion_tokens": 20}),
        (None, {"usage": RESPONSES.usage}),
    ],
)
def test_usage_beside_the_raw_response(raw, kwargs):
    """Some integrations put it into ``additional_kwargs``."""
    response = ChatResponse(message=ChatMessage(content="x"), raw=raw, additional_kwargs=kwargs)
    found = of_response(response)
    assert (found.input_tokens, found.output_tokens) == (100, 20)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        "text",
        {"usage": None},
        {"usage": {"prompt_tokens": 0, "completion_tokens": 0}},
        {"usage": {"prompt_tokens": "100"}},
    ],
)
def test_no_usage_is_unknown_and_not_nought(raw):
    """Nothing is guessed."""
    found = of_response(CompletionResponse(text="x", raw=raw))
    assert (found.input_tokens, found.output_tokens) == (None, None)


def test_tokens_of_openais_embeddings_are_counted():
    """With the encoding OpenAI counts with; LlamaIndex drops what the provider tells."""
    assert of_texts("text-embedding-3-small", ["hello world", "tiktoken is great!"]) == 8
    assert of_texts("text-embedding-3-small", ["<|endoftext|>"]) > 1
    assert of_texts("words", ["hello world"]) is None
