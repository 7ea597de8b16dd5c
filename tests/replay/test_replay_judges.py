"""Judges' calls recorded, replayed and answered out of earlier runs, apart from the pipeline's."""

from __future__ import annotations

import json

import pytest
from test_replay_kinds import MODELS, steady

JUDGE = """
    from models import *

    def judge():
        return llm()

    def pipeline():
        return lambda query: "Five days."
"""
PYPROJECT = """
[tool.pytest-rag.judge]
model = "judged:judge"
"""
EVALSET = """
pipeline: judged:pipeline
cases:
  - id: polite
    query: How many days?
    repeat: 2
    checks: {politeness: {rubric: {question: "Is it polite?"}, min: 0.5}}
"""
FILES = {
    "models.py": MODELS,
    "judged.py": JUDGE,
    "a.rag.yaml": EVALSET,
    "pyproject.toml": PYPROJECT,
}


@pytest.fixture
def verdict(server, monkeypatch):
    """Let the server say what a judge says."""

    async def chat(request):
        from aiohttp import web

        asked = await server._asked(request)
        said = json.dumps({"reason": "It is.", "score": 1})
        message = {"role": "assistant", "content": said}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        whole = {"id": "1", "created": 1, "model": asked["model"], "usage": usage}
        return web.json_response({**whole, "object": "chat.completion", "choices": [choice]})

    server.answers = chat
    yield server
    server.answers = None


def test_a_judge_is_replayed(played, verdict):
    """With neither key nor server; the calls stay in the stage ``judge``, and the scores are."""
    played.record(FILES, "--rag-out=run.jsonl").assert_outcomes(passed=1)
    assert played.calls == 2
    recorded = played.results()
    lines = played.lines("a")
    assert [line["request"]["stage"] for line in lines] == ["judge: politeness"] * 2
    played.replay(None, "--rag-out=again.jsonl").assert_outcomes(passed=1)
    again = played.results("again.jsonl")
    (call,) = again[0]["calls"]
    assert (call["stage"], call["origin"]) == ("judge", "cassette")
    for result in recorded:
        for each in result["calls"]:
            each["origin"] = "cassette"
    assert steady(again) == steady(recorded)
    assert again[0]["judge_cost_usd"] == recorded[0]["judge_cost_usd"] > 0


def test_a_judge_that_was_not_recorded_gives_no_score(played, verdict):
    """The case is an error that says what to type, where the judge may decide."""
    played.record(FILES, "--rag-out=run.jsonl").assert_outcomes(passed=1)
    judge = played.results()[0]["scores"]["politeness"]["judge"]
    known = {"judge": judge, "use": "gate", "version": "any", "why": "a test"}
    whole = {"schema_version": 1, "evalset": "a", "metrics": {"politeness": known}}
    asked = EVALSET.replace("Is it polite?", "Is it short?")
    done = played.replay({"a.rag.yaml": asked, "calibration/a.json": json.dumps(whole)})
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*no recorded answer to this*"])


def test_a_judge_is_cached(played, verdict):
    """A second run asks nobody, and each repeat had a judgement of its own."""
    options = ("--rag-cache=sqlite:cache.db", "--rag-out=run.jsonl")
    before = len(verdict.keys)
    played.run_rag(FILES, *options).assert_outcomes(passed=1)
    assert len(verdict.keys) == before + 2
    first = played.results()
    played.run_rag({}, *options).assert_outcomes(passed=1)
    assert len(verdict.keys) == before + 2
    second = played.results()
    for result in first:
        for call in result["calls"]:
            call["origin"] = "cache"
    assert steady(second) == steady(first)
