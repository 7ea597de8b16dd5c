"""Our metrics without a judge against public answers that people judged."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pytest_rag.cli import app


@pytest.fixture
def told(data_dir, tmp_path, monkeypatch):
    """Return what ``calibrate`` says of metrics on a set."""
    monkeypatch.chdir(tmp_path)

    def run(name, *metrics):
        words = [word for metric in metrics for word in ("--metric", metric)]
        path = data_dir / name / "human_judgments.jsonl"
        done = CliRunner().invoke(app, ["calibrate", str(path), *words, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return run


def test_an_answer_is_called_right_as_people_call_it(told):
    """80 % of OpenQA-eval by thresholds chosen without the answer's question; two people: 87 %."""
    found = told("openqa_eval", "answer_overlap", "token_f1")
    assert found["labels"] == {**found["labels"], "answers": 1490, "good": ["Yes"]}
    best = found["metrics"]["answer_overlap"]
    assert best["right"][0] >= 0.80
    assert best["right"][0] > found["metrics"]["token_f1"]["right"][0]
    assert best["use"] == "advise"
    assert best["people"][0] == pytest.approx(0.736, abs=0.001)
    assert best["questions"] == 301


def test_groundedness_is_what_people_call_attributable(told):
    """AUC on BEGIN; token precision alone has 0.938."""
    found = told("begin_wow", "sentence_groundedness", "groundedness")["metrics"]
    assert found["sentence_groundedness"]["auc"][0] >= 0.94
    assert found["groundedness"]["auc"][0] >= 0.94
    assert {each["use"] for each in found.values()} == {"gate"}
