"""ragas' own metrics, as installed, with a judge on loopback that is at times unwell."""

from __future__ import annotations

import json
import os

import pytest
from judges import APP, CONFIG, JudgeServer, case, judged, seen, trusted

from pytest_rag import ConfigError, metrics
from pytest_rag.config import JudgeSettings
from pytest_rag.errors import MissingExtraError
from pytest_rag.metrics import ragas

ragas.load()  # once, for what a run inside this process would forget


FREE = [
    "ragas.rouge_score",
    "ragas.bleu_score",
    "ragas.chrf_score",
    "ragas.exact_match",
    "ragas.string_presence",
    "ragas.non_llm_string_similarity",
    "ragas.quoted_spans_alignment",
    "ragas.legacy.rouge_score",
    "ragas.legacy.non_llm_string_similarity",
]


@pytest.fixture
def judge():
    """A judge that knows what ragas asks for."""
    server = JudgeServer(rule)
    yield server
    server.close()


def rule(prompt):
    """Answer as the JSON Schema in ragas' prompt wants it: one statement, and it holds."""
    if '"classifications"' in prompt:
        return {"classifications": [{"statement": "s", "reason": "r", "attributed": 1}]}
    if '"verdict"' in prompt:
        return {"statements": [{"statement": "s", "reason": "r", "verdict": 1}]}
    if '"noncommittal"' in prompt:
        return {"question": "How many days carry over?", "noncommittal": 0}
    return {"statements": ["Five days carry over."]}


def test_metrics_without_a_model_need_no_key():
    """Of the current interface and of the older one; nothing is called."""
    text = "Up to five days of leave carry over."
    found = judged(JudgeSettings(), FREE, case(answers=(text,)), seen(text))
    assert found.calls == ()
    values = {name: score.value for name, score in found.scores.items()}
    perfect = {name: value for name, value in values.items() if "spans" not in name}
    assert perfect == pytest.approx(dict.fromkeys(perfect, 1.0), abs=0.01)
    assert found.scores["ragas.rouge_score"].version.startswith("ragas 0.")


def test_the_best_reference_counts_where_that_is_free():
    """As with every metric of our own."""
    of = case(answers=("Something else.", "Five days carry over."))
    found = judged(JudgeSettings(), ["ragas.rouge_score"], of)
    assert found.scores["ragas.rouge_score"].value == pytest.approx(1.0)


def test_ids_are_compared_without_a_model():
    """The older interface's metrics of ids get documents and gold."""
    of = case(relevant={"0.md": 1, "9.md": 1, "1.md": 0})
    names = ["ragas.id_based_context_recall", "ragas.id_based_context_precision"]
    found = judged(JudgeSettings(), names, of, seen("x", "one", "two"))
    assert [score.value for score in found.scores.values()] == [0.5, 0.5]


@pytest.mark.parametrize("api", ["", "legacy."])
def test_judged_metrics_ask_the_configured_judge(judge, api):
    """Through LlamaIndex, counted and priced; the version holds library and model."""
    names = [f"ragas.{api}{n}" for n in ("faithfulness", "context_recall", "answer_relevancy")]
    found = judged(judge.settings(), names)
    values = [score.value for score in found.scores.values()]
    assert values == pytest.approx([1.0, 1.0, 1.0], abs=1e-5)
    assert {call.stage for call in found.calls} == {"judge"}
    asked = [call for call in found.calls if call.model == "judge-1"]
    assert len(asked) == len(judge.prompts) == 6
    assert found.cost_usd == pytest.approx(6 * 120e-6)
    assert found.scores[names[0]].version == f"{metrics.get(names[0]).version} judge-1"
    assert {call.model for call in found.calls} == {"judge-1", "wordllama"}


def test_similarity_embeds_with_the_configured_model():
    """Ragas embeds without awaiting; the event loop goes on meanwhile."""
    of, same = case(answers=("Five days.",)), seen("Five days.")
    names = ["ragas.semantic_similarity", "ragas.legacy.semantic_similarity"]
    found = judged(JudgeSettings(), names, of, same)
    assert [s.value for s in found.scores.values()] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert (found.calls[0].stage, found.calls[0].model, found.cost_usd) == ("judge", "wordllama", 0)


@pytest.mark.parametrize(
    ("said", "name", "reason"),
    [
        ("I think so.", "faithfulness", "the judge failed: JudgeError: its answer is not the JSON"),
        ("I think so.", "legacy.faithfulness", "the judge failed: RagasOutputParserException"),
        ({"statements": []}, "faithfulness", "ragas gave no number: it found nothing to judge, or"),
        ({"score": "?"}, "response_groundedness", "ragas gave no number: JudgeError: its answer"),
        (429, "faithfulness", "the judge failed: RateLimitError: Error code: 429"),
        (429, "legacy.context_recall", "the judge failed: RateLimitError: Error code: 429"),
        (401, "context_recall", "the judge failed: AuthenticationError: Error code: 401"),
    ],
)
def test_a_judge_that_fails_gives_no_score(judge, said, name, reason):
    """Never NaN, never 0; what needs no judge stands."""
    judge.rule = said
    found = judged(judge.settings(), [f"ragas.{name}", "ragas.rouge_score"])
    score = found.scores[f"ragas.{name}"]
    assert score.value is None
    assert score.reason.startswith(reason)
    assert found.scores["ragas.rouge_score"].value > 0


def test_malformed_json_is_asked_for_once_more(judge):
    """With what was wrong with it."""
    judge.rule = lambda prompt: rule(prompt) if "could not be read" in prompt else "{}"
    found = judged(judge.settings(), ["ragas.context_recall"])
    assert found.scores["ragas.context_recall"].value == 1.0
    assert len(judge.prompts) == 2


