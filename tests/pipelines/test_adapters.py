"""Whatever a user brings is asked rightly: answer, documents, calls and stages are there."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from typing import Any

import numpy as np
import pytest
from llama_index.core import Response
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.indices.query.query_transform.base import HyDEQueryTransform
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import (
    CitationQueryEngine,
    CustomQueryEngine,
    RetrieverQueryEngine,
    RouterQueryEngine,
    SubQuestionQueryEngine,
    TransformQueryEngine,
)
from llama_index.core.question_gen.types import BaseQuestionGenerator, SubQuestion
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import QueryEngineTool
from llama_parts import (
    TEXTS,
    AwaitingRetriever,
    BlockingLLM,
    ChatLLM,
    FixedRetriever,
    documents,
    index,
    node,
    observe,
    observe_all,
)
from workflows import Context, Workflow, step
from workflows.events import StartEvent, StopEvent

from pytest_rag.errors import PipelineError
from pytest_rag.pipelines.adapters import adapt
from pytest_rag.pipelines.local import LocalPipeline

ALL = tuple(TEXTS)


def ids(seen: Any) -> tuple[str, ...] | None:
    """Return the documents of an observation, in order."""
    return None if seen.retrieved is None else tuple(n.id for n in seen.retrieved)


def engine(retriever: Any = None, llm: Any = None, **options: Any) -> RetrieverQueryEngine:
    """Return a query engine of scripted parts."""
    return RetrieverQueryEngine.from_args(
        retriever or FixedRetriever(), llm=llm or ChatLLM(), **options
    )


# --- query engines ----------------------------------------------------------------------------


def test_a_synchronous_retriever_runs_in_a_thread():
    """Three questions to an engine that can only block wait for each other, each in its thread."""
    assert not adapt(engine(FixedRetriever())).is_async
    met = threading.Barrier(3)

    class Meeting(FixedRetriever):
        def _retrieve(self, query_bundle: Any) -> Any:
            met.wait(timeout=30)
            return super()._retrieve(query_bundle)

    seen = observe_all(engine(Meeting()), ["a", "b", "c"])
    assert [ids(each) for each in seen] == [ALL] * 3
    assert {each.answer for each in seen} == {"An answer."}
    assert seen[0].calls[0].input_tokens > 5


def test_a_retriever_that_awaits_is_awaited_on_the_one_loop():
    """A natively asynchronous engine is never asked synchronously, and sees one loop only."""
    retriever = AwaitingRetriever(wait_s=0.01)
    seen = observe_all(engine(retriever), ["a", "b", "c"])
    assert [ids(each) for each in seen] == [ALL] * 3
    assert len(retriever.loops) == 1


@pytest.mark.parametrize(
    "blocking",
    [
        lambda: engine(AwaitingRetriever(), BlockingLLM()),
        lambda: TransformQueryEngine(engine(), HyDEQueryTransform(llm=ChatLLM())),
        lambda: RetrieverQueryEngine.from_args(Delegating(), llm=ChatLLM()),
    ],
    ids=["language model", "inner engine", "async in name only"],
)
def test_a_part_that_blocks_keeps_the_whole_off_the_loop(blocking):
    """One part whose async method only calls the synchronous one would stop every other case."""
    assert not adapt(blocking()).is_async


class Delegating(FixedRetriever):
    """Is asynchronous in name only."""

    async def _aretrieve(self, query_bundle: Any) -> Any:
        return self._retrieve(query_bundle)


class Answering(CustomQueryEngine):
    """A custom engine as the documentation writes it: it returns a text."""

    retriever: Any
    llm: Any

    def custom_query(self, query_str: str) -> Any:
        nodes = self.retriever.retrieve(query_str)
        return str(self.llm.complete(nodes[0].get_content() + query_str))


class AnsweringAsync(Answering):
    async def acustom_query(self, query_str: str) -> Any:
        nodes = await self.retriever.aretrieve(query_str)
        said = await self.llm.acomplete(query_str)
        return Response(str(said), source_nodes=nodes[:1])


def test_a_custom_engine_that_returns_a_text_still_tells_what_it_retrieved():
    """Its response has no sources, but a retriever was seen."""
    seen = observe(Answering(retriever=FixedRetriever(), llm=ChatLLM()), "leave?")
    assert (seen.answer, ids(seen)) == ("An answer.", ALL)
    assert [call.stage for call in seen.calls] == ["llm"]


def test_a_custom_engine_may_await():
    """Its own sources are taken where it gives them."""
    target = AnsweringAsync(retriever=AwaitingRetriever(), llm=ChatLLM())
    assert adapt(target).is_async
    assert ids(observe(target, "leave?")) == ALL[:1]


def test_sources_cut_off_are_not_retrieved():
    """A cut-off that drops everything leaves nothing, not what was there before."""
    cut = [SimilarityPostprocessor(similarity_cutoff=5)]
    assert ids(observe(engine(node_postprocessors=cut), "q")) == ()
    some = [SimilarityPostprocessor(similarity_cutoff=0.5)]
    assert ids(observe(engine(node_postprocessors=some), "q")) == ALL[:2]


@pytest.mark.parametrize("use_async", [False, True])
def test_a_router_goes_where_the_model_points(use_async):
    """The chosen engine's documents are the run's; the choice is a call like any other."""
    retriever = AwaitingRetriever if use_async else FixedRetriever
    tools = [
        QueryEngineTool.from_defaults(engine(retriever(node(name))), description=name)
        for name in ALL
    ]
    chooser = ChatLLM(rule='[{"choice": 2, "reason": "parking"}]')
    router = RouterQueryEngine(
        selector=LLMSingleSelector.from_defaults(llm=chooser),
        query_engine_tools=tools,
        llm=ChatLLM(),
    )
    seen = observe(router, "Where do I park?")
    assert (seen.answer, ids(seen)) == ("An answer.", ("parking.md",))
    assert len(seen.calls) == 2


class Splitter(BaseQuestionGenerator):
    """Asks every tool the same."""

    def generate(self, tools: Any, query: Any) -> list[SubQuestion]:
        return [SubQuestion(sub_question=query.query_str, tool_name=t.name) for t in tools]

    async def agenerate(self, tools: Any, query: Any) -> list[SubQuestion]:
        return self.generate(tools, query)

    def _get_prompts(self) -> dict:
        return {}

    def _update_prompts(self, prompts: dict) -> None: ...


@pytest.mark.parametrize("use_async", [False, True])
def test_answers_to_sub_questions_are_no_documents(use_async):
    """Of a sub-question engine's sources only those count that come from the index."""
    tools = [
        QueryEngineTool.from_defaults(
            engine(FixedRetriever(node(name, file_name=name))), name=name[:-3], description=name
        )
        for name in ALL
    ]
    split = SubQuestionQueryEngine.from_defaults(
        query_engine_tools=tools,
        question_gen=Splitter(),
        llm=ChatLLM(),
        response_synthesizer=get_response_synthesizer(llm=ChatLLM()),
        use_async=use_async,
        verbose=False,
    )
    for key in (None, "file_name"):
        seen = observe(split, "q", document_key=key)
        assert ids(seen) == ALL
        assert len(seen.calls) == 4


