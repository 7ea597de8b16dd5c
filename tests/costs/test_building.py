"""The cost of an index that a factory builds: recorded, replayed, priced, under the ceiling."""

from __future__ import annotations

import gc
import json
import warnings

import llama_index.embeddings.openai
import pytest
from openai_server import Server

from pytest_rag import records
from pytest_rag.costs.ledger import Ledger
from pytest_rag.report.dashboard.history import RunView
from pytest_rag.report.dashboard.spend import spend

__all__ = ["llama_index"]

# LlamaIndex never closes the clients that it makes, so their sockets are left to Python.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
APP = """
    import os
    from llama_index.core import Document, MockEmbedding, VectorStoreIndex
    from llama_index.embeddings.openai import OpenAIEmbedding

    def embed_model():
        given = {"embed_batch_size": 2, "max_retries": 0}
        model, server = "text-embedding-3-small", os.environ["SERVER"]
        return OpenAIEmbedding(model=model, api_base=server, **given)

    def build(documents=5, unpriced=False, **how):
        documents = [Document(id_=f"{n}.md", text=f"Leave {n}") for n in range(documents)]
        model = MockEmbedding(embed_dim=2, model_name="acme") if unpriced else embed_model()
        index = VectorStoreIndex.from_documents(documents, embed_model=model, **how)
        return index.as_retriever()

    async def abuild(**how):
        return build(**how)

    def broken():
        build()
        raise RuntimeError("after it was paid for")
"""
CASES = "cases:\n  - {id: a, query: How much leave}\n  - {id: b, query: Whose leave}\n"
TOKENS = 15
"""Of five documents, three each."""


