"""LlamaIndex's own OpenAI client against a server on loopback: tokens, cost, failures, one loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai_server import Server

KEY = "sk-proj-abcdefghijklmnopqrstuvwx0123456789"
APP = """
    import os
    from llama_index.core import Document, VectorStoreIndex
    from llama_index.embeddings.openai import OpenAIEmbedding
    from llama_index.llms.openai import OpenAI

    def build(model="gpt-4o-mini", streaming=False, **options):
        where = {"api_base": os.environ["SERVER"], "api_key": os.environ["SECRET"]}
        documents = [Document(id_=f"{w}.md", text=f"About {w}.") for w in ("leave", "parking")]
        index = VectorStoreIndex.from_documents(
            documents, embed_model=OpenAIEmbedding(model="text-embedding-3-small", **where)
        )
        llm = OpenAI(model=model, max_retries=0, reuse_client=True, **where, **options)
        return index.as_query_engine(llm=llm, similarity_top_k=1, streaming=streaming)
"""


@pytest.fixture(scope="module")
def server() -> Any:
    """One server for all tests here."""
    made = Server()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the pipelines find the server, and a key that must never be written."""
    monkeypatch.setenv("SERVER", server.url)
    monkeypatch.setenv("SECRET", KEY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def results(pytester: pytest.Pytester) -> list[dict]:
    """Return the results of the run record; the key is nowhere below the folder."""
    for path in pytester.path.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    lines = Path(pytester.path / "run.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == "result"]


def evalset(*cases: str, params: str = "{}") -> str:
    """Return an evalset over the pipeline above."""
    lines = "".join(f"  - {case}\n" for case in cases)
    return f"pipeline: {{factory: 'app:build', params: {params}}}\ncases:\n{lines}"


def test_tokens_become_dollars(run_rag, pytester, server):
    """600 fresh tokens at 0.15, 400 cached at 0.075 and 200 out at 0.60 a million; 4 embedded."""
    asked = len(server.keys)
    case = "{id: a, query: 'leave days?', relevant: [leave.md], checks: {R@5: 1, tokens: 1200}}"
    run_rag(
        {"app.py": APP, "a.rag.yaml": evalset(case)}, "--rag-out=run.jsonl", apart=True
    ).assert_outcomes(passed=1)
    (result,) = results(pytester)
    embedded, spoken = result["calls"]
    assert (spoken["model"], spoken["input_tokens"]) == ("gpt-4o-mini", 1000)
    assert (spoken["cached_input_tokens"], spoken["output_tokens"]) == (400, 200)
    assert spoken["cost_usd"] == pytest.approx(90e-6 + 30e-6 + 120e-6)
    assert (embedded["model"], embedded["input_tokens"]) == ("text-embedding-3-small", 3)
    assert embedded["cost_usd"] == pytest.approx(3 * 0.02e-6)
    assert result["cost_usd"] == pytest.approx(240.06e-6)
    assert (result["input_tokens"], result["output_tokens"]) == (1000, 200)
    assert result["answer"] == "Five days."
    assert set(server.keys[asked:]) == {f"Bearer {KEY}"}


def test_a_stream_costs_what_its_last_chunk_tells(run_rag, pytester):
    """Without ``include_usage`` OpenAI tells nothing: its own tokenizer counts, and it is said."""
    options = "{additional_kwargs: {stream_options: {include_usage: true}}, streaming: true}"
    files = {
        "app.py": APP,
        "a.rag.yaml": evalset("{id: told, query: q}", params=options),
        "b.rag.yaml": evalset("{id: silent, query: q}", params="{streaming: true}"),
    }
    result = run_rag(files, "--rag-out=run.jsonl", apart=True)
    result.assert_outcomes(passed=2)
    told, silent = results(pytester)
    assert told["answer"] == silent["answer"] == "Five days."
    assert (told["output_tokens"], silent["output_tokens"]) == (200, 3)
    assert [call["estimated"] for call in told["calls"]] == [True, False]  # the embedding's is
    assert [call["estimated"] for call in silent["calls"]] == [True, True]
    assert silent["cost_usd"] == pytest.approx(silent["input_tokens"] * 0.15e-6 + 3 * 0.6e-6, 0.01)
    result.stdout.fnmatch_lines(["*tokens 1,000 in, 200 out", "*(estimated)*3 out (estimated)"])


def test_what_the_provider_refuses_is_an_error(run_rag, pytester):
    """The case is an error in the provider's words; what was paid for before it is kept."""
    refused = {
        "fail-401": ("AuthenticationError", "Incorrect API key provided"),
        "fail-429": ("RateLimitError", "Rate limit reached for requests"),
        "fail-500": ("InternalServerError", "The server had an error"),
    }
    cases = (f"{{id: {word}, query: {word}}}" for word in refused)
    files = {"app.py": APP, "a.rag.yaml": evalset(*cases, "{id: good, query: fine}")}
    result = run_rag(files, "--rag-out=run.jsonl", apart=True)
    result.assert_outcomes(passed=1, errors=3)
    found = {r["case"]: r for r in results(pytester)}
    for word, (kind, message) in refused.items():
        assert (found[word]["outcome"], found[word]["error"]["type"]) == ("error", kind)
        assert message in found[word]["error"]["message"]
        result.stdout.fnmatch_lines([f"*{message}*"])
        told = [(call["stage"], call["input_tokens"] is None) for call in found[word]["calls"]]
        assert told == [("embed", False)]  # a refusal costs nothing
        assert found[word]["cost_usd"] is not None


def test_one_client_serves_the_whole_session(run_rag, pytester):
    """Two evalsets and Python tests share a client bound to a loop, which is never closed."""
    files = {
        "app.py": APP.replace(
            "def build", "import functools\n\n    @functools.cache\n    def build"
        ),
        "a.rag.yaml": evalset(*(f"{{id: a{n}, query: q{n}}}" for n in range(10))),
        "b.rag.yaml": evalset(*(f"{{id: b{n}, query: q{n}}}" for n in range(10))),
        "conftest.py": """
            import pytest, app

            @pytest.fixture(scope="session")
            def rag_pipeline():
                return app.build()
        """,
        "test_it.py": """
            def test_one(rag):
                assert rag.ask("one").answer == "Five days."

            def test_two(rag):
                assert rag.ask("two").answer == "Five days."
        """,
    }
    result = run_rag(files, "--rag-out=run.jsonl", apart=True)
    result.assert_outcomes(passed=22)
    result.stdout.no_fnmatch_line("*Event loop is closed*")
    assert all(len(r["calls"]) == 2 for r in results(pytester))


NO_KEY = """
    from llama_index.core import Document, VectorStoreIndex
    from llama_index.core.chat_engine import SimpleChatEngine
    from llama_index.llms.openai import OpenAI

    def model():
        return SimpleChatEngine.from_defaults(llm=OpenAI(model="gpt-4o-mini"))

    def default_embedding():
        return VectorStoreIndex.from_documents([Document(text="x")]).as_query_engine()

    def later():
        return lambda query: OpenAI(model="gpt-4o-mini").complete(query)
"""


def test_without_a_key_nothing_is_run(run_rag, pytester):
    """LlamaIndex's own complaint is understood: the cases are not run, and nothing is green."""
    names = ("model", "default_embedding", "later")
    files = {"app.py": NO_KEY}
    for name in names:
        files[f"{name}.rag.yaml"] = f"pipeline: app:{name}\ncases: [{{id: a, query: q}}]\n"
    result = run_rag(files, "--rag-out=run.jsonl", apart=True)
    result.assert_outcomes(skipped=3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    for found in results(pytester):
        assert found["outcome"] == "not_run"
        assert "OPENAI_API_KEY" in found["error"]["message"]
