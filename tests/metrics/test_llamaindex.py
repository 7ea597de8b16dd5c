"""LlamaIndex's evaluators, asked over a real HTTP server and by models of other kinds."""

from __future__ import annotations

import asyncio
import json
import re
import sys

import pytest
from judges import APP, CONFIG, JudgeServer, case, judged, seen, trusted
from llama_parts import BlockingLLM, ChatLLM

from pytest_rag import ConfigError, metrics
from pytest_rag.config import JudgeSettings

GUIDELINE = (metrics.get("llamaindex.guideline"), "It names a number.")


@pytest.fixture
def judge():
    """A judge over HTTP."""
    server = JudgeServer()
    yield server
    server.close()


def rule(prompt):
    """Answer as each of LlamaIndex's prompts wants it."""
    if '"passing"' in prompt:
        return {"passing": True, "feedback": "Five is one."}
    if "reference answer" in prompt.lower():
        return "4.5\nNearly the same."
    return "YES"


def test_each_evaluator_gives_its_score(judge):
    """On LlamaIndex's own scales, with the feedback as the reason."""
    judge.rule = rule
    names = [f"llamaindex.{n}" for n in ("faithfulness", "relevancy", "correctness")]
    found = judged(judge.settings(), [*names, GUIDELINE])
    values = {name.partition(".")[2]: score.value for name, score in found.scores.items()}
    assert values == {"faithfulness": 1.0, "relevancy": 1.0, "correctness": 4.5, "guideline": 1.0}
    assert found.scores["llamaindex.correctness"].reason == "Nearly the same."
    assert found.scores["llamaindex.guideline"].version.endswith(" judge-1")
    assert {call.stage for call in found.calls} == {"judge"}
    assert found.cost_usd == pytest.approx(4 * 120e-6)


def test_similarity_needs_no_judge():
    """The embedded model is enough."""
    of, same = case(answers=("Five days.",)), seen("Five days.")
    found = judged(JudgeSettings(), ["llamaindex.semantic_similarity"], of, same)
    assert found.scores["llamaindex.semantic_similarity"].value == pytest.approx(1.0, abs=1e-5)
    assert next((call.stage, call.model) for call in found.calls) == ("judge", "wordllama")
    assert found.cost_usd == 0.0


@pytest.mark.parametrize(
    ("name", "said", "reason"),
    [
        ("faithfulness", "I cannot tell.", "its answer is neither yes nor no: 'I cannot tell.'"),
        ("relevancy", "Yesterday was nice.", "its answer is neither yes nor no: 'Yesterday"),
        ("correctness", "Rather good.", "its answer holds no score: 'Rather good.'"),
        ("correctness", "9.0\nWonderful", "its score 9 is not in 1 … 5"),
        ("faithfulness", 429, "RateLimitError: Error code: 429"),
    ],
)
def test_an_answer_that_is_no_verdict_is_no_0(judge, name, said, reason):
    """LlamaIndex itself would call it unfaithful."""
    judge.rule = said
    score = judged(judge.settings(), [f"llamaindex.{name}"]).scores[f"llamaindex.{name}"]
    assert score.value is None
    assert score.reason.startswith("the judge failed: ")
    assert reason in score.reason


def test_a_guideline_that_is_not_followed_fails(judge):
    """And malformed JSON is an error."""
    judge.rule = {"passing": False, "feedback": "No number."}
    score = judged(judge.settings(), [GUIDELINE]).scores["llamaindex.guideline"]
    assert (score.value, score.reason) == (0.0, "No number.")
    judge.rule = "It does not pass."
    score = judged(judge.settings(), [GUIDELINE]).scores["llamaindex.guideline"]
    assert score.value is None
    assert "JudgeError: its answer is not what it was asked for: " in score.reason


def test_a_silent_judge_is_given_up_and_the_other_scores_stand(judge):
    """Each evaluator has its own time."""
    judge.rule = lambda prompt: 60.0 if "piece of information" in prompt else "YES"
    names = ["llamaindex.faithfulness", "llamaindex.relevancy"]
    found = judged(judge.settings(timeout_s=3), names)
    silent, answered = (found.scores[name] for name in names)
    assert silent.value is None
    assert silent.reason == "the judge gave no score within its timeout_s: 3"
    assert answered.value == 1.0


@pytest.mark.parametrize(
    ("name", "of", "observation", "reason"),
    [
        ("faithfulness", case(), seen(None), "the pipeline gives no answer"),
        ("faithfulness", case(), seen(" "), "the answer is empty"),
        ("relevancy", case(), seen(retrieved=None), "the pipeline does not tell what it retrieved"),
        ("relevancy", case(), seen(retrieved=()), "nothing was retrieved"),
        ("correctness", case(answers=()), seen(), "the case has no `answer`"),
    ],
)
def test_what_is_missing_is_said_and_nobody_asked(judge, name, of, observation, reason):
    """A judge is paid only for what can be judged."""
    found = judged(judge.settings(), [f"llamaindex.{name}"], of, observation)
    assert found.scores[f"llamaindex.{name}"].reason == reason
    assert judge.prompts == []


