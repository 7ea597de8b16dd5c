"""Public collections from end to end: a YAML evalset over them, run, recorded and scored."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

import pytest

from pytest_rag import records

if TYPE_CHECKING:
    from pathlib import Path

APP = """
    import json
    from pathlib import Path

    from llama_index.core import Document

    from pytest_rag.pipelines.local import LocalPipeline

    def text(d):
        return d["text"] if d["text"].startswith(d["title"]) else d["title"] + "\\n" + d["text"]

    def build(folder, **params):
        lines = (Path(folder) / "documents.jsonl").read_text(encoding="utf-8").splitlines()
        documents = [
            Document(id_=d["id"], text=text(d), metadata={"title": d["title"]})
            for d in map(json.loads, lines)
        ]
        return LocalPipeline.from_documents(documents, top_k=12, context_tokens=100_000, **params)
"""


@pytest.mark.parametrize(
    ("name", "retriever", "queries", "level"),
    [("scifact", "bm25", 300, 0.66), ("anthropic_docs", "hybrid", 100, 0.70)],
)
def test_a_public_collection_reaches_its_level(
    run_rag, pytester, data_dir: Path, name, retriever, queries, level
):
    """Every query has a result, none an error, and nDCG@10 is where it is published to be."""
    folder = data_dir / name
    evalset = f"""
        evalset: {name}
        pipeline:
          factory: app:build
          params: {{folder: {str(folder)!r}, retriever: {retriever}}}
        cases_from: {{path: {str(folder / "queries.jsonl")!r}, map: {{query: question}}}}
        gate: {{nDCG@10: {level}}}
    """
    files = {
        "app.py": APP,
        "pyproject.toml": '[tool.pytest-rag]\nmetrics = ["nDCG@10"]\n',
        f"{name}.rag.yaml": evalset,
    }
    result = run_rag(files, "--rag-out=run.jsonl")
    result.assert_outcomes(passed=queries)
    run = records.read(pytester.path / "run.jsonl")
    assert run.complete
    assert {r.outcome for r in run.results} == {"passed"}
    assert len(run.results) == queries
    assert mean(r.scores["nDCG@10"]["value"] for r in run.results) >= level
    assert run.header["evalsets"][name]["fingerprint"]["corpus"]
