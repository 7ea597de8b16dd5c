"""Rubrics: questions in the evalset that the judge answers, over a real HTTP server."""

from __future__ import annotations

import json

import pytest
from judges import JudgeServer, case, judged, seen, trusted

from pytest_rag import Config, load_evalset
from pytest_rag.config import JudgeSettings, OpenAICompatible
from pytest_rag.evaluation import facts
from pytest_rag.metrics.rubric import RubricMetric
from pytest_rag.pipelines.adapters import adapt


@pytest.fixture
def judge():
    """A judge that finds polite what says please."""

    def rule(prompt):
        answer = prompt.partition("<answer>")[2].partition("</answer>")[0]
        return {"reason": "It says please.", "score": float("please" in answer)}

    server = JudgeServer(rule)
    yield server
    server.close()


def polite(**more):
    """Return a rubric with nothing to its check."""
    return RubricMetric(name="politeness", question="Is it polite?", **more), None


def test_the_judge_is_asked_the_rubrics_question(judge):
    """It sees query, answer and reference; the score has a reason, a version and a price."""
    found = judged(judge.settings(), [polite()], None, seen("Five, please."))
    score = found.scores["politeness"]
    assert (score.value, score.reason) == (1.0, "It says please.")
    (prompt,) = judge.prompts
    for part in ("How many days carry over?", "<answer>\nFive, please.", "Five days.", "Is it pol"):
        assert part in prompt
    assert "Up to five days" not in prompt
    assert [(c.stage, c.model, c.cost_usd) for c in found.calls] == [("judge", "judge-1", 120e-6)]
    assert found.cost_usd == pytest.approx(120e-6)


def test_what_was_retrieved_is_shown_where_the_rubric_asks_for_it(judge):
    """And without it there is no score."""
    judged(judge.settings(), [polite(show=("retrieved",))])
    assert "Up to five days of leave carry over." in judge.prompts[0]
    assert "Five days.\n</reference>" not in judge.prompts[0]
    found = judged(judge.settings(), [polite(show=("retrieved",))], None, seen(retrieved=None))
    assert found.scores["politeness"].reason == "the pipeline does not tell what it retrieved"
    assert len(judge.prompts) == 1


def test_the_version_is_of_prompt_question_and_model(judge):
    """A change of any of them makes scores incomparable."""

    def version(model="judge-1", **more):
        named = OpenAICompatible(base_url=judge.url, model=model)
        metric = RubricMetric(**{"name": "x", "question": "Is it polite?", **more})
        return judged(JudgeSettings(model=named), [(metric, None)]).scores["x"].version

    assert version() == version()
    assert len({version(), version("judge-2"), version(question="Is it?"), version(high=5.0)}) == 4


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "Quite polite!",
            "JudgeError: its answer is not the JSON it was asked for: 'Quite polite!'",
        ),
        ('{"reason": "x"', "JudgeError: its answer is not the JSON it was asked for:"),
        ({"reason": "x"}, "JudgeError: its answer is not the JSON it was asked for:"),
        ([1], "JudgeError: its answer is not the JSON it was asked for: '[1]'"),
        ({"score": "high"}, "JudgeError: its score is no number: 'high'"),
        ({"score": True}, "JudgeError: its score is no number: True"),
        ('{"score": NaN}', "JudgeError: its score nan is not in 0 … 1"),
        ({"score": 7}, "JudgeError: its score 7 is not in 0 … 1"),
        (401, "AuthenticationError: Error code: 401"),
        (429, "RateLimitError: Error code: 429"),
        (500, "InternalServerError: Error code: 500"),
    ],
)
def test_a_judge_that_fails_gives_no_score(judge, said, reason):
    """Never NaN and never 0, and the other scores stand."""
    asked = []

    def rule(prompt):
        asked.append(prompt)
        return {"score": 1} if "polite" in prompt else said

    judge.rule = rule
    other = RubricMetric(name="other", question="Is it true?"), None
    found = judged(judge.settings(), [polite(), other])
    assert found.scores["politeness"].value == 1.0
    assert found.scores["other"].value is None
    assert found.scores["other"].reason.startswith(f"the judge failed: {reason}")


