"""Every kind of call through LlamaIndex's OpenAI client is recorded and replayed, wherever made."""

from __future__ import annotations

import json
from typing import Any

import pytest

MODELS = """
    import os
    from llama_index.core import PromptTemplate, Settings, VectorStoreIndex
    from llama_index.core.llms import ChatMessage
    from llama_index.core.schema import TextNode
    from llama_index.embeddings.openai import OpenAIEmbedding
    from llama_index.llms.openai import OpenAI
    from pydantic import BaseModel

    class Leave(BaseModel):
        days: int

    def llm(**options):
        return OpenAI(model="gpt-4o-mini", api_base=os.environ["SERVER"], max_retries=0, **options)

    def embed_model():
        model = "text-embedding-3-small"
        return OpenAIEmbedding(model=model, api_base=os.environ["SERVER"], max_retries=0)

    def index():
        nodes = [TextNode(id_=name, text=f"About {name}.") for name in ("leave.md", "parking.md")]
        return VectorStoreIndex(nodes, embed_model=embed_model())
"""
KINDS = """
    from contextlib import aclosing
    from models import *
    from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
    from llama_index.core.program.utils import create_flexible_model
    from llama_index.core.tools import FunctionTool

    ASKED = [ChatMessage(role="user", content="How many days?")]
    TEMPLATE = PromptTemplate("How many days of {what}?")
    TOOL = FunctionTool.from_defaults(lambda days: days, name="take", description="Take days.")

    def pieces(stream):
        return "|".join(piece.delta or "" for piece in stream)

    async def apieces(stream):
        return "|".join([piece.delta or "" async for piece in stream])

    def tools(response):
        return str(llm().get_tool_calls_from_response(response)[0].tool_kwargs)

    def stages(stream):
        return "|".join(f"{type(stage).__name__} {stage.days}" for stage in stream)

    async def astages(stream):
        return "|".join([f"{type(stage).__name__} {stage.days}" async for stage in stream])

    class Past(OpenAI):
        # Asks for objects past its own chat, as the classes of some providers do.

        def _asked(self, client):
            asked = [{"role": "user", "content": "How many days?"}]
            return client.chat.completions.create(
                model=self.model, messages=asked, response_format={"type": "json_object"}
            )

        def structured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
            said = self._asked(self._get_client())
            return output_cls.model_validate_json(said.choices[0].message.content)

        async def astructured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
            said = await self._asked(self._get_aclient())
            return output_cls.model_validate_json(said.choices[0].message.content)

        def stream_structured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
            for days in ("1", "12", None):
                yield create_flexible_model(output_cls)(days=days)
            yield self.structured_predict(output_cls, prompt)

        async def astream_structured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
            async def stream():
                yield create_flexible_model(output_cls)(days=None)
                yield await self.astructured_predict(output_cls, prompt)

            return stream()

    def past():
        return Past(model="gpt-4.1-mini", api_base=os.environ["SERVER"], max_retries=0)

    class Sparse(BaseSparseEmbedding):
        # Asks the server, and makes places of what comes.

        def _get_text_embeddings(self, texts):
            found = embed_model()._get_text_embeddings(texts)
            return [{7: vector[0], 100_000: 0.1} for vector in found]

        def _get_text_embedding(self, text):
            return self._get_text_embeddings([text])[0]

        def _get_query_embedding(self, query):
            return self._get_text_embeddings([query])[0]

        async def _aget_text_embedding(self, text):
            return self._get_text_embedding(text)

        async def _aget_query_embedding(self, query):
            return self._get_query_embedding(query)

    def sparse():
        return Sparse(model_name="splade-hosted")

    SYNC = {
        "stages": lambda m, e: stages(m.stream_structured_predict(Leave, TEMPLATE, what="leave")),
        "past": lambda m, e: str(past().structured_predict(Leave, TEMPLATE, what="leave")),
        "past-stages": lambda m, e: stages(
            past().stream_structured_predict(Leave, TEMPLATE, what="leave")
        ),
        "sparse": lambda m, e: str(sparse().get_query_embedding("leave?")),
        "sparse-batch": lambda m, e: str(sparse().get_text_embedding_batch(["leave", "parking"])),
        "chat": lambda m, e: str(m.chat(ASKED)),
        "options": lambda m, e: str(m.chat(ASKED, temperature=0.9)),
        "complete": lambda m, e: m.complete("How many days?").text,
        "stream-chat": lambda m, e: pieces(m.stream_chat(ASKED)),
        "stream-complete": lambda m, e: pieces(m.stream_complete("How many?")),
        "stopped": lambda m, e: next(m.stream_chat(messages=ASKED)).delta,
        "predict": lambda m, e: str(m.structured_predict(Leave, TEMPLATE, what="leave").days),
        "structured": lambda m, e: str(m.as_structured_llm(Leave).chat(ASKED).raw.days),
        "tools": lambda m, e: tools(m.chat_with_tools([TOOL], "Take 5.")),
        "query": lambda m, e: str(e.get_query_embedding("leave?")),
        "text": lambda m, e: str(e.get_text_embedding("leave")),
        "batch": lambda m, e: str(e.get_text_embedding_batch([f"leave {n}" for n in range(120)])),
        "several": lambda m, e: str(e.get_agg_embedding_from_queries(["leave", "parking"])),
    }

    async def stopped(m):
        async with aclosing(await m.astream_chat(ASKED)) as stream:
            return (await anext(stream)).delta

    async def predicted(m):
        return (await m.astructured_predict(Leave, TEMPLATE, what="leave")).model_dump_json()

    async def embedded(e):
        return str(await e.aget_text_embedding_batch([f"leave {n}" for n in range(120)]))

    ASYNC = {
        "past": lambda m, e: past().astructured_predict(Leave, TEMPLATE, what="leave"),
        "sparse": lambda m, e: sparse().aget_query_embedding("leave?"),
        "sparse-batch": lambda m, e: sparse().aget_text_embedding_batch(["leave", "parking"]),
        "chat": lambda m, e: m.achat(ASKED),
        "options": lambda m, e: m.achat(ASKED, temperature=0.9),
        "complete": lambda m, e: m.acomplete("How many days?"),
        "stopped": lambda m, e: stopped(m),
        "predict": lambda m, e: predicted(m),
        "structured": lambda m, e: m.as_structured_llm(Leave).achat(ASKED),
        "query": lambda m, e: e.aget_query_embedding("leave?"),
        "text": lambda m, e: e.aget_text_embedding("leave"),
        "batch": lambda m, e: embedded(e),
        "several": lambda m, e: e.aget_agg_embedding_from_queries(["leave", "parking"]),
    }

    def build():
        m, e = llm(), embed_model()
        return lambda query: SYNC[query](m, e)

    def abuild():
        m, e = llm(), embed_model()

        async def ask(query):
            if query.endswith("stages"):
                model = past() if query == "past-stages" else m
                asked = model.astream_structured_predict(Leave, TEMPLATE, what="leave")
                return await astages(await asked)
            if query == "tools":
                return tools(await m.achat_with_tools([TOOL], "Take 5."))
            if query == "stream-chat":
                return await apieces(await m.astream_chat(ASKED))
            if query == "stream-complete":
                return await apieces(await m.astream_complete("How many?"))
            return str(await ASYNC[query](m, e))

        return ask
"""
NAMES = (
    *("chat", "options", "complete", "stream-chat", "stream-complete", "stopped", "predict"),
    *("structured", "tools", "query", "text", "batch", "several", "stages", "past"),
    *("past-stages", "sparse", "sparse-batch"),
)
PIPELINES = """
    from functools import partial
    from models import *
    from llama_index.core.memory import ChatMemoryBuffer
    from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

    def engine():
        return index().as_query_engine(llm=llm(), similarity_top_k=1)

    def streaming():
        return index().as_query_engine(llm=llm(), similarity_top_k=1, streaming=True)

    def chat_engine():
        memory = ChatMemoryBuffer.from_defaults(token_limit=1000)
        return index().as_chat_engine(chat_mode="context", llm=llm(), memory=memory)

    class Steps(Workflow):
        @step
        async def answer(self, event: StartEvent) -> StopEvent:
            said = await self.models["llm"].acomplete(event.query)
            return StopEvent(result=said.text)

    def workflow():
        made = Steps()
        made.models = {"llm": llm()}
        return made

    def closure():
        model = llm()
        return lambda query: model.complete(query).text

    def _ask(model, query):
        return model.complete(query).text

    def partly():
        return partial(_ask, llm())

    class Late:
        def answer(self, query):
            self.model = llm()
            return self.model.complete(query).text

    def late():
        return Late().answer

    def global_settings():
        Settings.llm = llm()
        Settings.embed_model = embed_model()
        nodes = [TextNode(id_="leave.md", text="About leave.")]
        return VectorStoreIndex(nodes).as_query_engine()

    async def awaited():
        return index().as_query_engine(llm=llm(), similarity_top_k=1)
"""
FACTORIES = (
    *("engine", "streaming", "chat_engine", "workflow", "closure", "partly", "late"),
    *("global_settings", "awaited"),
)
MEASURED = {"latency_ms", "wait_ms", "stages_ms", "self_ms", "cpu_ms"}