def test_an_unknown_evaluator_names_the_nearest():
    """As every metric does."""
    with pytest.raises(ConfigError, match=r"'llamaindex.faithfulnes'\. Did you mean 'llamaindex.f"):
        metrics.get("llamaindex.faithfulnes")


class _Module:
    """What an import path of a judge may lead to."""

    chat = ChatLLM(rule="YES")
    not_a_model = 7

    @staticmethod
    def blocking():
        return BlockingLLM(answer="YES", wait_s=0.01)

    @staticmethod
    def broken():
        raise OSError("no such file")


@pytest.fixture
def module(monkeypatch):
    """An importable module with judges."""
    monkeypatch.setitem(sys.modules, "my_judges", _Module)


@pytest.mark.parametrize("name", ["chat", "blocking"])
def test_a_judge_may_be_any_llama_index_model(module, name):
    """One that awaits or one that blocks, made or to be made; its tokens are counted."""
    names = ["llamaindex.faithfulness", "llamaindex.relevancy"]
    found = judged(JudgeSettings(model=f"my_judges:{name}"), names)
    assert [score.value for score in found.scores.values()] == [1.0, 1.0]
    assert all(call.input_tokens for call in found.calls)
    assert {call.model for call in found.calls} == {"scripted-1"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("not_a_model", "my_judges:not_a_model gives int, which is no LlamaIndex BaseLLM"),
        ("broken", "OSError: no such file"),
        ("nothing", "my_judges has no 'nothing'"),
    ],
)
def test_a_judge_that_cannot_be_made_is_the_scores_reason(module, name, reason):
    """The pipeline's own scores stand."""
    found = judged(JudgeSettings(model=f"my_judges:{name}"), ["llamaindex.faithfulness"])
    assert reason in found.scores["llamaindex.faithfulness"].reason


def test_judges_are_asked_at_the_same_time(judge):
    """Three metrics of a case and all cases of a slot, not one after the other."""
    together, most = 0, 0

    async def slow(prompt):
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0.2)
        together -= 1
        return "YES"

    class Slow(JudgeServer):
        async def _chat(self, request):
            self.rule = await slow("")
            return await super()._chat(request)

    server = Slow()
    try:
        judged(server.settings(), ["llamaindex.faithfulness", "llamaindex.relevancy"])
    finally:
        server.close()
    assert most == 2


UNWELL = {0: (429, "RateLimitError"), 1: ("Who knows?", "its answer ")}
"""By a case's number modulo ten, what faithfulness and correctness hear, and the reason then."""


def test_thirty_cases_with_three_metrics_lose_only_what_the_judge_lost(judge, run_rag, pytester):
    """Under a storm of 429 and of what is no verdict; usage and cost are exact."""

    def unwell(prompt):
        number = int(re.search(r"Answer to q(\d+)\.", prompt)[1])
        fine = "response for the query" in prompt or number % 10 not in UNWELL
        return rule(prompt) if fine else UNWELL[number % 10][0]

    judge.rule = unwell
    names = [f"llamaindex.{name}" for name in ("faithfulness", "relevancy", "correctness")]
    cases = "".join(f"  - {{id: q{n}, query: q{n}, answer: A.}}\n" for n in range(30))
    checks = ", ".join(f"{name}: 1" for name in names)
    evalset = f"pipeline: app:build\ndefaults:\n  checks: {{{checks}}}\ncases:\n{cases}"
    known = {name: (metrics.get(name).version, "judge-1") for name in names}
    files = {"app.py": APP, "pyproject.toml": CONFIG.format(url=judge.url), "a.rag.yaml": evalset}
    files["calibration/a.json"] = trusted("a", known)
    run_rag(files, "--rag-out=run.jsonl").assert_outcomes(passed=24, errors=6)
    lines = map(json.loads, (pytester.path / "run.jsonl").read_text().splitlines())
    for result in (line for line in lines if line["kind"] == "result"):
        scores = [result["scores"][name] for name in names]
        judges = [call for call in result["calls"] if call["stage"] == "judge"]
        tokens = sum(call["input_tokens"] for call in judges if call["input_tokens"])
        assert result["cost_usd"] == pytest.approx(15e-6)
        assert scores[1]["value"] == 1.0
        said, reason = UNWELL.get(int(result["case"][1:]) % 10, (None, ""))
        if said is None:
            assert [score["value"] for score in scores] == [1.0, 1.0, 4.5]
            assert (tokens, result["judge_cost_usd"]) == (300, pytest.approx(3 * 120e-6))
        else:
            assert result["outcome"] == "error"
            assert scores[0]["value"] is scores[2]["value"] is None
            assert reason in scores[0]["reason"]
            assert reason in scores[2]["reason"]
            assert tokens == (100 if said == 429 else 300)