@pytest.mark.parametrize("fence", ["```json\n{}\n```", "Here you are: {}", "{}"])
def test_json_is_found_in_what_models_put_around_it(judge, fence):
    """Fences and friendly words do no harm."""
    judge.rule = fence.replace("{}", json.dumps({"reason": "r", "score": 0.5}))
    assert judged(judge.settings(), [polite()]).scores["politeness"].value == 0.5


def test_a_silent_judge_is_given_up(judge):
    """After its own time, which is no time of the pipeline."""
    judge.rule = 1.0
    found = judged(judge.settings(timeout_s=0.2), [polite()])
    assert found.scores["politeness"].reason == "the judge gave no score within its timeout_s: 0.2"
    assert found.cost_usd is None


def test_a_judge_without_its_key_is_told(judge, monkeypatch):
    """By the name of the variable."""
    monkeypatch.delenv("JUDGE_API_KEY", raising=False)
    named = OpenAICompatible(base_url=judge.url, model="m", api_key_env="JUDGE_API_KEY")
    found = judged(JudgeSettings(model=named), [polite()])
    assert found.scores["politeness"].reason == "the judge has no key: JUDGE_API_KEY is not set"
    monkeypatch.setenv("JUDGE_API_KEY", "sk-judge")
    judged(JudgeSettings(model=named), [polite()])
    assert judge.keys == ["Bearer sk-judge"]


def test_without_an_answer_no_judge_is_asked(judge):
    """A retriever alone gives nothing to judge."""
    found = judged(judge.settings(), [polite()], case(), seen(None))
    assert (found.scores["politeness"].reason, judge.prompts) == (
        "the pipeline gives no answer",
        [],
    )


# --- in an evalset ----------------------------------------------------------------------------

APP = """
    import time

    def build():
        return lambda query: {"answer": query, "retrieved": [], "usage": {"model": "m-1",
            "input_tokens": 10, "output_tokens": 5}}
    """
CONFIG = """
    [tool.pytest-rag]
    prices = {{judge-1 = {{input = 1, output = 2}}, m-1 = {{input = 1, output = 1}}}}

    [tool.pytest-rag.judge]
    model = {{openai_compatible = {{base_url = "{url}", model = "judge-1"}}}}
    """
EVALSET = """
    pipeline: app:build
    defaults:
      checks:
        politeness: {rubric: {question: Is it polite?, scale: [0, 1]}, min: 0.5}
        tokens: 15
        cost_usd: 0.000015
        calls: 1
    cases:
      - {id: polite, query: "Five, please."}
      - {id: rude, query: Five.}
      - {id: unjudged, query: Break the judge.}
    gate: {politeness: {min: 0.4}, politeness.min: 0, cost_usd.total: 0.000045}
    """


def test_a_rubric_is_a_check_and_a_gate(judge, run_rag, pytester):
    """What the judge costs and takes is no part of the pipeline's budget."""
    rule = judge.rule
    judge.rule = lambda prompt: "broken" if "Break" in prompt else rule(prompt)
    prompt = RubricMetric(name="politeness", question="Is it polite?").version
    files = {
        "app.py": APP,
        "pyproject.toml": CONFIG.format(url=judge.url),
        "a.rag.yaml": EVALSET,
        "calibration/a.json": trusted("a", {"politeness": (prompt, "judge-1")}),
    }
    done = run_rag(files, "--rag-out=run.jsonl")
    done.assert_outcomes(passed=1, failed=1, errors=1)
    done.stdout.fnmatch_lines(
        ["rude: politeness = 0, limit ≥ 0.500 (It says please.)*"], consecutive=False
    )
    done.stdout.fnmatch_lines(["*politeness could not be measured: the judge failed: JudgeError:*"])
    lines = [json.loads(line) for line in (pytester.path / "run.jsonl").read_text().splitlines()]
    results = {line["case"]: line for line in lines if line["kind"] == "result"}
    for result in results.values():
        assert [call["stage"] for call in result["calls"]] == ["llm", "judge"]
        assert (result["input_tokens"], result["output_tokens"]) == (10, 5)
        assert result["cost_usd"] == pytest.approx(15e-6)
        assert result["calls"][1]["cost_usd"] == pytest.approx(120e-6)
        assert result["judge_cost_usd"] == pytest.approx(120e-6)
        assert set(result["stages_ms"]) <= {"llm"}
    assert results["polite"]["scores"]["politeness"]["value"] == 1.0
    score = results["polite"]["scores"]["politeness"]
    assert (score["version"], score["judge"]) == (f"{prompt} judge-1", "judge-1")


