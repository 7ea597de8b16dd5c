"""``track``: an engine in production is the same engine, and its calls are in the ledger."""

from __future__ import annotations

import asyncio
import gc
import os

import pytest
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from llama_parts import ChatLLM, FixedRetriever, index, observe

import pytest_rag
from pytest_rag import CachedQueryEngine, config
from pytest_rag.costs.ledger import Ledger
from pytest_rag.costs.spending import spending
from pytest_rag.costs.writer import Writer
from pytest_rag.errors import UsageError
from pytest_rag.loop import LoopThread
from pytest_rag.pipelines.tracked import to_ledger, track
from pytest_rag.types import Call
from pytest_rag.zones import zone_of

COST = 2.0
"""Of one answer of two words, at a dollar a word."""


def run(coroutine) -> object:
    """Await something on a loop in a thread of its own, as servers have one."""
    loop = LoopThread()
    try:
        return loop.submit(coroutine).result(timeout=60)
    finally:
        loop.close()


@pytest.fixture
def llm():
    """A model that tells its usage."""
    return ChatLLM(rule="Five days.")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project in which the embedding of the tests is free."""
    settings = "[tool.pytest-rag.prices]\nWordEmbedding = 0\nscripted-1 = {output = 1000000}\n"
    (tmp_path / "pyproject.toml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spent(folder) -> dict[str, tuple[int, float]]:
    """Return calls and dollars by name, once all is written."""
    path = folder / ".pytest_rag" / "ledger.sqlite"
    Writer.of(path).flush()
    ledger = Ledger(path)
    rows = spending(ledger, "evalset", zone=zone_of("UTC")).rows
    ledger.close()
    return {name: (sums.calls, round(sums.usd, 9)) for name, sums in rows.items()}


def test_a_query_engine_stays_what_it_is(llm, project):
    """Its class is derived from the same class; each query is one call."""
    plain = index().as_query_engine(llm=llm)
    engine = pytest_rag.track(plain, name="app")
    assert isinstance(engine, BaseQueryEngine)
    assert isinstance(engine, type(plain))
    assert engine.query("leave?").response == plain.query("leave?").response
    assert run(engine.aquery("leave?")).response == "Five days."
    assert spent(project) == {"app": (2, round(2 * COST, 9))}


def test_a_stream_is_followed_to_its_end(llm, project):
    """Read, read by a loop, or left after a piece: one call each; unread it makes none."""
    engine = track(index().as_query_engine(llm=llm, streaming=True), name="app")
    assert str(engine.query("leave?")) == "Five days."

    async def read() -> str:
        response = await engine.aquery("leave?")
        return "".join([piece async for piece in response.async_response_gen()])

    assert run(read()) == "Five days."
    assert spent(project)["app"][0] == 2
    engine.query("leave?")
    gc.collect()
    assert spent(project)["app"] == (2, 2 * COST)
    assert "".join(engine.query("leave?").response_gen) == "Five days."
    assert spent(project)["app"] == (3, 3 * COST)
    next(engine.query("leave?").response_gen)
    gc.collect()
    assert spent(project)["app"] == (4, 3 * COST)  # what that cost is unknown


def test_every_kind_of_pipeline(llm, project):
    """Chat engines, workflows, retrievers, and functions that tell their usage or await."""
    memory = ChatMemoryBuffer.from_defaults(llm=llm)  # the default one opens a database
    engine = index().as_chat_engine(llm=llm, chat_mode="context", memory=memory)
    chat = track(engine, name="chat")
    assert chat.chat("leave?").response == "Five days."

    class Flow(Workflow):
        @step
        async def answer(self, event: StartEvent) -> StopEvent:
            return StopEvent(result=(await llm.acomplete(event.query)).text)

    async def flow() -> str:
        result = await track(Flow(timeout=10), name="workflow").run(query="leave?")
        for _ in range(10):
            await asyncio.sleep(0)  # lets the one beside us hear of it, too
        return str(result)

    assert run(flow()) == "Five days."
    usage = {"model": "gpt-4o-mini", "input_tokens": 1_000_000, "output_tokens": 0}
    told = track(lambda query: {"answer": query, "usage": usage}, name="function")
    assert told("leave?")["answer"] == "leave?"

    async def awaiting(query: str) -> str:
        return (await llm.acomplete(query)).text

    assert run(track(awaiting)("leave?")) == "Five days."
    assert len(track(FixedRetriever(), name="free").retrieve("leave?")) == 3
    found = spent(project)
    assert {name.rpartition(".")[2]: calls for name, (calls, _) in found.items()} == {
        "chat": 1,
        "workflow": 1,
        "function": 1,
        "awaiting": 1,
    }


def test_what_breaks_is_raised_and_was_paid_for(llm, project):
    """The call before the error is in the ledger; the error is the caller's."""

    def breaking(query: str) -> None:
        llm.complete(query)
        raise KeyError(query)

    with pytest.raises(KeyError):
        track(breaking, name="app")("leave?")
    assert spent(project) == {"app": (1, round(COST, 9))}