def test_citations_keep_their_document():
    """A citation engine cuts nodes anew; they still belong to their documents."""
    cited = CitationQueryEngine(
        retriever=FixedRetriever(),
        llm=ChatLLM(),
        response_synthesizer=get_response_synthesizer(llm=ChatLLM()),
    )
    assert ids(observe(cited, "q")) == ALL


@pytest.mark.parametrize(
    ("retriever", "is_async"), [(FixedRetriever, False), (AwaitingRetriever, True)]
)
def test_a_stream_is_read_to_its_end(retriever, is_async):
    """A streaming engine's answer is complete, its tokens known, its model's time all of it."""
    llm = ChatLLM(rule="one two three four five", wait_s=0.02)
    target = engine(retriever(), llm, streaming=True)
    assert adapt(target).is_async is is_async
    seen = observe(target, "q")
    assert seen.answer == "one two three four five"
    assert ids(seen) == ALL
    assert [call.output_tokens for call in seen.calls] == [5]
    assert seen.timing.latency_ms >= seen.timing.stages_ms["llm"] >= 90


# --- retrievers -------------------------------------------------------------------------------


def test_a_retriever_alone_gives_documents_and_no_answer():
    """Its nodes are all there is."""
    seen = observe(FixedRetriever(), "q")
    assert (seen.answer, ids(seen)) == (None, ALL)
    assert observe(AwaitingRetriever(), "q").timing.stages_ms.keys() == {"retrieve"}


