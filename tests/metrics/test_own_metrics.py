"""Metrics that people write as functions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from judges import JudgeServer, case, judged, seen

import pytest_rag
from pytest_rag import ConfigError, Score, metrics
from pytest_rag.metrics import own


@pytest.fixture
def metric(monkeypatch):
    """The decorator, over a registry that forgets."""
    monkeypatch.setattr(metrics.METRICS, "_objects", dict(metrics.METRICS._objects))
    return pytest_rag.metric


@pytest.mark.parametrize(
    ("returned", "score"),
    [
        (True, Score(value=1.0)),
        (0, Score(value=0.0)),
        (0.25, Score(value=0.25)),
        (np.float32(0.5), Score(value=0.5)),
        (np.bool_(True), Score(value=1.0)),
        (Score(value=0.5, reason="so so"), Score(value=0.5, reason="so so")),
        (None, Score(value=None, reason="it returned None")),
        (math.nan, Score(value=None, reason="it returned nan")),
        (math.inf, Score(value=None, reason="it returned inf")),
        ("good", Score(value=None, reason="it returned 'good', which is no number")),
    ],
)
def test_what_a_function_may_return(metric, returned, score):
    """Numbers, truth values, scores and None; anything else is no score, with the reason."""

    @metric("politeness")
    def politeness(answer):
        return returned

    assert metrics.get("politeness").score(case(), seen()) == score


def test_a_function_gets_what_it_names(metric):
    """Any of the parts of a case and of a run, in any order, by name."""
    got = {}

    @metric("everything", needs={"answer"})
    def everything(retrieved, argument, relevant, references, reference, answer, query, other=1):
        got.update(locals())
        return 1

    of = case(relevant={"a.md": 1}, answers=("One.", "Two."))
    metrics.get("everything").score(of, seen("Yes."), 7)
    assert (got["query"], got["answer"], got["reference"]) == (of.query, "Yes.", "One.")
    assert (got["references"], got["relevant"], got["argument"]) == (of.answers, {"a.md": 1}, 7)
    assert got["retrieved"][0].id == "0.md"


def test_what_it_needs_is_looked_at(metric):
    """A run without an answer has no score; a case without a reference is not asked."""

    @metric("nearness", needs={"answer", "reference"})
    def nearness(answer, reference):
        raise AssertionError("not to be called")

    found = metrics.get("nearness")
    assert metrics.lacking(found, case(answers=())) == "nearness needs `answer`"
    assert found.score(case(), seen(None)).reason == "the pipeline gives no answer"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("token_f1", {}, "metric 'token_f1' is registered twice."),
        ("P@5", {}, "metric 'P@5' is there already: give yours another name."),
        ("ragas.mine", {}, "metric 'ragas.mine' is there already: give yours another name."),
        ("latency_ms", {}, "A metric cannot be called 'latency_ms': a budget is."),
        ("so good", {}, "A metric cannot be called 'so good': letters, digits and '_'"),
        ("x", {"needs": {"anwser"}}, "Metric 'x' needs 'anwser', which no case has. Did you mean"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(metric, name, options, message):
    """In one sentence, when the module is imported."""
    with pytest.raises(ConfigError) as raised:
        metric(name, **options)(lambda answer: 1)
    assert str(raised.value).startswith(message)


def test_a_parameter_that_nothing_fits_is_refused(metric):
    """The nearest one is named; the judge is awaited."""
    with pytest.raises(ConfigError, match=r"cannot be given 'anwser'\. Did you mean 'answer'\?"):
        metric("x")(lambda anwser: 1)
    with pytest.raises(ConfigError, match="Metric 'x' asks the judge: write `async def`"):
        metric("x")(lambda answer, judge: 1)


CONFTEST = """
    import pytest_rag

    @pytest_rag.metric("brevity", needs={"answer"})
    def brevity(answer):
        return len(answer.split()) <= 3

    @pytest_rag.metric("verbosity", higher_is_better=False)
    def verbosity(answer):
        return len(answer.split())

    @pytest_rag.metric("broken")
    def broken(answer):
        raise LookupError("no such word")
    """
EVALSET = """
    pipeline: app:build
    cases:
      - {id: short, query: "Yes", checks: {brevity: 1, verbosity: 2}}
      - {id: long, query: "Yes we certainly can", checks: {brevity: 1}}
      - {id: wordy, query: "Yes we certainly can", checks: {verbosity: 2}}
      - {id: bug, query: "Yes", checks: {broken: 1}}
    gate: {brevity: 0.5}
    """
APP = "def build():\n    return lambda query: query\n"


@pytest.fixture
def forgetful(monkeypatch):
    """A registry that forgets what a run inside this process registered."""
    monkeypatch.setattr(metrics.METRICS, "_objects", dict(metrics.METRICS._objects))


def test_a_function_in_conftest_is_a_metric_of_the_evalset(run_rag, forgetful):
    """A floor for more, a ceiling for less; a bug in it is an error and no failure."""
    files = {"conftest.py": CONFTEST, "app.py": APP, "a.rag.yaml": EVALSET}
    done = run_rag(files, "--rag-out=run.jsonl")
    done.assert_outcomes(passed=1, failed=2, errors=1)
    done.stdout.fnmatch_lines(
        [
            "bug: broken could not be measured: LookupError: no such word",
            "long: brevity = 0, limit ≥ 1",
            "wordy: verbosity = 4, limit ≤ 2",
        ]
    )
    again = run_rag(files)  # the same function of the same file, imported again
    again.assert_outcomes(passed=1, failed=2, errors=1)


def test_an_entry_point_that_does_not_load_is_named(monkeypatch):
    """Somebody else's package must not break a run with a traceback."""
    from importlib.metadata import EntryPoint

    from pytest_rag.registry import Registry

    point = EntryPoint(name="theirs", value="no_such_module:metric", group="g")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point])
    with pytest.raises(ConfigError, match="metric 'theirs' cannot be loaded from no_such_module"):
        Registry("metric", "g").find("other")


def test_an_asynchronous_function_may_ask_the_judge(metric):
    """Its calls are the judge's, and its version holds the model."""

    @metric("politeness", needs={"answer"})
    async def politeness(answer, judge):
        return float(await judge.ask(f"How polite is {answer!r}?"))

    server = JudgeServer(lambda prompt: "0.75" if "Five days" in prompt else "0")
    try:
        found = judged(server.settings(), ["politeness"])
    finally:
        server.close()
    assert found.scores["politeness"] == Score(value=0.75, version="1 judge-1", judge="judge-1")
    assert [(c.stage, c.model, c.input_tokens) for c in found.calls] == [("judge", "judge-1", 100)]
    assert json.loads(json.dumps(found.cost_usd)) == pytest.approx(120e-6)


def test_its_parameters_are_documented():
    """Every parameter and need is in the page on extending."""
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in (*own._PARAMETERS, *own._NEEDS))
