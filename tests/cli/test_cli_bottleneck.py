"""`pytest-rag bottleneck`: what was planted is named first, whatever wrote the record."""

from __future__ import annotations

import json
import re

import pytest

from pytest_rag import records
from pytest_rag.bottleneck import find
from pytest_rag.bottleneck.repeats import repeats
from pytest_rag.metrics.used import used_tokens
from pytest_rag.records import Result, Run

PLANTED = """
    from llama_index.core import VectorStoreIndex
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.prompts import PromptTemplate
    from llama_index.core.query_engine import RetrieverQueryEngine
    from llama_parts import ChatLLM, FixedRetriever, WordEmbedding, documents, node
    import time

    class SlowReranker(BaseNodePostprocessor):
        def _postprocess_nodes(self, nodes, query_bundle=None):
            time.sleep(0.3)
            return nodes

    def said(prompt):
        return "Five days of leave carry over."

    def engine(embed=None, **more):
        index = VectorStoreIndex.from_documents(documents(), embed_model=embed or WordEmbedding())
        return index.as_query_engine(llm=ChatLLM(rule=said, wait_s=0.02), **more)

    def reranker():
        return engine(node_postprocessors=[SlowReranker()])

    def embedder():
        return engine(WordEmbedding(wait_s=0.25))

    def context():
        filler = node("handbook.md", "Nothing of this was ever asked. " * 900)
        retriever = FixedRetriever(node("leave.md"), filler)
        return RetrieverQueryEngine.from_args(retriever, llm=ChatLLM(rule=said, wait_s=0.02))

    def prompt():
        filler = "Mind the house rules in all you say. " * 300
        template = PromptTemplate(filler + "{context_str} {query_str}")
        llm = ChatLLM(rule=said, wait_s=0.02)
        return RetrieverQueryEngine.from_args(
            FixedRetriever(node("leave.md")), llm=llm, text_qa_template=template
        )

    def model():
        retriever = FixedRetriever(node("leave.md"))
        return RetrieverQueryEngine.from_args(retriever, llm=ChatLLM(rule=said, wait_s=0.3))
"""


@pytest.mark.parametrize(
    ("factory", "kind", "stage"),
    [
        ("reranker", "stage", "rerank"),
        ("embedder", "stage", "embed"),
        ("context", "context", None),
        ("prompt", "prompt", None),
        ("model", "model", "llm"),
    ],
)
def test_what_was_planted_comes_first(project, factory, kind, stage):
    """A slow part, a useless context and a long prompt are each the first thing to change."""
    project.write("my_rag.py", PLANTED)
    project.evalset("hr", factory, "leave", "parking", "pension", "travel", "holiday", "days")
    project("run", "hr.rag.yaml", "--out", "run.jsonl")
    done = project("bottleneck", "run.jsonl", "--json")
    assert done.exit_code == 0
    (found,) = json.loads(done.stdout)["evalsets"]
    first = found["findings"][0]
    assert (first["kind"], first["stage"]) == (kind, stage), done.stdout
    if factory == "reranker":
        assert 290 <= first["saves"]["ms"] <= 600
        assert "SlowReranker" in first["what"]
        assert "waiting" in first["what"]
    if factory == "context":
        assert first["saves"]["tokens"] >= 4000
        assert first["share"] > 0.9
    text = project("bottleneck", "run.jsonl").stdout
    assert re.search(rf"1\. .*{stage or 'tokens'}", text) or kind == "model", text
    assert "| `" in project("bottleneck", "run.jsonl", "--md").stdout


def result(case: str, *, latency: float = 100.0, **more) -> Result:
    """Return a result with the times of a retriever and a model."""
    times = {"self_ms": {"retrieve": 20.0, "llm": latency - 30.0}, "latency_ms": latency}
    values = {"evalset": "hr", "outcome": "passed", "query": case, **times, **more}
    return Result(case=case, **values)


def run_of(*results: Result, complete: bool = True) -> Run:
    """Return a run of results."""
    facts = {"hr": {"concurrency": 1}}
    return Run(header={"evalsets": facts}, results=results, footer={"complete": complete})


def finding(found, kind):
    """Return the one finding of a kind."""
    (one,) = [each for each in found.findings if each.kind == kind]
    return one


def test_an_old_record_is_told_by_gold():
    """Without sizes of texts, what is no gold counts as unused, and the figure says so."""
    nodes = [{"id": f"{name}.md", "rank": n, "score": 1.0} for n, name in enumerate("abcd", 1)]
    call = {"stage": "llm", "model": "m", "input_tokens": 1000, "output_tokens": 10}
    each = result("q", retrieved=nodes, gold={"a.md": {"grade": 1}}, answer="x", calls=[call])
    (found,) = find(run_of(each))
    context = finding(found, "context")
    assert context.estimated
    assert context.saves.tokens == pytest.approx(1000 * 0.9 * 3 / 4)
    assert any("by gold alone" in note for note in found.notes)
    assert any("costs is unknown" in note for note in found.notes)