@pytest.mark.parametrize("use_async", [False, True])
def test_fusion_of_retrievers(use_async):
    """With one query and no model to write more, the halves' lists become one."""
    first, second = node("leave.md"), node("parking.md")
    halves = [FixedRetriever(first, second), FixedRetriever(second)]
    fused = QueryFusionRetriever(
        halves, llm=ChatLLM(), num_queries=1, mode="reciprocal_rerank", use_async=use_async
    )
    seen = observe(fused, "q")
    assert ids(seen) == ("parking.md", "leave.md")
    assert not seen.calls


# --- chat engines -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ContextChatEngine, CondensePlusContextChatEngine])
@pytest.mark.parametrize("retriever", [FixedRetriever, AwaitingRetriever])
def test_a_chat_engine_forgets_between_cases(kind, retriever):
    """No case sees the question or the answer of another, and they take turns."""
    prompts: list[str] = []

    def rule(prompt: str) -> str:
        prompts.append(prompt)
        return f"answer {len(prompts)}"

    retriever = FixedRetriever() if retriever is FixedRetriever else AwaitingAndNot()
    memory = ChatMemoryBuffer.from_defaults()
    target = kind.from_defaults(retriever=retriever, llm=ChatLLM(rule=rule), memory=memory)
    assert adapt(target).concurrency == 1
    for number in range(3):
        seen = observe(target, f"question-{number}")
        assert ids(seen) == ALL
        assert seen.answer == f"answer {number + 1}"
    assert len(prompts) == 3
    for number, prompt in enumerate(prompts):
        assert f"question-{number}" in prompt
        assert sum(f"question-{other}" in prompt for other in range(3)) == 1


class AwaitingAndNot(AwaitingRetriever):
    def _retrieve(self, query_bundle: Any) -> Any:
        return FixedRetriever._retrieve(self, query_bundle)


def test_other_chat_engines():
    """A chat engine over a query engine tells its sources; one without any tells nothing."""
    condense = CondenseQuestionChatEngine.from_defaults(
        query_engine=engine(), llm=ChatLLM(), memory=ChatMemoryBuffer.from_defaults()
    )
    assert ids(observe(condense, "q")) == ALL
    simple = observe(
        SimpleChatEngine.from_defaults(llm=ChatLLM(), memory=ChatMemoryBuffer.from_defaults()), "q"
    )
    assert simple.answer == "An answer."
    assert len(simple.calls) == 1


def test_a_stream_of_a_chat_engine():
    """A function may return what ``stream_chat`` and ``astream_chat`` give."""
    chat = ContextChatEngine.from_defaults(
        retriever=AwaitingAndNot(),
        llm=ChatLLM(rule="one two three"),
        memory=ChatMemoryBuffer.from_defaults(),
    )

    async def astream(query: str) -> Any:
        return await chat.astream_chat(query)

    for ask in (chat.stream_chat, astream):
        seen = observe(ask, "q")
        assert (seen.answer, ids(seen)) == ("one two three", ALL)
        assert [call.output_tokens for call in seen.calls] == [3]


# --- workflows and agents ---------------------------------------------------------------------


class Flow(Workflow):
    """Retrieves in one step and answers in it."""

    @step
    async def answer(self, ev: StartEvent) -> StopEvent:
        nodes = await AwaitingRetriever(node("leave.md")).aretrieve(ev.query)
        said = await ChatLLM().acomplete(nodes[0].get_content())
        return StopEvent(result=str(said))


class Question(StartEvent):
    question: str
    filters: dict | None = None


class Custom(Workflow):
    @step
    async def answer(self, ctx: Context, ev: Question) -> StopEvent:
        return StopEvent(result={"answer": f"{ev.question} {ev.filters}", "retrieved": []})


class Nameless(StartEvent):
    payload: str


class Unaskable(Workflow):
    @step
    async def answer(self, ev: Nameless) -> StopEvent:
        return StopEvent(result="x")