def test_without_a_judge_it_says_which_lines_to_add(run_rag):
    """At collection: nothing is run and nothing paid for."""
    done = run_rag({"app.py": APP, "a.rag.yaml": EVALSET})
    done.assert_outcomes(errors=1)
    shown = done.stdout.str()
    assert "a.rag.yaml: politeness needs a judge: add to pyproject.toml: [tool.pytest-rag" in shown


def test_the_fixture_asks_the_judge_once(judge, run_rag, pytester):
    """For the check, the score and the record together."""
    test = """
        def test_it(rag):
            rag("Five, please.")
            rubric = {"rubric": {"question": "Is it polite?"}, "min": 0.5}
            assert rag.check({"politeness": rubric}) == {"politeness": 1.0}
            rag.check({"politeness": rubric})
        """
    conftest = """
        import pytest

        @pytest.fixture(scope="session")
        def rag_pipeline():
            return lambda query: query
        """
    config = CONFIG.format(url=judge.url)
    files = {"test_a.py": test, "conftest.py": conftest, "pyproject.toml": config}
    done = run_rag(files, "--rag-out=run.jsonl")
    done.assert_outcomes(passed=1)
    assert len(judge.prompts) == 1
    lines = map(json.loads, (pytester.path / "run.jsonl").read_text().splitlines())
    (result,) = (line for line in lines if line["kind"] == "result")
    assert result["scores"]["politeness"]["value"] == 1.0
    assert [call["stage"] for call in result["calls"]] == ["judge"]
    assert result["judge_cost_usd"] == pytest.approx(120e-6)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("{rubric: {question: Is it?}}", "Rubric 'x' has no limit. Write min: 0.5."),
        ("{rubric: {scale: [0, 1]}, min: 1}", "Rubric 'x': It has no 'question'. Write a text."),
        ("{rubric: {question: 7}, min: 1}", "'question' must be a text, not 7."),
        ("{rubric: {question: q, scale: [1]}, min: 1}", "'scale' must be two numbers, as [0, 1]"),
        ("{rubric: {question: q, scale: [5, 1]}, min: 1}", "'scale' must rise as [0, 1] does"),
        ("{rubric: {question: q, show: [all]}, min: 1}", "'show' must be a list of 'reference'"),
        ("{rubric: {qestion: q}, min: 1}", "Unknown key 'qestion'. Did you mean 'question'?"),
        ("{rubric: q, min: 1}", "Write it as {question: …, scale: [0, 1]}, not 'q'."),
        ("{rubric: {question: q}, mim: 1}", "Unknown key 'mim' in check 'x'. Did you mean 'min'?"),
    ],
)
def test_a_rubric_is_read_strictly(run_rag, check, message):
    """What is wrong, with its place and what to write."""
    text = f"pipeline: app:build\ncases:\n  - {{id: a, query: q, checks: {{x: {check}}}}}\n"
    done = run_rag({"app.py": APP, "a.rag.yaml": text})
    shown = done.stdout.str()
    assert "a.rag.yaml:3:" in shown
    assert message in shown


def test_a_rubric_takes_no_metrics_name(run_rag):
    """Nobody could tell the two apart."""
    text = "cases: [{id: a, query: q, checks: {regex: {rubric: {question: q}, min: 1}}}]\n"
    shown = run_rag({"a.rag.yaml": text}).stdout.str()
    assert "'regex' is a metric already. Give the rubric another name." in shown


def test_a_gate_on_a_judge_is_never_exact(tmp_path):
    """A pipeline may always say the same; what is thought of it may change."""

    class Same:
        deterministic = True

        def __call__(self, query):
            return query

    def told(gate):
        case = "{id: a, query: q, checks: {x: {rubric: {question: q}, min: 1}}}"
        path = tmp_path / "a.rag.yaml"
        path.write_text(f"pipeline: app:build\ncases: [{case}]\ngate: {{{gate}}}\n")
        return facts(load_evalset(path), adapt(Same()), Config(root=tmp_path))["deterministic"]

    assert told("refusal: 1") is True
    assert told("x: 1") is False
    assert told("llamaindex.faithfulness: 1") is False
