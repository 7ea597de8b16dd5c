"""Calls answered out of earlier runs, and results taken over from a record."""

from __future__ import annotations

import json
import os

import pytest
from test_replay_kinds import MODELS, steady

APP = """
    import os, pathlib, time
    from models import *
    from llama_index.core import PromptTemplate

    PROMPT = "{context_str} Question: {query_str} %s"

    def engine(words="Answer", top_k=1):
        prompt = PromptTemplate(PROMPT % words)
        made = index().as_query_engine(
            llm=llm(), similarity_top_k=top_k, text_qa_template=prompt
        )

        def ask(query):
            if query == "die" and not os.environ.get("IMMORTAL"):
                record = pathlib.Path("run.jsonl")
                while not record.exists() or '"kind":"result"' not in record.read_text():
                    time.sleep(0.01)
                os._exit(9)
            return made.query(query)

        return ask

    def together():
        model = embed_model()

        async def ask(query):
            return str(await model.aget_query_embedding(query))

        return ask

    def apart():
        model = embed_model()
        return lambda query: str(model.get_query_embedding(query))
"""
EVALSET = """
pipeline: {{factory: "app:engine", params: {params}}}
cases:
  - {{id: one, query: leave, checks: {{contains: Five, latency_ms: {budget}}}}}
  - {{id: two, query: {second}, repeat: 2}}
"""


def files(params: str = "{}", second: str = "parking", budget: int = 60_000) -> dict[str, str]:
    """Return a project with two cases, three runs."""
    evalset = EVALSET.format(params=params, second=second, budget=budget)
    return {"models.py": MODELS, "app.py": APP, "a.rag.yaml": evalset}


@pytest.fixture
def asked(played):
    """Run the project and return how many calls reached the server."""

    def run(given: dict[str, str], *args: str, outcomes: dict[str, int], **options) -> int:
        before = len(played.server.keys)
        done = played.run_rag(given, *args, **options)
        if outcomes:
            done.assert_outcomes(**outcomes)
        played.no_secret()
        return len(played.server.keys) - before

    return run


CACHED = ("--rag-cache=sqlite:cache.db", "--rag-out=run.jsonl")


def test_a_second_run_makes_no_call(played, asked):
    """Not for the index, not for a question; tokens, prices and latencies are the first run's."""
    slowly = (*CACHED, "--rag-concurrency=1")
    assert asked(files(), *slowly, outcomes={"passed": 2}) == 6
    first = played.results()
    assert asked({}, *CACHED, outcomes={"passed": 2}) == 0
    second = played.results()
    assert {call["origin"] for result in second for call in result["calls"]} == {"cache"}
    for result in first:
        for call in result["calls"]:
            call["origin"] = "cache"
    assert steady(second)[0]["calls"] == steady(first)[0]["calls"]
    assert [r["answer"] for r in second] == [r["answer"] for r in first]
    assert [r["cost_usd"] for r in second] == [r["cost_usd"] for r in first]


@pytest.mark.parametrize(
    ("kind", "factory"),
    [("memory", "together"), ("sqlite:cache.db", "together"), ("redis", "apart")],
)
def test_two_at_once_embed_a_text_once(played, asked, redis_url, kind, factory):
    """The second waits for the first, on a loop or in threads, and has its vector for nothing."""
    url = redis_url if kind == "redis" else kind
    played.server.wait_s = 0.1
    cases = "".join(f"  - {{id: c{n}, query: leave}}\n" for n in range(8))
    given = {"models.py": MODELS, "app.py": APP}
    given["a.rag.yaml"] = f"pipeline: app:{factory}\ncases:\n{cases}"
    options = (f"--rag-cache={url}", "--rag-out=run.jsonl", "--rag-baseline=none")
    assert asked(given, *options, outcomes={"passed": 8}) == 1
    (first,) = (r for r in played.results() if r["calls"][0]["origin"] == "live")
    for result in played.results():
        assert result["calls"][0]["cost_usd"] == first["calls"][0]["cost_usd"]
        assert result["calls"][0]["latency_ms"] >= 100
    if kind != "memory":
        assert asked({}, *options, outcomes={"passed": 8}) == 0
    assert asked(given, "--rag-cache=off", outcomes={"passed": 8}) == 8


def test_budgets_rest_on_recorded_figures(played, asked):
    """A hit is quick, and what it stands for took 300 ms."""
    played.server.wait_s = 0.3
    asked(files(), *CACHED, outcomes={"passed": 2})
    assert asked(files(budget=250), *CACHED, outcomes={"passed": 1, "failed": 1}) == 0
    assert all(result["latency_ms"] >= 300 for result in played.results())


def test_another_prompt_runs_only_synthesis_again(played, asked):
    """Vectors are there; three runs ask the model three questions."""
    asked(files(), *CACHED, outcomes={"passed": 2})
    again = asked(files("{words: Be brief}"), *CACHED, outcomes={"passed": 2})
    assert again == 3
    for result in played.results():
        origins = {call["stage"]: call["origin"] for call in result["calls"]}
        assert origins == {"embed": "cache", "llm": "live"}


def test_a_cache_is_configured_or_off(played, asked):
    """Without a word nothing is kept; ``off`` overrides the configuration."""
    assert asked(files(), outcomes={"passed": 2}) > 0
    assert not list(played.path.glob("**/*.db"))
    settings = {"pyproject.toml": '[tool.pytest-rag]\ncache = "sqlite:kept.db"\n'}
    asked(settings, outcomes={"passed": 2})
    assert asked({}, outcomes={"passed": 2}) == 0
    assert asked({}, "--rag-cache=off", outcomes={"passed": 2}) > 0


def test_an_unknown_cache_is_a_usage_error(played):
    """With the nearest that there is."""
    done = played.run_rag(files(), "--rag-cache=sqlight")
    done.stderr.fnmatch_lines(["*--rag-cache: Unknown cache 'sqlight'.*'sqlite'*"])


def test_a_killed_run_pays_only_for_what_is_missing(played, asked, monkeypatch):
    """Once by the cache, once by the record it left."""
    options = ("--rag-concurrency=1", "-p", "no:cacheprovider")
    asked(files(second="die"), *CACHED, *options, outcomes={}, apart=True)
    monkeypatch.setenv("IMMORTAL", "1")
    taken = ("--rag-resume=run.jsonl", "--rag-cache=off", "--rag-out=run.jsonl")
    # The index and one question twice: vectors of two documents, of the question, two answers.
    assert asked({}, *taken, outcomes={"passed": 2}) == 5
    results = {(r["case"], r["repeat"]) for r in played.results()}
    assert results == {("one", 0), ("two", 0), ("two", 1)}
    footer = json.loads((played.path / "run.jsonl").read_text().splitlines()[-1])
    assert footer["complete"] is True


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, 3),
        ({"second": "pension"}, 1),
        ({"params": "{top_k: 2}"}, 0),
        ({"budget": 50_000}, 2),
    ],
    ids=["nothing", "a question", "the pipeline", "a limit"],
)
def test_only_results_that_still_hold_are_taken_over(played, asked, change, taken):
    """Another question, pipeline or limit is another result."""
    asked(files(), "--rag-out=run.jsonl", outcomes={"passed": 2})
    done = played.run_rag(files(**change), "--rag-resume=run.jsonl")
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines([f"*resumed: {taken} result*"])


def test_a_record_to_resume_must_be_there(played):
    """A typing error is told before anything is paid for."""
    done = played.run_rag(files(), "--rag-resume=ran.jsonl")
    done.stderr.fnmatch_lines([f"*--rag-resume: There is no run record *{os.sep}ran.jsonl*"])