def test_a_workflow_is_run_and_seen():
    """The default start event gets ``query``; retrievers and calls in its steps are the case's."""
    seen = observe(Flow(), "leave?")
    assert (seen.answer, ids(seen)) == ("An answer.", ("leave.md",))
    assert seen.timing.stages_ms.keys() == {"retrieve", "llm"}


def test_many_runs_of_one_workflow_do_not_mix():
    """Each of several at once has its own call and its own documents."""
    seen = observe_all(Flow(), [f"q{n}" for n in range(10)])
    assert [(len(each.calls), ids(each)) for each in seen] == [(1, ("leave.md",))] * 10


def test_a_workflow_with_its_own_start_event():
    """The field that is the question is found by its name; filters go where there is a field."""
    assert observe(Custom(), "why?").answer == "why? None"
    assert observe(Custom(), "why?", {"a": 1}).answer == "why? {'a': 1}"
    with pytest.raises(PipelineError, match=r"has the fields payload.*Name it 'query'"):
        adapt(Unaskable())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("wrap", [False, True], ids=["agent", "workflow of agents"])
def test_an_agent_that_searches(wrap):
    """The answer is the last message; the documents are those its tool found."""

    def rule(prompt: str) -> Any:
        if "carry over" in prompt:
            return "Five days."
        return {"tool": "search", "arguments": {"query": "leave"}}

    async def search(query: str) -> str:
        """Search the handbook."""
        found = await AwaitingRetriever(node("leave.md")).aretrieve(query)
        return found[0].get_content()

    agent = FunctionAgent(tools=[search], llm=ChatLLM(rule=rule), streaming=not wrap)
    target = AgentWorkflow(agents=[agent]) if wrap else agent
    seen = observe(target, "How many days?")
    assert (seen.answer, ids(seen)) == ("Five days.", ("leave.md",))
    assert [call.stage for call in seen.calls] == ["llm", "llm"]
    assert all(call.input_tokens for call in seen.calls)


# --- functions --------------------------------------------------------------------------------


class Asker:
    """A callable object that says something of itself."""

    documents = frozenset({"a.md", "b.md"})
    rag_concurrency = 2

    def __call__(self, query: str) -> str:
        return f"{query}!"


class AsyncAsker:
    async def __call__(self, query: str) -> str:
        await asyncio.sleep(0)
        return f"{query}!"


async def _later(query: str) -> str:
    await asyncio.sleep(0)
    return f"{query}!"


def _with_mark(query: str, mark: str = "?") -> str:
    return f"{query}{mark}"


@pytest.mark.parametrize(
    "target",
    [
        lambda query: f"{query}!",
        _later,
        lambda query: _later(query),
        lambda query: asyncio.ensure_future(_later(query)) if _on_a_loop() else _later(query),
        Asker(),
        AsyncAsker(),
        Asker().__call__,
        functools.partial(_with_mark, mark="!"),
        functools.partial(_later),
    ],
    ids=[
        "lambda",
        "async",
        "lambda of a coroutine",
        "future",
        "object",
        "async object",
        "method",
        "partial",
        "async partial",
    ],
)
def test_anything_that_can_be_called(target):
    """The text it returns, now or later, is the answer; nothing else is known of it."""
    seen = observe(target, "q")
    assert (seen.answer, seen.retrieved, seen.cost_usd) == ("q!", None, None)


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def test_what_an_object_says_of_itself():
    """``documents`` are the index's ids, ``rag_concurrency`` the most runs at a time."""
    pipeline = adapt(Asker())
    assert (pipeline.documents, pipeline.concurrency) == ({"a.md", "b.md"}, 2)


@pytest.mark.parametrize("kind", ["sync", "async", "sync, then a coroutine"])
def test_a_function_that_uses_llama_index_inside(kind):
    """Its stages and calls are seen as if it were an engine."""
    target = engine(AwaitingAndNot())

    async def later(nodes: Any) -> str:
        return str(await ChatLLM().acomplete("q"))

    def both(query: str) -> Any:
        return later(target.retriever.retrieve(query))

    async def awaiting(query: str) -> Any:
        return await target.aquery(query)

    asked = {"sync": target.query, "async": awaiting, "sync, then a coroutine": both}[kind]
    seen = observe(asked, "q")
    assert (seen.answer, ids(seen), len(seen.calls)) == ("An answer.", ALL, 1)
    assert {"retrieve", "llm"} <= seen.timing.stages_ms.keys()
    assert seen.input_tokens > 0