def test_a_top_k_that_loses_no_gold_is_told():
    """Gold is found at the second place at the latest, of four."""
    nodes = [
        {"id": f"{name}.md", "rank": n, "tokens": 100, "used": 50 if n < 3 else 0}
        for n, name in enumerate("abcd", 1)
    ]
    call = {"stage": "llm", "model": "m", "input_tokens": 500, "output_tokens": 10}
    runs = [
        result(f"q{n}", retrieved=nodes, gold={gold: {"grade": 1}}, answer="x", calls=[call])
        for n, gold in enumerate(["a.md", "b.md#x", "a.md", "[b].md", "a.md"])
    ]
    (found,) = find(run_of(*runs))
    depth = finding(found, "top_k")
    assert depth.knob == "top_k 2 instead of 4"
    assert depth.saves.tokens == 200
    assert depth.overlaps == "context"
    assert finding(found, "context").saves.tokens == 300
    assert finding(found, "context").weight > depth.weight


def test_errors_and_what_was_not_run_are_told_apart():
    """A run that broke takes time and is in no stage; one that was not run is nothing."""
    broke = result("b", latency=500.0, outcome="error", cost_usd=0.01)
    absent = result("c", outcome="not_run", latency_ms=None, self_ms={})
    (found,) = find(run_of(result("a"), broke, absent, complete=False))
    assert (found.runs, found.timed) == (3, 1)
    assert found.stages[0].mean == 100
    lost = finding(found, "errors")
    assert lost.saves.ms == 250
    assert lost.saves.usd == 0.005
    told = " ".join(found.notes)
    assert "1 of 3 runs broke" in told
    assert "1 of 3 runs were not run" in told
    assert "no complete run" in told


def test_replayed_calls_are_told():
    """Times out of a cassette or a cache are named as such."""
    calls = [{"stage": "llm", "origin": origin} for origin in ("cassette", "cache", "live")]
    (found,) = find(run_of(result("a", calls=calls)))
    assert any("1 from a cache and 1 from a cassette" in note for note in found.notes)


def test_slow_runs_are_no_typical_time():
    """A slow tail is a finding of its own with the stage that grew; a cold start saves nothing."""
    usual = [result(f"q{n}") for n in range(20)]
    slow = result("slow", latency=2100.0)
    (found,) = find(run_of(*usual, slow))
    tail = finding(found, "slow_runs")
    assert tail.stage == "llm"
    assert tail.saves.ms == pytest.approx(2000 / 21)
    assert tail.cases == ("slow",)
    assert finding(found, "model").size_ms == 70
    (found,) = find(run_of(slow, *usual))
    cold = finding(found, "slow_runs")
    assert cold.saves.ms is None
    assert "first" in cold.what


def test_a_pipeline_that_is_no_llamaindex_object():
    """All of its time lies outside the stages, and the report says what that means."""
    (found,) = find(run_of(result("a", self_ms={})))
    assert found.findings[0].kind == "outside"
    assert found.findings[0].size_ms == 100
    assert any("knows no stages" in note for note in found.notes)


def test_the_client_and_the_queue():
    """Processor time of the client is no waiting; the queue is told last, for nobody feels it."""
    busy = result("a", cpu_ms={"llm": 40.0, "retrieve": 1.0}, wait_ms=9000.0)
    (found,) = find(run_of(busy))
    assert finding(found, "client").size_ms == 40
    assert finding(found, "model").size_ms == 30
    assert found.findings[-1].kind == "queue"


def test_repeats_and_near_repeats():
    """Case and punctuation make no other question, nor do a few words of many."""
    asked = {
        "a": "How many days of leave carry over to the next year?",
        "b": "how many days of leave carry over to the next year",
        "c": "How many leave days carry over to next year, please?",
        "d": "What does parking cost?",
    }
    assert repeats(asked) == (["b"], ["c"])
    runs = [result(name, query=query, cost_usd=0.01) for name, query in asked.items()]
    again = result("a", query=asked["a"], repeat=1)
    (found,) = find(run_of(*runs, again))
    cache = finding(found, "repeats")
    assert cache.saves.ms == 50
    assert cache.saves.usd == pytest.approx(0.005)


def test_the_sentences_that_an_answer_draws_on():
    """The fewest that hold its words count; others hold none that is new."""
    texts = [
        "Parking is free. Five days of leave carry over. The rest lapses in March.",
        "Leave is granted by the head of the team.",
    ]
    assert used_tokens("Five days carry over; the rest lapses.", texts) == [15, 0]
    assert used_tokens("", texts) == [0, 0]
    assert used_tokens("Bananas.", ["", *texts]) == [0, 0, 0]


def test_what_cannot_be_used(project):
    """A missing file, another file and a record of nothing are each told in a sentence."""
    assert project("bottleneck", "none.jsonl").exit_code == 2
    project.write("other.jsonl", "[]\n")
    assert project("bottleneck", "other.jsonl").exit_code == 2
    assert project("bottleneck", "other.jsonl", "--json", "--md").exit_code == 2
    absent = result("c", outcome="not_run", latency_ms=None, self_ms={})
    head = {**records.header({}, project.path), "evalsets": {"hr": {}}}
    project.write("run.jsonl", records.text_of(head, [absent], records.footer([], complete=True)))
    done = project("bottleneck", "run.jsonl")
    assert done.exit_code == 3
    assert "nothing can be said of time" in done.stdout