def steady(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return results without what was measured by a clock here; what calls took stays."""
    for result in results:  # of forty and more, those are told that took longest here
        spans = result["spans"]
        result["spans"] = sorted(span[:3] for span in spans) if len(spans) < 40 else []
    for call in (call for result in results for call in result["calls"]):
        call.pop("ended", None)
    return [{k: v for k, v in result.items() if k not in MEASURED} for result in results]


def replayed_alike(played: Any) -> list[dict[str, Any]]:
    """Replay twice, hold both to the recording, and return the results."""
    recorded = steady(played.results())
    for result in recorded:
        for call in result["calls"]:
            assert call["origin"] == "live"
            call["origin"] = "cassette"
    for n in (1, 2):
        played.replay(None, f"--rag-out=again{n}.jsonl").assert_outcomes(passed=len(recorded))
    first, second = (played.results(f"again{n}.jsonl") for n in (1, 2))
    assert steady(first) == recorded
    assert steady(second) == recorded
    return first


@pytest.mark.parametrize("factory", ["build", "abuild"])
def test_every_kind_of_call_is_replayed(played, factory):
    """What was recorded comes again, piece by piece, with its latency and tokens."""
    cases = "".join(f"  - {{id: {name}, query: {name}}}\n" for name in NAMES)
    evalset = f"pipeline: kinds:{factory}\ncases:\n{cases}"
    files = {"models.py": MODELS, "kinds.py": KINDS, "a.rag.yaml": evalset}
    done = played.record(files, "--rag-out=run.jsonl")
    done.assert_outcomes(passed=len(NAMES))
    results = {r["case"]: r for r in replayed_alike(played)}
    assert results["stream-chat"]["answer"] == "Five |days."
    assert results["stopped"]["answer"] == "Five "
    assert results["chat"]["calls"][0]["input_tokens"] == 1000
    assert results["structured"]["calls"][0]["input_tokens"] == 100
    assert "5" in results["tools"]["answer"]
    assert results["batch"]["answer"].count("[1.0, 1.0]") == 120
    assert results["batch"]["calls"][-1]["estimated"] is True
    assert sum(call["input_tokens"] for call in results["batch"]["calls"]) == 360
    assert results["stages"]["answer"].endswith("Leave 5")
    assert results["past-stages"]["answer"].startswith("FlexibleLeave")
    for name in ("past", "past-stages"):
        (call,) = results[name]["calls"]
        assert (call["model"], call["input_tokens"]) == ("gpt-4.1-mini", 100)
        assert call["estimated"] is False
        assert results[name]["answer"].endswith("5")
    for name in ("sparse", "sparse-batch"):
        assert "100000: 0.1" in results[name]["answer"]
        (call,) = results[name]["calls"]
        assert (call["model"], call["cost_usd"]) == ("splade-hosted", None)


def test_models_are_met_wherever_a_pipeline_keeps_them(played):
    """In engines, workflows, closures, partials, `Settings`, or made when a question comes."""
    files = {"models.py": MODELS, "app.py": PIPELINES}
    for name in FACTORIES:
        cases = "cases:\n  - {id: a, query: leave, checks: {contains: Five}}\n"
        files[f"{name}.rag.yaml"] = f"pipeline: app:{name}\n{cases}"
    done = played.record(files, "--rag-out=run.jsonl")
    done.assert_outcomes(passed=len(FACTORIES))
    assert played.calls > 0
    results = replayed_alike(played)
    assert all(result["calls"] for result in results)
    header = json.loads((played.path / "again1.jsonl").read_text().splitlines()[0])
    for facts in header["evalsets"].values():
        assert (facts["mode"], facts["deterministic"]) == ("replay", True)


def test_a_replay_leaves_settings_as_they_were(played):
    """No default model is made that was not there, and no class keeps another entry point."""
    from llama_index.core import Settings
    from llama_index.core.base.llms.base import BaseLLM
    from llama_index.llms.openai import OpenAI

    before = (Settings._llm, Settings._embed_model, OpenAI.__dict__["chat"])
    files = {"models.py": MODELS, "app.py": PIPELINES}
    files["a.rag.yaml"] = "pipeline: app:closure\ncases:\n  - {id: a, query: leave}\n"
    played.record(files).assert_outcomes(passed=1)
    played.replay().assert_outcomes(passed=1)
    assert (Settings._llm, Settings._embed_model, OpenAI.__dict__["chat"]) == before
    assert "__pydantic_init_subclass__" not in BaseLLM.__dict__
