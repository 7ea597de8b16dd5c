"""Retrieval quality on public collections, against published levels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import Document

from pytest_rag.pipelines.local import LocalPipeline

if TYPE_CHECKING:
    from pathlib import Path

pytrec_eval = pytest.importorskip("pytrec_eval")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _ndcg_at_10(folder: Path, **params: Any) -> float:
    """Return the mean nDCG@10 over documents; a document scores as its best node."""
    documents = [
        Document(
            id_=d["id"],
            text=d["text"] if d["text"].startswith(d["title"]) else f"{d['title']}\n{d['text']}",
            metadata={"title": d["title"]},
        )
        for d in _lines(folder / "documents.jsonl")
    ]
    pipeline = LocalPipeline.from_documents(documents, top_k=100, **params)
    retrieve = pipeline.query_engine.retriever.retrieve
    run: dict[str, dict[str, float]] = {}
    qrels: dict[str, dict[str, int]] = {}
    for query in _lines(folder / "queries.jsonl"):
        qrels[query["id"]] = query["relevant"]
        scores = run.setdefault(query["id"], {})
        for hit in retrieve(query["question"]):
            scores.setdefault(hit.node.ref_doc_id, hit.score)
    evaluated = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
    return sum(scores["ndcg_cut_10"] for scores in evaluated.values()) / len(qrels)


def test_bm25_reaches_the_published_level_on_scifact(data_dir: Path) -> None:
    """BM25 alone is at the 0.679 that BEIR publishes, or within 0.02 of it."""
    assert _ndcg_at_10(data_dir / "scifact", retriever="bm25") >= 0.66


def test_hybrid_beats_both_of_its_halves(data_dir: Path) -> None:
    """With the defaults, on product documentation: more than BM25, more than dense."""
    levels = {
        retriever: _ndcg_at_10(data_dir / "anthropic_docs", retriever=retriever)
        for retriever in ("bm25", "dense", "hybrid")
    }
    assert levels["bm25"] >= 0.70
    assert levels["hybrid"] > max(levels["bm25"], levels["dense"])