def test_a_function_that_joins_several_searches():
    """All that its retrievers found counts, in the order they were asked, each node once."""
    first, second = node("leave.md"), node("parking.md")

    def hybrid(query: str) -> str:
        FixedRetriever(first, second).retrieve(query)
        FixedRetriever(second, node("pension.md")).retrieve(query)
        return "x"

    seen = observe(hybrid, "q")
    assert ids(seen) == ALL
    assert {n.score for n in seen.retrieved} == {None}


def test_a_function_that_returns_a_stream():
    """Of either kind, from a function of either kind."""
    sync, awaiting = (
        engine(AwaitingAndNot(), ChatLLM(rule="one two three"), streaming=True) for _ in range(2)
    )

    async def gives_sync(query: str) -> Any:
        return await asyncio.to_thread(sync.query, query)

    for ask in (sync.query, awaiting.aquery, gives_sync):
        seen = observe(ask, "q")
        assert (seen.answer, seen.output_tokens) == ("one two three", 3)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (index, r"VectorStoreIndex.*Return VectorStoreIndex\.as_query_engine\(\) instead"),
        (lambda: Asker, "returned the class Asker itself"),
        (lambda: lambda: "x", "cannot be called with the query alone"),
        (lambda: None, "NoneType None is no pipeline"),
    ],
    ids=["index", "class", "no query", "nothing"],
)
def test_what_cannot_be_asked_is_told(target, message):
    """The message says what it is and what to return instead."""
    with pytest.raises(PipelineError, match=message):
        adapt(target())


@pytest.mark.parametrize(
    ("factory", "outcome", "shown"),
    [
        ("async def build():\n    return lambda query: 'yes'", {"passed": 1}, "*1 passed*"),
        (
            "class build:\n    def __call__(self, query):\n        return 'yes'",
            {"passed": 1},
            "*1 passed*",
        ),
        (
            "from llama_parts import index\ndef build():\n    return index()",
            {"errors": 1},
            "*app:build: VectorStoreIndex*as_query_engine() instead*",
        ),
        (
            "async def build():\n    import os\n    return os.environ['ACME_API_KEY']",
            {"skipped": 1},
            "*ACME_API_KEY is not set*",
        ),
    ],
    ids=["async", "class", "index", "async without a key"],
)
def test_factories(run_rag, factory, outcome, shown):
    """A coroutine, a class, one that forgot a step, one that needs a key."""
    evalset = "pipeline: app:build\ncases: [{id: a, query: q, checks: {contains: 'yes'}}]\n"
    result = run_rag({"app.py": factory, "a.rag.yaml": evalset})
    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines([shown])


# --- documents and filters --------------------------------------------------------------------


def test_the_documents_of_an_index_are_known():
    """Through engines and retrievers down to the docstore; not where one part cannot tell."""
    retriever = index().as_retriever()
    for target in (
        retriever,
        engine(retriever),
        TransformQueryEngine(engine(retriever), HyDEQueryTransform(llm=ChatLLM())),
        QueryFusionRetriever([retriever, retriever], llm=ChatLLM(), num_queries=1),
    ):
        assert adapt(target).documents == set(ALL)
    half = QueryFusionRetriever([retriever, FixedRetriever()], llm=ChatLLM(), num_queries=1)
    assert adapt(half).documents is None
    assert {d.id_ for d in documents()} == set(ALL)


def test_filters_of_concurrent_cases_do_not_mix():
    """Each case sees its own departments, and the engine is left as it was."""
    target = index().as_query_engine(llm=ChatLLM(wait_s=0.01), similarity_top_k=3)
    letters = [{"department": "l"}, {"department": "p"}, {"department": ["l", "p"]}, {}] * 5
    seen = observe_all(target, ["q"] * len(letters), letters)
    expected = [{"leave.md"}, {"parking.md", "pension.md"}, set(ALL), set(ALL)] * 5
    assert [set(ids(each)) for each in seen] == expected
    assert target.retriever._filters is None


