"""Sixty candidates of a sweep beside sixty full runs, and whether the same one wins."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_rag import records, stats

_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
_SET = "anthropic_docs"
_SAMPLE = 4  # full runs that are timed
_PIPE = """
    import json
    from pathlib import Path

    from llama_index.core import Document
    from pytest_rag.pipelines.local import LocalPipeline

    def build(data, **params):
        lines = map(json.loads, Path(data, "documents.jsonl").open())
        made = [Document(id_=d["id"], text=f'{d["title"]}\\n{d["text"]}') for d in lines]
        return LocalPipeline.from_documents(made, **params)
"""
_SWEEP = """
    evalset: set.rag.yaml
    objectives: nDCG@10
    sampler: random
    trials: 60
    prune: PRUNE
    params:
      retriever: [bm25, dense, hybrid]
      dense_weight: {min: 0.1, max: 0.9, step: 0.1, when: {retriever: hybrid}}
      chunk_size: {min: 100, max: 400, step: 100}
      chunk_overlap: [0, 30]
      top_k: [5, 10, 20]
      rerank: [none, sentences]
"""
_NOW = "retriever: hybrid, dense_weight: 0.5, chunk_size: 200, chunk_overlap: 30, top_k: 10"


def _cpu(folder: Path, *words: str) -> float:
    """Return the processor seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pytest_rag", *words]
    subprocess.run(command, cwd=folder, check=False, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _evalset(data: Path, params: str) -> str:
    return (
        f"evalset: set\npipeline: {{factory: 'pipe:build', params: {{data: {data}, {params}}}}}\n"
        f"cases_from: {{path: {data}/queries.jsonl, map: {{query: question}}, ignore: [meta]}}\n"
    )


def _report(folder: Path) -> dict:
    return json.loads((folder / ".pytest_rag/sweeps/set/report.json").read_text())


def test_sixty_candidates(row, tmp_path):
    """A sweep that stops early, then the same candidates run to their end."""
    data = Path(os.environ.get("PYTEST_RAG_DATA") or _DATA) / _SET
    if not data.is_dir():
        pytest.skip("no evaluation data: set PYTEST_RAG_DATA, or put it at ../shared/data")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "pipe.py").write_text(dedent(_PIPE))
    (tmp_path / "set.rag.yaml").write_text(_evalset(data, f"{_NOW}, rerank: none"))
    (tmp_path / "set.sweep.yaml").write_text(dedent(_SWEEP).replace("PRUNE", "0.05"))
    swept = _cpu(tmp_path, "sweep", "set.sweep.yaml")
    early = _report(tmp_path)
    states = [each["state"] for each in early["candidates"]]

    step = len(states) // _SAMPLE
    full = 0.0
    for each in early["candidates"][1::step][:_SAMPLE]:
        told = ", ".join(f"{name}: {value}" for name, value in each["params"].items())
        (tmp_path / "one.rag.yaml").write_text(_evalset(data, told))
        full += _cpu(tmp_path, "run", "one.rag.yaml", "--baseline", "none") / _SAMPLE

    (tmp_path / "set.sweep.yaml").write_text(dedent(_SWEEP).replace("PRUNE", "false"))
    _cpu(tmp_path, "sweep", "set.sweep.yaml")
    whole = _report(tmp_path)
    assert [each["params"] for each in whole["candidates"]] == [
        each["params"] for each in early["candidates"]
    ]
    ratio = swept / (full * len(states))
    how = f"{swept:.0f} s to {full * len(states):.0f} s; {states.count('stopped')} stopped early"
    row("sweep of 60 candidates, to 60 full runs: CPU", f"{ratio:.2f}", "≤ 0.33", how)
    row("… the winner, to that of full runs", *_beside(early, whole))


def _beside(early: dict, whole: dict) -> tuple[str, str, str]:
    """Return how far the two winners lie apart on the cases they were chosen by."""
    winners = [each["candidates"][each["recommended"]] for each in (whole, early)]
    scores = [
        {r.case: r.scores["nDCG@10"]["value"] for r in records.read(Path(each["record"])).results}
        for each in winners
    ]
    changes = list(stats.paired_differences(*scores).values())
    low, high = stats.mean_interval(changes) or (0.0, 0.0)
    same = "the same" if winners[0]["number"] == winners[1]["number"] else "another"
    mean = sum(changes) / len(changes)
    return f"{mean:+.3f} nDCG@10", "0 within the interval", f"{same}; [{low:.3f}, {high:.3f}]"
