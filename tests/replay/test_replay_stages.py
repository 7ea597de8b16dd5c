"""Retrieval, rerank and synthesis answered out of earlier runs, and what makes them run again."""

from __future__ import annotations

import sqlite3
from collections import Counter

import pytest
from test_replay_kinds import MODELS, steady

APP = """
    import asyncio
    from models import *
    from llama_index.core import Document
    from llama_index.core.chat_engine import ContextChatEngine
    from llama_index.core.memory import ChatMemoryBuffer
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.query_engine import RetrieverQueryEngine
    from llama_index.core.response_synthesizers import CompactAndRefine
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

    TEXTS = {"leave.md": "About leave.", "parking.md": "About parking."}

    def note(word):
        with open("ran.txt", "a") as file:
            file.write(word + "\\n")

    class Retriever(BaseRetriever):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def _retrieve(self, query_bundle):
            note("retrieve")
            return self.inner.retrieve(query_bundle)

    class Rerank(BaseNodePostprocessor):
        def _postprocess_nodes(self, nodes, query_bundle=None):
            note("rerank")
            for hit in nodes:
                hit.score = hit.score / 2
            return list(nodes)

    class Synthesizer(CompactAndRefine):
        def get_response(self, *args, **kwargs):
            note("synthesize")
            return super().get_response(*args, **kwargs)

        async def aget_response(self, *args, **kwargs):
            note("synthesize")
            return await super().aget_response(*args, **kwargs)

    def parts(words="Answer", top_k=1, more=""):
        documents = [Document(id_=name, text=text + more) for name, text in TEXTS.items()]
        made = VectorStoreIndex.from_documents(documents, embed_model=embed_model())
        prompt = PromptTemplate("{context_str} Question: {query_str} " + words)
        retriever = Retriever(made.as_retriever(similarity_top_k=top_k))
        return retriever, Rerank(), Synthesizer(llm=llm(), text_qa_template=prompt)

    def engine(**params):
        retriever, rerank, synthesizer = parts(**params)
        return RetrieverQueryEngine(retriever, synthesizer, node_postprocessors=[rerank])

    def asynchronous(**params):
        made = engine(**params)

        async def ask(query):
            return await made.aquery(query)

        return ask

    def function(**params):
        retriever, rerank, synthesizer = parts(**params)

        def ask(query):
            nodes = rerank.postprocess_nodes(retriever.retrieve(query), query_str=query)
            return synthesizer.synthesize(query, nodes)

        return ask

    def workflow(**params):
        class Steps(Workflow):
            @step
            async def answer(self, event: StartEvent) -> StopEvent:
                retriever, rerank, synthesizer = self.parts
                nodes = await retriever.aretrieve(event.query)
                nodes = await rerank.apostprocess_nodes(nodes, query_str=event.query)
                return StopEvent(result=await synthesizer.asynthesize(event.query, nodes))

        made = Steps()
        made.parts = parts(**params)
        return made

    def chat(**params):
        retriever, rerank, _ = parts(**params)
        memory = ChatMemoryBuffer.from_defaults(token_limit=1000)
        return ContextChatEngine.from_defaults(
            retriever=retriever, node_postprocessors=[rerank], llm=llm(), memory=memory
        )
"""
EVALSET = """
pipeline: {{factory: "app:{factory}", params: {params}}}
cases:
  - id: one
    query: leave
    relevant: [leave.md]
    checks: {{contains: Five, latency_ms: {budget}}}
  - {{id: two, query: parking, repeat: {repeat}}}
"""
STAGES = ("retrieve", "rerank", "synthesize")


def files(factory="engine", params="{}", repeat=1, app=APP, budget=60_000):
    """Return a project with two cases."""
    evalset = EVALSET.format(factory=factory, params=params, repeat=repeat, budget=budget)
    return {"models.py": MODELS, "app.py": app, "a.rag.yaml": evalset}


@pytest.fixture
def ran(played):
    """Run the project; return how often each stage ran, and how many calls reached the server."""
    options = ("--rag-out=run.jsonl", "-p", "no:cacheprovider")

    def run(given, *args, passed=2, **outcomes):
        counted = played.path / "ran.txt"
        counted.unlink(missing_ok=True)
        before = len(played.server.keys)
        done = played.run_rag(given, f"--rag-cache={run.cache}", *options, *args)
        done.assert_outcomes(passed=passed, **outcomes)
        played.no_secret()
        words = counted.read_text().split() if counted.exists() else []
        run.done = done
        return dict(Counter(words)), len(played.server.keys) - before

    run.cache = "sqlite:cache.db"
    return run


def as_cached(results):
    """Return results without own times and random ids, each call as if out of the cache."""
    for result in results:
        for found in result["retrieved"]:
            del found["node"]
        for check in result["checks"]:
            if check["metric"] == "latency_ms":
                del check["value"]
        for call in result["calls"]:
            call["origin"] = "cache"
    return steady(results)


def same(second, first):
    """Hold results to those of an earlier run, field by field."""
    for again, once in zip(as_cached(second), as_cached(first), strict=True):
        for field in once | again:
            assert again[field] == once[field], field


@pytest.mark.parametrize(
    ("factory", "cache"),
    [
        *[("engine", "sqlite"), ("engine", "redis"), ("asynchronous", "redis")],
        *[("function", "sqlite"), ("workflow", "sqlite")],
    ],
)
def test_a_second_run_runs_no_stage(request, played, ran, factory, cache):
    """Records are those of the live run, field by field, though node ids are made anew."""
    if cache == "redis":
        ran.cache = request.getfixturevalue("redis_url")
    stages, calls = ran(files(factory))
    assert stages == dict.fromkeys(STAGES, 2)
    assert calls == 5  # the documents, two questions, two answers
    first = played.results()
    assert {call["origin"] for result in first for call in result["calls"]} == {"live"}
    assert ran({}) == ({}, 0)
    second = played.results()
    assert {call["origin"] for result in second for call in result["calls"]} == {"cache"}
    assert [call["stage"] for call in second[0]["calls"]] == ["embed", "llm"]
    assert second[0]["retrieved"][0]["id"] == "leave.md"
    same(second, first)
    assert all(result["stages_ms"].keys() == {*STAGES, "embed", "llm"} for result in second)


