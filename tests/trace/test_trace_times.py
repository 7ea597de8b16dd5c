"""Where the time goes: stages that contain each other, waiting apart from work."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_parts import (
    AwaitingRetriever,
    ChatLLM,
    FixedRetriever,
    WordEmbedding,
    burn,
    index,
    observe,
    observe_all,
)

from pytest_rag.errors import TraceError
from pytest_rag.trace import Trace, handlers
from pytest_rag.trace.parts import Part
from pytest_rag.types import SpanTime, Timing


class SlowPostprocessor(BaseNodePostprocessor):
    """Takes its time and turns the order round."""

    wait_s: float = 0.0

    def _postprocess_nodes(self, nodes: Any, query_bundle: Any = None) -> Any:
        time.sleep(self.wait_s)
        return nodes[::-1]


def waiting_engine(kind: type = AwaitingRetriever) -> RetrieverQueryEngine:
    """Return an engine with 40 ms of retrieving, 60 of reranking and 80 of a model."""
    return RetrieverQueryEngine.from_args(
        kind(wait_s=0.04),
        llm=ChatLLM(wait_s=0.08),
        node_postprocessors=[SlowPostprocessor(wait_s=0.06)],
    )


@pytest.mark.parametrize("kind", [AwaitingRetriever, FixedRetriever], ids=["async", "sync"])
def test_stages_hold_their_own_time(kind):
    """Each stage is as long as it slept; synthesis contains the model, and is little without."""
    timing = observe(waiting_engine(kind), "q").timing
    whole, own = timing.stages_ms, timing.self_ms
    assert set(whole) == {"retrieve", "rerank", "synthesize", "llm"}
    assert whole["retrieve"] >= 39
    assert whole["rerank"] >= 59
    assert whole["synthesize"] >= whole["llm"] >= 79
    assert timing.latency_ms >= whole["retrieve"] + whole["rerank"] + whole["synthesize"]
    assert own["synthesize"] <= whole["synthesize"] - whole["llm"] + 1
    assert sum(own.values()) <= timing.latency_ms + 1


def test_an_embedding_is_part_of_the_search():
    """A vector retriever's time contains its embedding's, its own time does not."""
    made = index()
    made._embed_model = WordEmbedding(wait_s=0.1)
    timing = observe(made.as_retriever(), "leave").timing
    assert timing.stages_ms["retrieve"] >= timing.stages_ms["embed"] >= 99
    assert timing.self_ms["retrieve"] < timing.self_ms["embed"]


@pytest.mark.parametrize("kind", ["gather", "threads"])
def test_what_overlaps_counts_once(kind):
    """Five embeddings of 100 ms at the same time are 100 ms and five calls."""
    model = WordEmbedding(wait_s=0.1)

    async def gathered(query: str) -> str:
        await asyncio.gather(*(model.aget_query_embedding(query) for _ in range(5)))
        return "x"

    def threaded(query: str) -> str:
        import contextvars

        def work() -> None:
            model.get_query_embedding(query)

        contexts = [contextvars.copy_context() for _ in range(5)]
        threads = [threading.Thread(target=c.run, args=(work,)) for c in contexts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return "x"

    seen = observe(gathered if kind == "gather" else threaded, "q")
    assert len(seen.calls) == 5
    assert 99 <= seen.timing.stages_ms["embed"] < 400
    assert seen.timing.self_ms["embed"] <= seen.timing.stages_ms["embed"] + 0.1


class Both(FixedRetriever):
    """Asks two retrievers at the same time."""

    async def _aretrieve(self, query_bundle: Any) -> Any:
        parts = [AwaitingRetriever(wait_s=0.05), AsyncBusy()]
        found = await asyncio.gather(*(part.aretrieve(query_bundle) for part in parts))
        return found[0]


def test_a_trace_tells_when_each_component_ran():
    """Those that run at the same time overlap; what comes after begins after; each is told once."""
    engine = RetrieverQueryEngine.from_args(Both(), llm=ChatLLM())
    timing = observe(engine, "q").timing
    assert [(span.depth, span.stage, span.part) for span in timing.spans] == [
        (0, "retrieve", "Both"),
        (1, "retrieve", "AwaitingRetriever"),
        (1, "retrieve", "AsyncBusy"),
        (0, "synthesize", "CompactAndRefine"),
        (1, "llm", "ChatLLM"),
    ]
    both, first, second, answer, model = timing.spans
    assert both.start_ms <= first.start_ms <= second.start_ms < first.start_ms + first.ms
    assert both.ms == pytest.approx(timing.stages_ms["retrieve"])
    assert answer.start_ms >= both.start_ms + both.ms
    assert model.start_ms >= answer.start_ms
    assert answer.start_ms + answer.ms <= timing.latency_ms


def test_a_part_of_an_earlier_run_brings_its_own_spans():
    """They stand where they would have, also where the component had handed the call to itself."""
    spans = (
        SpanTime(depth=0, stage="synthesize", part="S", start_ms=0.0, ms=500.0),
        SpanTime(depth=1, stage="llm", part="M", start_ms=90.0, ms=400.0),
    )
    times = {"synthesize": 500.0, "llm": 400.0}
    timing = Timing(latency_ms=500.0, stages_ms=times, self_ms=times, spans=spans)
    part = Part.from_json(Part(timing=timing).as_json())
    trace = Trace()
    trace.enter("S.synthesize-1", None, "synthesize")
    trace.enter("S.synthesize-2", "S.synthesize-1", "synthesize")
    trace.restore("S.synthesize-2", part)
    trace.leave("S.synthesize-2")
    trace.leave("S.synthesize-1")
    trace.enter("R.rerank-1", None, "rerank")
    trace.leave("R.rerank-1")
    trace.end()
    told = trace.timing().spans
    assert [(span.depth, span.part) for span in told] == [(0, "S"), (1, "M"), (0, "R")]
    answer, model, rerank = told
    assert answer.ms >= 500
    assert model.ms == 400
    assert 90 <= model.start_ms < 490
    assert rerank.start_ms >= 500


def test_of_many_components_the_longest_are_told():
    """A hundred calls of a model leave a record of forty spans, in the order they began."""
    model = WordEmbedding()

    def ask(query: str) -> str:
        for n in range(100):
            model.wait_s = 0.002 if n % 5 == 0 else 0.0
            model.get_query_embedding(query)
        return "x"

    spans = observe(ask, "q").timing.spans
    assert len(spans) == 40
    assert sum(span.ms >= 2 for span in spans) >= 20
    starts = [span.start_ms for span in spans]
    assert starts == sorted(starts)


def test_a_pipeline_that_waits_uses_no_processor():
    """Sleeping is latency, not work."""
    timing = observe(waiting_engine(), "q").timing
    assert sum(timing.cpu_ms.values()) < timing.latency_ms / 2


class Busy(FixedRetriever):
    def _retrieve(self, query_bundle: Any) -> Any:
        burn(0.1)
        return super()._retrieve(query_bundle)


def test_a_pipeline_that_works_uses_the_processor():
    """Work is processor time, about all of it where nobody else runs."""
    timing = observe(Busy(), "q").timing
    assert 99 <= timing.cpu_ms["retrieve"] <= timing.latency_ms + 1


class AsyncBusy(AwaitingRetriever):
    """Works for 20 ms and waits in between, as every other case does."""

    async def _aretrieve(self, query_bundle: Any) -> Any:
        for _ in range(4):
            burn(0.005)
            await asyncio.sleep(0.01)
        return await super()._aretrieve(query_bundle)


def test_eight_cases_on_one_loop_each_have_their_own_work():
    """What the seven others do while one waits is not counted as its work."""
    for seen in observe_all(AsyncBusy(), [str(n) for n in range(8)]):
        assert 19 <= seen.timing.cpu_ms["retrieve"] < 60
        assert seen.timing.latency_ms >= 60


def test_waiting_before_the_question_is_no_latency():
    """The latency of a synchronous case starts when its function is called."""
    answered = observe_all(lambda query: time.sleep(0.05) or "x", ["q"] * 4)
    assert all(49 <= each.timing.latency_ms < 400 for each in answered)


# --- what cannot be measured ------------------------------------------------------------------


def _lost(query: str) -> str:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(FixedRetriever(wait_s=0.05).retrieve, query).result()
    return "x"


def test_threads_without_context_and_several_cases_are_refused():
    """Nobody can tell whose the spans are, so every case says so and what to type."""
    for error in observe_all(_lost, ["a", "b"]):
        assert isinstance(error, TraceError)
        assert "--rag-concurrency=1" in str(error)
        assert "copy_context" in str(error)


def test_threads_without_context_and_one_case_are_fine():
    """There is only one it can be."""
    assert len(observe(_lost, "a").retrieved) == 3


def test_a_handler_that_breaks_is_an_error(monkeypatch):
    """LlamaIndex swallows it; the trace does not."""

    def broken(instance: object) -> None:
        raise RuntimeError("handler broke")

    monkeypatch.setattr(handlers, "_kind_of", broken)
    with pytest.raises(TraceError, match="The trace broke: handler broke"):
        observe(FixedRetriever(), "q")


class Silent(FixedRetriever):
    """Goes round LlamaIndex's instrumentation."""


def test_a_llama_index_object_without_a_span_is_an_error():
    """Its figures would all be nought."""
    target = Silent()
    target.__dict__["retrieve"] = lambda query: []
    with pytest.raises(TraceError, match="opened no LlamaIndex span"):
        observe(target, "q")