@pytest.fixture
def server(monkeypatch):
    """The server, its address and a key in the environment."""
    made = Server()
    monkeypatch.setenv("SERVER", made.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-abcdefghijklmnopqrstuvwx0123456789")
    yield made
    made.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def files(factory: str = "build", **params: object) -> dict[str, str]:
    """Return a project whose factory builds an index."""
    pipeline = f"{{factory: 'app:{factory}', params: {json.dumps(params)}}}"
    return {"app.py": APP, "a.rag.yaml": f"pipeline: {pipeline}\n{CASES}"}


def tokens(run: records.Run) -> list[int]:
    """Return what was embedded in each building of a run."""
    return [sum(call["input_tokens"] for call in each.calls) for each in run.buildings]


def nanos(path) -> int:
    """Return the sum of a project's ledger in nano-dollars."""
    ledger = Ledger(path / ".pytest_rag" / "ledger.sqlite")
    ((total,),) = ledger.read("SELECT SUM(cost_nano) FROM calls")
    ledger.close()
    return total


def recorded(run: records.Run) -> int:
    """Return the sum of a record in nano-dollars."""
    calls = [call for each in (*run.buildings, *run.results) for call in each.calls]
    return sum(round(call["cost_usd"] * 1e9) for call in calls if call["origin"] == "live")


@pytest.mark.parametrize("factory", ["build", "abuild", "broken"])
def test_what_is_paid_for_an_index_is_in_record_and_ledger(run_rag, pytester, server, factory):
    """To the nano-dollar, also where the factory breaks afterwards; a rebuild changes nothing."""
    reports = [f"--rag-report={kind}:report.{kind}" for kind in ("md", "json")]
    done = run_rag(files(factory), "--rag-out=run.jsonl", "--rag-baseline=none", *reports)
    run = records.read(pytester.path / "run.jsonl")
    assert tokens(run) == [TOKENS]
    assert all(call["estimated"] for each in run.buildings for call in each.calls)
    assert nanos(pytester.path) == recorded(run) > TOKENS * 20 - 1  # $0.02 a million
    done.stdout.fnmatch_lines(["building the pipelines: 3 calls: $0.00000030"])
    shown, document = (
        (pytester.path / f"report.{kind}").read_text(encoding="utf-8") for kind in ("md", "json")
    )
    assert "\nBuilding the pipelines: 3 calls: $0.00000030\n" in shown
    (built,) = json.loads(document)["buildings"]
    assert (built["evalset"], built["calls"]) == ("a", 3)
    assert built["cost_usd"] == pytest.approx(TOKENS * 20e-9)
    spent = spend([RunView.of(run)])
    assert spent.total == pytest.approx(recorded(run) / 1e9)
    assert (spent.unknown, spent.unknown_built) == (0 if factory != "broken" else 2, 0)
    ledger = Ledger(pytester.path / ".pytest_rag" / "ledger.sqlite")
    before = nanos(pytester.path)
    ledger.rebuild(run)
    ledger.close()
    assert nanos(pytester.path) == before


@pytest.mark.parametrize("how", [{}, {"use_async": True}], ids=["blocking", "async"])
def test_it_is_replayed_without_a_key(run_rag, pytester, server, monkeypatch, how):
    """What it cost then is in the record, as is what a case cost; the ledger has it once."""
    run_rag(files(**how), "--rag-mode=record", "--rag-out=run.jsonl", "--rag-baseline=none")
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("SERVER", "http://127.0.0.1:9/v1")
    paid = nanos(pytester.path)
    done = run_rag({}, "--rag-mode=replay", "--rag-out=again.jsonl", "--rag-baseline=none")
    done.assert_outcomes(passed=2)
    first, again = (records.read(pytester.path / f"{name}.jsonl") for name in ("run", "again"))
    assert tokens(first) == tokens(again) == [TOKENS]
    (was,), (is_now,) = first.buildings, again.buildings
    assert {call["origin"] for call in is_now.calls} == {"cassette"}
    assert [c["cost_usd"] for c in was.calls] == [c["cost_usd"] for c in is_now.calls]
    assert nanos(pytester.path) == paid == recorded(first)


def test_clients_that_building_used_serve_the_cases(run_rag, pytester, server):
    """Where LlamaIndex builds asynchronously: of a factory, and of the fixture."""
    run_rag(files(use_async=True), "--rag-baseline=none").assert_outcomes(passed=2)
    fixture = """
        import pytest
        from app import build

        @pytest.fixture(scope="session")
        def rag_pipeline():
            return build(use_async=True)
    """
    test = "def test_it(rag):\n    assert rag.ask('How much leave?').retrieved\n"
    more = {"conftest.py": fixture, "test_a.py": test, "a.rag.yaml": CASES}
    run_rag(more, "--rag-baseline=none").assert_outcomes(passed=3)


def test_a_client_of_another_loop_is_told(run_rag, pytester, server):
    """An asynchronous factory that blocks the loop has LlamaIndex make another: what to do."""
    done = run_rag(files("abuild", use_async=True), "--rag-baseline=none")
    assert done.parseoutcomes()["errors"] > 0
    done.stdout.fnmatch_lines(["*was first used on an event loop that is not the cases'*"])


def test_a_ceiling_stops_it(run_rag, pytester, server):
    """No batch is sent that could pass it, and the cases say so."""
    done = run_rag(files(documents=40), "--rag-max-cost=0.0000005", "--rag-out=run.jsonl")
    done.assert_outcomes(skipped=2)
    run = records.read(pytester.path / "run.jsonl")
    assert {result.outcome for result in run.results} == {"not_run"}
    assert 0 < recorded(run) <= 500
    done.stdout.fnmatch_lines(["ceiling: $0.000000* of $0.00000050 spent; *"])


def test_a_price_that_is_not_known_is_told(run_rag, pytester, server):
    """It is counted, and no sum holds it."""
    done = run_rag(files(unpriced=True), "--rag-baseline=none")
    done.stdout.fnmatch_lines(["building the pipelines: 1 call of unknown cost"])


@pytest.mark.slow
def test_every_worker_builds_its_own(run_rag, pytester, server):
    """Each was paid for, and the sum is the ledger's."""
    run_rag(files(), "-n2", "--rag-out=run.jsonl", "--rag-baseline=none", apart=True)
    run = records.read(pytester.path / "run.jsonl")
    assert tokens(run) == [TOKENS] * 2
    assert nanos(pytester.path) == recorded(run)
