"""`pytest-rag export`: evalsets and runs as datasets with typed columns."""

from __future__ import annotations

import json
from dataclasses import replace

import datasets
import pytest
from typer.testing import CliRunner

from pytest_rag.cli import app
from pytest_rag.evalset import load

EVALSET = """
pipeline: my_rag:good
defaults: {checks: {contains: five, latency_ms: 2000}, timeout_s: 20}
cases:
  - id: a
    query: How many? Ünïcode \U0001f30a
    answer: [five, "5"]
    relevant: {a.md: 2, "b.md#x": 0}
    forbidden: [drafts/*]
    tags: [hr]
    filters: {lang: [en, fi], n: 1}
    checks: {numeric: {value: 5, unit: days}, regex: {value: "f.ve", min: 1}, latency_ms: null}
    repeat: 2
    min_pass: 1
    evidence: {a.md: [one, two]}
  - {id: b, query: Shoe size?, answerable: false}
  - {id: c, query: Draft?, reviewed: false}
  - id: d
    query: Polite?
    checks: {kind: {rubric: {question: "Is it polite?", scale: [0, 1]}, min: 0.5}, contains: null}
"""
FORMS = ("x.parquet", "x.arrow", "x.jsonl", "folder")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Run the command line in a folder with an evalset and a run of another."""
    monkeypatch.chdir(tmp_path)
    datasets.disable_progress_bars()
    (tmp_path / "e.rag.yaml").write_text(EVALSET, encoding="utf-8")

    def run(*args):
        done = CliRunner().invoke(app, list(args), catch_exceptions=False)
        return done.exit_code, done.output

    return run


def _plain(cases):
    """Return cases without their places, checks by name."""
    bare = [replace(case, path=None, line=0, checks=()) for case in cases]
    return bare, [{limit.metric: limit for limit in case.checks} for case in cases]


@pytest.mark.parametrize("form", FORMS)
def test_an_evalset_comes_back_the_same(project, tmp_path, form):
    """Whatever it is written as, `cases_from` reads the cases that were written."""
    assert project("export", "e.rag.yaml", "-o", form) == (0, f"wrote {form}: 4 cases\n")
    kind = "dataset" if form == "folder" else "path"
    (tmp_path / "back.rag.yaml").write_text(f"cases_from: {{{kind}: {form}}}\n")
    was, now = load(tmp_path / "e.rag.yaml"), load(tmp_path / "back.rag.yaml")
    assert _plain(now.cases) == _plain(was.cases)
    assert _plain(now.drafts) == _plain(was.drafts)


def test_the_columns_are_typed(project, tmp_path):
    """A case without a value has it missing, under a column of the right type."""
    project("export", "e.rag.yaml", "-o", "d")
    found = datasets.load_from_disk(str(tmp_path / "d"))
    assert found.features["answer"].feature == datasets.Value("string")
    assert found.features["relevant"].feature["grade"] == datasets.Value("int64")
    assert found.features["answerable"] == datasets.Value("bool")
    assert found[1]["relevant"] == []


RESULTS = [
    {
        "case": "a",
        "outcome": "passed",
        "answer": "five",
        "retrieved": [{"id": "a.md", "rank": 1, "score": 0.5, "node": "n"}],
        "gold": {"a.md": {"grade": 2, "rank": 1, "indexed": True}},
        "scores": {"RR": {"value": 1.0, "reason": None, "version": "1"}},
        "checks": [{"metric": "numeric", "min": 1.0, "argument": {"value": 5}, "passed": True}],
        "stages_ms": {"embed": 2.5},
        "latency_ms": 7,
        "calls": [{"stage": "llm", "model": "m", "input_tokens": 3, "cost_usd": 0}],
        "tags": ["t"],
    },
    {
        "case": "b",
        "outcome": "error",
        "answer": "half \ud800 pair",
        "error": {"type": "E", "message": "m", "traceback": ""},
    },
]


def write_run(path):
    """Write a run record with a good result and a broken one."""
    head = {"kind": "header", "schema_version": 1, "run_id": "r1", "git": {"commit": "abc"}}
    common = {"kind": "result", "evalset": "e", "repeat": 0, "query": "q"}
    lines = [head, *({**common, **each} for each in RESULTS), {"kind": "footer", "complete": True}]
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


@pytest.mark.parametrize("form", ["x.parquet", "x.arrow", "folder"])
def test_a_run_is_a_table(project, tmp_path, form):
    """Every result is a row; what a result lacks is missing, and never zero."""
    write_run(tmp_path / "r.jsonl")
    assert project("export", "r.jsonl", "-o", form) == (0, f"wrote {form}: 2 results\n")
    if form == "folder":
        found = datasets.load_from_disk(str(tmp_path / form))
    elif form == "x.arrow":
        found = datasets.Dataset.from_file(str(tmp_path / form))
    else:
        found = datasets.Dataset.from_parquet(
            str(tmp_path / form), cache_dir=str(tmp_path / "cache")
        )
    good, bad = found
    assert (good["run_id"], good["commit"], good["latency_ms"]) == ("r1", "abc", 7.0)
    assert good["scores"] == [{"metric": "RR", "value": 1.0, "reason": None, "version": "1"}]
    assert good["checks"][0]["argument"] == '{"value": 5}'
    assert good["gold"][0] == {
        "id": "a.md",
        "grade": 2,
        "rank": 1,
        "indexed": True,
        "lost": None,
    }
    assert good["stages_ms"]["embed"] == 2.5
    assert good["stages_ms"]["llm"] is None
    assert (bad["latency_ms"], bad["retrieved"], bad["error"]["type"]) == (None, None, "E")
    assert bad["answer"] == "half ? pair"


def test_what_is_there_is_not_replaced_unasked(project, tmp_path):
    """`--force` replaces a dataset, and never a folder that is none."""
    project("export", "e.rag.yaml", "-o", "d")
    code, said = project("export", "e.rag.yaml", "-o", "d")
    assert (code, said) == (2, "d is there already. To replace it: --force\n")
    assert project("export", "e.rag.yaml", "-o", "d", "--force")[0] == 0
    (tmp_path / "precious").mkdir()
    code, said = project("export", "e.rag.yaml", "-o", "precious", "--force")
    assert (code, "holds no dataset, and was left as it is" in said) == (2, True)
    code, said = project("export", "e.rag.yaml", "-o", "x.xlsx")
    assert (code, said.startswith("x.xlsx ends in no format of .parquet")) == (2, True)
    assert project("export", "gone.jsonl", "-o", "y.parquet")[0] == 2
    assert not (tmp_path / "y.parquet").exists()