def test_filters_come_on_top_of_the_engines_own():
    """Both must hold."""
    from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

    own = MetadataFilters(filters=[MetadataFilter(key="department", value="p")])
    target = index().as_retriever(filters=own, similarity_top_k=3)
    assert set(ids(observe(target, "q", {"department": "p"}))) == {"parking.md", "pension.md"}
    assert ids(observe(target, "q", {"department": "l"})) == ()
    assert target._filters is own


def test_filters_reach_what_lies_inside():
    """Through a transform, a fusion and a chat engine."""
    retriever = index().as_retriever(similarity_top_k=3)
    for target in (
        TransformQueryEngine(engine(retriever), HyDEQueryTransform(llm=ChatLLM())),
        QueryFusionRetriever([retriever, retriever], llm=ChatLLM(), num_queries=1),
        ContextChatEngine.from_defaults(
            retriever=retriever, llm=ChatLLM(), memory=ChatMemoryBuffer.from_defaults()
        ),
    ):
        assert ids(observe(target, "leave", {"department": "l"})) == ("leave.md",)


def test_filters_for_a_function():
    """It gets them where it names them; where it does not, the case says so."""
    assert observe(lambda query, filters: str(filters), "q", {"a": 1}).answer == "{'a': 1}"
    for target in (lambda query: "x", FixedRetriever(), engine()):
        with pytest.raises(PipelineError, match="The case has filters"):
            observe(target, "q", {"a": 1})


def test_many_threads_are_not_left_behind():
    """Synchronous pipelines leave no thread per question."""
    before = set(threading.enumerate())
    observe_all(lambda query: query, [str(n) for n in range(20)])
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) - before == set()


def test_the_local_pipeline_names_its_documents_itself(tmp_path):
    """A project's ``document_key`` is for its own indexes, not for the embedded pipeline."""
    (tmp_path / "leave.md").write_text("# Leave\n\nFive days carry over.\n")
    pipeline = adapt(LocalPipeline.from_folder(tmp_path), "file_name")
    assert pipeline.documents == {"leave.md"}
    assert pipeline.document_key is None


def test_numbers_of_numpy():
    """Its integers and floats are taken for scores, tokens and money, as Python's own."""
    entry = {"id": "a.md", "score": np.float32(0.5)}
    usage = {"model": "m", "input_tokens": np.int64(7), "cost_usd": np.float64(0.25)}
    seen = observe(lambda query: {"answer": "x", "retrieved": [entry], "usage": usage}, "q")
    told = [seen.retrieved[0].score, seen.calls[0].input_tokens, seen.calls[0].cost_usd]
    assert told == [0.5, 7, 0.25]
    assert [type(value) for value in told] == [float, int, float]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"usage": {"input_tokens": True}}, "usage.input_tokens .* True, not a whole number of 0"),
        ({"usage": {"output_tokens": np.float64(3)}}, "usage.output_tokens .*, not a whole number"),
        ({"usage": {"output_tokens": -1}}, "usage.output_tokens .* -1, not a whole number of 0"),
        ({"usage": {"input_tokens": 10**5000}}, "usage.input_tokens .* is too large a number"),
        ({"usage": {"cost_usd": "1"}}, "usage.cost_usd .* '1', not a number of 0 or more"),
        ({"usage": {"cost_usd": float("nan")}}, "usage.cost_usd .* nan, not a number of 0"),
        ({"retrieved": [{"id": "a", "score": True}]}, r"retrieved\[0\] .* True, not a number"),
        ({"retrieved": [{"id": "a", "score": np.True_}]}, "the score .*True.*, not a number"),
        ({"retrieved": [{"id": "a", "score": "0.5"}]}, "the score '0.5', not a number"),
        ({"retrieved": [{"id": "a", "score": 10**5000}]}, "a score that is too large"),
        ({"retrieved": [{"id": 5}]}, "'id' is 5, a number: write it as a text"),
        ({"retrieved": [{"id": np.int64(5)}]}, "'id' is 5, a number: write it as a text"),
        ({"retrieved": [{"id": "a", 1: 2}]}, "has a key 1"),
    ],
)
def test_numbers_that_are_none(more, message):
    """What cannot be counted or ranked is told with its field."""
    with pytest.raises(PipelineError, match=message):
        observe(lambda query: {"answer": "x", **more}, "q")
