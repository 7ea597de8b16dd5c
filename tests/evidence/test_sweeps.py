"""Sweeps of three sets: what they say of their recommendation is what plain runs and SciPy say."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats as scipy_stats
from typer.testing import CliRunner

from pytest_rag import records
from pytest_rag.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterable

EVALSETS = Path(__file__).resolve().parents[2] / "evalsets"
ALPHA = 0.05
PIPE = """
    import json
    from pathlib import Path

    from llama_index.core import Document

    from pytest_rag.pipelines.local import LocalPipeline

    def build(folder, **params):
        lines = (Path(folder) / "documents.jsonl").read_text(encoding="utf-8").splitlines()
        read = map(json.loads, lines)
        documents = [Document(id_=d["id"], text=d["title"] + "\\n" + d["text"]) for d in read]
        return LocalPipeline.from_documents(documents, **params).query_engine.retriever
"""
NOW = "retriever: hybrid, dense_weight: 0.5, chunk_size: 200, chunk_overlap: 30, top_k: 10"
SWEEPS = {
    "handbook": """
        trials: 16
        params:
          chunk_size: {min: 60, max: 300, step: 20}
          retriever: [bm25, dense, hybrid]
          dense_weight: {min: 0.1, max: 0.9, step: 0.1, when: {retriever: hybrid}}
          top_k: [5, 10, 20]
          rerank: [none, sentences]
    """,
    "anthropic_docs": """
        trials: 24
        params:
          chunk_size: [100, 200, 400]
          retriever: [bm25, dense, hybrid]
          dense_weight: {min: 0.1, max: 0.9, step: 0.1, when: {retriever: hybrid}}
          top_k: [10, 20, 40]
    """,
    "scifact": """
        trials: 8
        params:
          retriever: [bm25, hybrid]
          dense_weight: {choices: [0.1, 0.3, 0.5], when: {retriever: hybrid}}
          top_k: [10, 40]
    """,
}


def run(*words: str) -> str:
    """Run a command in this process and return what it printed; status 1 is a failed check."""
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code in (0, 1), done.output
    return done.stdout


@pytest.fixture(params=SWEEPS)
def swept(request, tmp_path, monkeypatch, outside_ci):
    """A set in a folder of its own, and the report of its sweep from the default configuration."""
    name = request.param
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "pyproject.toml").touch()
    if name == "handbook":
        shutil.copytree(EVALSETS / name, name)
        text = (EVALSETS / "handbook.rag.yaml").read_text(encoding="utf-8")
    else:
        folder = request.getfixturevalue("data_dir") / name
        Path("pipe.py").write_text(dedent(PIPE), encoding="utf-8")
        text = (
            f"pipeline: {{factory: 'pipe:build', params: {{folder: {str(folder)!r}, {NOW}}}}}\n"
            f"cases_from: {{path: {str(folder / 'queries.jsonl')!r}, map: {{query: question}}, "
            "ignore: [meta]}\n"
        )
    Path("set.rag.yaml").write_text(text, encoding="utf-8")
    sweep = f"sweep: {name}\nevalset: set.rag.yaml\nobjectives: nDCG@10\n{dedent(SWEEPS[name])}"
    Path("set.sweep.yaml").write_text(sweep, encoding="utf-8")
    sys.stdout.write(run("sweep", "set.sweep.yaml"))
    yield json.loads(Path(f".pytest_rag/sweeps/{name}/report.json").read_text(encoding="utf-8"))
    sys.modules.pop("pipe", None)


def ndcg(name: str, cases: Iterable[str]) -> dict[str, float]:
    """Run cases of the evalset as it now stands, nothing from a cache; return their nDCG@10."""
    chosen = [word for case in cases for word in ("--case", case)]
    run("run", "set.rag.yaml", "--baseline", "none", "--cache", "off", "--out", name, *chosen)
    found = records.read(Path(name)).results
    scores = {each.case: each.scores.get("nDCG@10", {}).get("value") for each in found}
    return {case: value for case, value in scores.items() if value is not None}


def scipy_p(changes: np.ndarray) -> float:
    """Return SciPy's one-sided p of the paired permutation test, 1 where nothing was gained.

    Zeros change no sum.
    """
    moved = np.round(changes[changes != 0], 9)
    if moved.sum() <= 0:
        return 1.0
    found = scipy_stats.permutation_test(
        (moved,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        alternative="greater",
        n_resamples=99_999,
        rng=np.random.default_rng(1),
        vectorized=True,
    )
    return float(found.pvalue)


def expected(changes: np.ndarray) -> str:
    """Return the word for a gain that SciPy found, or found none."""
    if scipy_p(changes) <= ALPHA:
        return "better"
    return "worse" if scipy_p(-changes) <= ALPHA else "not shown"


@pytest.mark.slow
def test_the_verdict_is_that_of_plain_runs_and_scipy(swept):
    """Default and recommendation, run anew without a cache: same scores, same test, same word."""
    found, folder = swept, Path(f".pytest_rag/sweeps/{swept['sweep']}")
    assert found["recommended"], "no candidate was better on the cases searched with"
    seen = {
        part: {
            r.case for path in (folder / part).glob("*.jsonl") for r in records.read(path).results
        }
        for part in ("candidates", "heldout")
    }
    assert not seen["candidates"] & seen["heldout"]
    assert len(seen["heldout"]) == found["cases"]["heldout"]

    before = ndcg("before.jsonl", seen["heldout"])
    run("sweep", "set.sweep.yaml", "--apply", "--force")
    after = ndcg("after.jsonl", seen["heldout"])
    held = sorted(before)
    changes = np.array([after[case] - before[case] for case in held])
    (row,) = found["verdict"]["rows"]
    assert row["pairs"] == len(held)
    assert row["current"] == pytest.approx(np.mean([before[case] for case in held]), abs=1e-5)
    assert row["recommended"] == pytest.approx(np.mean([after[case] for case in held]), abs=1e-5)
    assert row["change"] == pytest.approx(changes.mean(), abs=1e-5)
    assert (row["better"], row["worse"]) == ((changes > 0).sum(), (changes < 0).sum())
    assert row["p"] == pytest.approx(scipy_p(changes), abs=0.005)
    assert found["verdict"]["word"] == expected(changes)
    assert found["verdict"]["is_better"] is (expected(changes) == "better")