def test_memory_answers_within_a_run(played, ran):
    """Cases that ask the same share their stages; the next run begins anew."""
    ran.cache = "memory"
    cases = "cases:\n  - {id: one, query: leave}\n  - {id: two, query: leave}\n"
    given = files() | {"a.rag.yaml": f"pipeline: app:engine\n{cases}"}
    for _ in range(2):
        assert ran(given, "--rag-concurrency=1") == (dict.fromkeys(STAGES, 1), 3)
        one, two = played.results()
        assert {call["origin"] for call in one["calls"]} == {"live"}
        same([two], [{**one, "case": "two"}])


def test_a_chat_engine_is_answered_too(played, ran):
    """Its retrieval and rerank are stages, its answer a call."""
    ran(files("chat"))
    first = played.results()
    assert ran({}) == ({}, 0)
    same(played.results(), first)


def test_budgets_rest_on_the_stages_first_run(played, ran):
    """A hit takes a millisecond, and stands for stages that took 300 ms a call."""
    played.server.wait_s = 0.3
    ran(files())
    first = played.results()[0]
    assert ran(files(budget=550), passed=1, failed=1) == ({}, 0)
    again = played.results()[0]
    for stage in ("retrieve", "embed", "synthesize", "llm"):
        assert again["stages_ms"][stage] == pytest.approx(first["stages_ms"][stage], rel=0.05)
    assert again["self_ms"]["retrieve"] < 250 < again["self_ms"]["embed"]
    assert again["latency_ms"] >= 600
    spans = {stage: (start, ms) for _, stage, _, start, ms in again["spans"]}
    assert spans["llm"][0] >= spans["synthesize"][0] >= sum(spans["retrieve"]) >= 300
    assert spans["retrieve"][0] <= spans["embed"][0] < 250 < spans["embed"][1]


CHANGES = {
    "the prompt": ("{words: Be brief}", {"synthesize": 2}, 2),
    "top_k": ("{top_k: 2}", dict.fromkeys(STAGES, 2), 2),
    "the corpus": ("{more: ' New.'}", dict.fromkeys(STAGES, 2), 3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_runs_what_depends_on_it(ran, change):
    """And calls of models that are the same are answered still."""
    params, stages, calls = CHANGES[change]
    ran(files())
    assert ran(files(params=params)) == (stages, calls)
    assert ran(files()) == ({}, 0)


def test_another_repeat_is_a_run_of_its_own(played, ran):
    """The second one asks anew, once."""
    ran(files())
    assert ran(files(repeat=2)) == (dict.fromkeys(STAGES, 1), 1)
    assert ran(files(repeat=2)) == ({}, 0)
    assert [r["repeat"] for r in played.results()] == [0, 0, 1]


def test_the_projects_own_code_counts(ran):
    """Another reranker of the same name runs, and a comment changes nothing."""
    ran(files())
    assert ran(files(app=APP.replace('note("rerank")', 'note("rerank")  # so far'))) == ({}, 0)
    stages, calls = ran(files(app=APP.replace("hit.score / 2", "hit.score / 3")))
    assert (stages, calls) == ({"rerank": 2, "synthesize": 2}, 0)


UNTELLABLE = APP.replace("self.inner = inner", "self.inner, self.x = inner, Plain()").replace(
    "    def note(", "    class Plain:\n        pass\n\n    def note("
)


def test_what_cannot_be_told_runs_and_is_said_once(ran):
    """An object that nobody can look into; what follows is answered as long as it gets the same."""
    ran(files(app=UNTELLABLE))
    assert ran({}) == ({"retrieve": 2}, 0)
    lines = [line for line in ran.done.outlines if "not cached" in line]
    said = "not cached: what Retriever returns, whose configuration cannot be told"
    assert [line.strip() for line in lines] == [said]


BLIND = (
    APP.replace("self.inner.retrieve(query_bundle)", "make()")
    .replace(
        "    class Retriever(",
        """    def make():
        from llama_index.core.schema import NodeWithScore
        return [NodeWithScore(node=TextNode(id_="leave.md", text="About leave."), score=1.0)]

    class Retriever(""",
    )
    .replace("self.inner = inner", "pass")
)


def test_documents_that_cannot_be_seen_are_not_trusted(ran):
    """A retriever that keeps its documents elsewhere runs each time."""
    ran(files(app=BLIND))
    assert ran({}) == ({"retrieve": 2}, 0)
    said = "*not cached: what Retriever returns, whose documents cannot be told*"
    ran.done.stdout.fnmatch_lines([said])


def test_a_broken_entry_is_a_miss(played, ran):
    """It is computed and kept again."""
    ran(files())
    with sqlite3.connect(played.path / "cache.db") as database:
        changed = database.execute(
            "UPDATE entries SET value = substr(value, 1, 90) WHERE namespace = 'stages/rerank'"
        )
        assert changed.rowcount == 2
    database.close()
    assert ran({}) == ({"rerank": 2}, 0)
    assert ran({}) == ({}, 0)


def test_workers_share_the_stages(ran):
    """What one process kept, another finds."""
    ran(files())
    assert ran({}, "-n2") == ({}, 0)