def test_nothing_is_written_twice(llm, project):
    """Under evaluation the run's own record and ledger have it, and tracks in tracks are one."""
    inner = track(index().as_query_engine(llm=llm), name="inner")
    seen = observe(inner, "leave?")
    assert [call.stage for call in seen.calls] == ["embed", "llm"]
    assert spent(project) == {}
    track(lambda query: inner.query(query).response, name="outer")("leave?")
    assert spent(project) == {"outer": (1, round(COST, 9))}


def test_a_cache_may_write_there(project):
    """By the hook that is given every call of a model."""
    hook = to_ledger("cached")
    hook(Call(stage="llm", model="gpt-4o-mini", input_tokens=1, output_tokens=1, cost_usd=0.5))
    assert spent(project) == {"cached": (1, 0.5)}


def test_what_cannot_be_written_is_logged_once(llm, project, caplog):
    """Production goes on."""
    (project / "taken").write_text("a file where a folder should be")
    engine = track(index().as_query_engine(llm=llm), ledger=project / "taken" / "ledger.sqlite")
    for _ in range(2):
        assert engine.query("leave?").response == "Five days."
    Writer.of(project / "taken" / "ledger.sqlite").flush()
    assert len([r for r in caplog.records if "not written to the ledger" in r.message]) == 1


def test_a_ledger_may_be_off(llm, project):
    """Then an engine is asked as if nobody looked."""
    (project / "pyproject.toml").write_text("[tool.pytest-rag]\nledger = false\n")
    assert track(index().as_query_engine(llm=llm)).query("leave?").response == "Five days."
    assert not (project / ".pytest_rag").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_server_writes_too(project):
    """The thread stays behind; the child has its own, and is another run."""
    usage = {"model": "gpt-4o-mini", "input_tokens": 1_000_000, "output_tokens": 0}
    answer = track(lambda query: {"answer": query, "usage": usage}, name="app")
    answer("before")
    assert spent(project)["app"][0] == 1
    child = os.fork()
    if child == 0:
        answer("after")
        spent(project)
        os._exit(0)
    os.waitpid(child, 0)
    assert spent(project)["app"] == (2, 0.3)


@pytest.mark.parametrize(
    ("target", "said"), [(BaseQueryEngine, "not the class"), (object(), "cannot tell how")]
)
def test_what_cannot_be_asked(target, said):
    """A class, and an object without any such method."""
    with pytest.raises(UsageError, match=said):
        track(target)


def test_a_cached_engine_writes_what_it_computes(llm, project):
    """A hit is no call; whoever has `to_ledger` already, or wants none, has nothing twice."""
    engine = index().as_query_engine(llm=llm)
    prices = config.load(project).prices
    with CachedQueryEngine(engine, prices=prices, name="cached") as cached:
        for _ in range(2):
            assert cached.query("leave?").response == "Five days."
    told = to_ledger("told")
    for given in ({"on_call": told}, {"ledger": False}):
        with CachedQueryEngine(engine, prices=prices, name="other", **given) as cached:
            cached.query("leave?")
    assert spent(project) == {"cached": (1, COST), "told": (1, COST)}


def test_a_cached_engine_inside_a_run_or_a_tracked_one_is_counted_once(llm, project):
    """The run's own ledger has its calls, and `track` those of what it tracks."""
    prices = config.load(project).prices
    cached = CachedQueryEngine(index().as_query_engine(llm=llm), prices=prices, name="cached")
    assert len(observe(cached, "leave?", prices=prices).calls) == 2
    told = CachedQueryEngine(
        index().as_query_engine(llm=llm), prices=prices, on_call=to_ledger("told")
    )
    observe(told, "leave?", prices=prices)
    assert not (project / ".pytest_rag" / "ledger.sqlite").exists()
    track(cached, name="tracked").query("parking?")
    assert spent(project) == {"tracked": (1, COST)}
