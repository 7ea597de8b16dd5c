"""Exact usage, broken bodies and dropped connections of aimock, a provider's mock from npm."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from machine import needed

from conftest import APP
from pytest_rag.costs.ledger import Ledger

USAGE = {
    "plain": {"prompt_tokens": 1_234_567, "completion_tokens": 89_012},
    "cached": {
        "prompt_tokens": 1_000_000,
        "completion_tokens": 10_000,
        "prompt_tokens_details": {"cached_tokens": 700_001},
    },
    "thought": {
        "prompt_tokens": 50_003,
        "completion_tokens": 200_007,
        "completion_tokens_details": {"reasoning_tokens": 180_000},
    },
}
# Dollars for a million tokens, so that every part of a price is another one.
PRICES = """
[tool.pytest-rag.prices]
gpt-4o-mini = {input = 0.15, cached_input = 0.075, output = 0.6, reasoning = 0.9}
"""
NANO = {
    "plain": 1_234_567 * 150 + 89_012 * 600,
    "cached": 299_999 * 150 + 700_001 * 75 + 10_000 * 600,
    "thought": 50_003 * 150 + 20_007 * 600 + 180_000 * 900,
}
CHAOS = {"malformed": {"malformedRate": 1}, "dropped": {"disconnectRate": 1}}


@pytest.fixture(scope="module")
def aimock(tmp_path_factory):
    """The server's address; it answers each question with the usage, or the fault, it is named."""
    how = "npm install --prefix FOLDER @copilotkit/aimock, and FOLDER/node_modules/.bin on the PATH"
    binary = needed("aimock", install=how)
    folder = tmp_path_factory.mktemp("aimock")
    told = [
        {"match": {"userMessage": name}, "response": {"content": "Five days.", "usage": usage}}
        for name, usage in USAGE.items()
    ]
    told += [
        {"match": {"userMessage": name}, "response": {"content": "Five."}, "chaos": chaos}
        for name, chaos in CHAOS.items()
    ]
    (folder / "told.json").write_text(json.dumps({"fixtures": told}), encoding="utf-8")
    config = {"llm": {"fixtures": str(folder / "told.json")}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    process = subprocess.Popen(
        [binary, "--config", str(folder / "config.json"), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    heard = []
    for line in process.stdout:
        heard.append(line)
        found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", line)
        if found:
            yield found[1]
            break
    else:
        pytest.fail(f"aimock did not start: {''.join(heard)}")
    process.terminate()
    process.wait(10)
    process.stdout.close()


@pytest.fixture
def ask(run_rag, pytester, aimock, monkeypatch):
    """Ask questions in a way, and return the results by question."""
    # Its OpenRouter face alone tells of cached and reasoning tokens.
    monkeypatch.setenv("SERVER", f"{aimock}/api/v1")
    monkeypatch.setattr("pytest_rag.replay.faults._FIRST_S", 0.01)

    def run(way, *queries, config=PRICES):
        (pytester.path / "pyproject.toml").write_text(config, encoding="utf-8")
        cases = "".join(f"  - {{id: {query}, query: {query}}}\n" for query in queries)
        pipeline = f"{{factory: app:{way}, params: {{model: gpt-4o-mini}}}}"
        files = {"app.py": APP, "a.rag.yaml": f"pipeline: {pipeline}\ncases:\n{cases}"}
        run_rag(files, "--rag-out=run.jsonl", "--rag-baseline=none")
        lines = (pytester.path / "run.jsonl").read_text(encoding="utf-8").splitlines()
        found = (line for line in map(json.loads, lines) if line["kind"] == "result")
        return {result["case"]: result for result in found}

    return run


@pytest.mark.parametrize("way", ["complete", "acomplete", "stream", "astream"])
def test_costs_are_exact(ask, pytester, way):
    """Each part of a prompt and an answer has its price, in the record and in the ledger."""
    found = ask(way, *USAGE)
    assert {case: round(result["cost_usd"] * 1e9) for case, result in found.items()} == NANO
    for case, result in found.items():
        (call,) = result["calls"]
        given, said = USAGE[case]["prompt_tokens"], USAGE[case]["completion_tokens"]
        assert (call["input_tokens"], call["output_tokens"]) == (given, said)
        assert call["estimated"] is False
    ledger = Ledger(pytester.path / ".pytest_rag" / "ledger.sqlite")
    rows = ledger.read("SELECT case_id, cost_nano FROM calls")
    ledger.close()
    assert dict(rows) == NANO


@pytest.mark.parametrize("way", ["complete", "acomplete"])
def test_what_breaks_is_an_error_of_unknown_cost(ask, way):
    """A body that is no JSON is not asked for again; a connection that is dropped is, twice."""
    found = ask(way, "malformed", "dropped", "plain")
    assert {case: result["outcome"] for case, result in found.items()} == {
        "malformed": "error",
        "dropped": "error",
        "plain": "passed",
    }
    assert "is no JSON" in found["malformed"]["error"]["message"]
    assert "Asked 3 times within" in found["dropped"]["error"]["message"]
    tried = {case: len(result["calls"]) for case, result in found.items()}
    assert tried == {"malformed": 1, "dropped": 3, "plain": 1}
    for case in ("malformed", "dropped"):
        assert {call["cost_usd"] for call in found[case]["calls"]} == {None}