def test_a_silent_judge_is_given_up(judge):
    """And what ragas still waits for is cancelled with it."""
    judge.rule = 1.0
    found = judged(judge.settings(timeout_s=0.2), ["ragas.faithfulness"])
    reason = "the judge gave no score within its timeout_s: 0.2"
    assert found.scores["ragas.faithfulness"].reason == reason
    assert len(judge.prompts) == 1


@pytest.mark.parametrize(
    ("name", "of", "observation", "reason"),
    [
        ("faithfulness", case(), seen(None), "the pipeline gives no answer"),
        ("faithfulness", case(), seen(""), "the answer is empty"),
        ("faithfulness", case(), seen(retrieved=None), "the pipeline does not tell what it"),
        ("context_relevance", case(), seen(retrieved=()), "nothing was retrieved"),
        ("context_recall", case(answers=()), seen(), "the case has no `answer`"),
    ],
)
def test_what_is_missing_is_said_and_nobody_asked(judge, name, of, observation, reason):
    """Ragas would raise, or give NaN."""
    score = judged(judge.settings(), [f"ragas.{name}"], of, observation).scores[f"ragas.{name}"]
    assert (score.value, judge.prompts) == (None, [])
    assert score.reason.startswith(reason)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ragas.faithfullness", r"Did you mean 'ragas\.faithfulness'\?"),
        ("ragas.zzz", r"those of the classes in ragas\.metrics\.collections, in small letters"),
        ("ragas.aspect_critic", "asks for 'name', 'definition', which a case does not have"),
        ("ragas.topic_adherence", "asks for 'a conversation'"),
        ("ragas.multi_modal_relevance", "asks for pictures"),
    ],
)
def test_a_metric_that_cannot_be_had_is_an_error_before_the_run(name, message):
    """With the nearest name, or what it would need."""
    with pytest.raises(ConfigError, match=message):
        metrics.get(name)


def test_what_a_metric_needs_is_known_before_the_run():
    """A reference answer, gold, a judge: from ragas' own signatures."""
    assert metrics.get("ragas.context_recall").needs == {"answers"}
    assert metrics.get("ragas.id_based_context_recall").needs == {"relevant"}
    assert metrics.get("ragas.answer_relevancy").uses == {"judge", "embeddings"}
    assert metrics.get("ragas.rouge_score").uses == frozenset()
    assert not metrics.get("ragas.noise_sensitivity").higher_is_better


def test_telemetry_is_off(monkeypatch, tmp_path, judge):
    """Before ragas is imported; no id of a user is written to their home."""
    from ragas import _analytics

    assert os.environ["RAGAS_DO_NOT_TRACK"] == "true"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    _analytics.get_userid.cache_clear()
    judged(judge.settings(), ["ragas.legacy.faithfulness"])
    assert list(tmp_path.iterdir()) == []


def test_without_ragas_it_says_what_to_type(monkeypatch):
    """A missing package is no unknown metric."""

    def missing():
        raise MissingExtraError("ragas is not installed: pip install 'pytest-rag[ragas]'")

    monkeypatch.setattr(ragas, "_known", missing)
    with pytest.raises(MissingExtraError, match="pytest-rag"):
        metrics.get("ragas.faithfulness")


def test_thirty_cases_with_three_metrics_cost_what_was_asked(judge, run_rag, pytester):
    """Every third judge's answer is lost to a rate limit, and only the scores that needed it."""
    lost = {f"q{number}" for number in range(0, 30, 3)}
    judge.rule = lambda p: 429 if any(f"to {q}." in p or f'to {q}"' in p for q in lost) else rule(p)
    cases = "".join(f"  - {{id: q{n}, query: q{n}, answer: A.}}\n" for n in range(30))
    evalset = (
        "pipeline: app:build\n"
        "defaults:\n  checks: {ragas.faithfulness: 0.5, ragas.context_recall: 0.5,"
        " ragas.answer_relevancy: -1, ragas.rouge_score: 0}\n"
        f"cases:\n{cases}"
        "gate: {ragas.context_recall: 0.9, ragas.faithfulness.min: 0.5}\n"
    )
    config = CONFIG.format(url=judge.url)
    prompt = metrics.get("ragas.faithfulness").version
    known = {f"ragas.{name}": (prompt, "judge-1") for name in ("faithfulness", "context_recall")}
    known["ragas.answer_relevancy"] = (prompt, "judge-1 + wordllama")
    files = {"app.py": APP, "pyproject.toml": config, "a.rag.yaml": evalset}
    files["calibration/a.json"] = trusted("a", known)
    done = run_rag(files, "--rag-out=run.jsonl")
    done.assert_outcomes(passed=20, errors=10)
    lines = map(json.loads, (pytester.path / "run.jsonl").read_text().splitlines())
    results = {line["case"]: line for line in lines if line["kind"] == "result"}
    for name, result in results.items():
        judges = [call for call in result["calls"] if call["stage"] == "judge"]
        scores = {key: score["value"] for key, score in result["scores"].items()}
        assert result["cost_usd"] == pytest.approx(15e-6)
        assert scores["ragas.context_recall"] == 1.0
        assert scores["ragas.rouge_score"] is not None
        if name in lost:
            assert result["outcome"] == "error"
            assert scores["ragas.faithfulness"] is scores["ragas.answer_relevancy"] is None
            assert "RateLimitError" in result["scores"]["ragas.faithfulness"]["reason"]
        else:
            spent = sum(call["cost_usd"] for call in judges)
            assert result["judge_cost_usd"] == pytest.approx(spent)
            assert spent == pytest.approx(6 * 120e-6)
