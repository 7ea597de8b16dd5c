"""Conformance with NIST's trec_eval, with LlamaIndex where definitions agree, and with people."""

from __future__ import annotations

import gzip
import json
import struct
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from pytest_rag.metrics import ranking

if TYPE_CHECKING:
    from pathlib import Path

WORDS = {"P": "P", "recall": "R", "ndcg_cut": "nDCG", "map_cut": "AP", "success": "Success"}
SINGLE = {"ndcg": "nDCG", "map": "AP", "recip_rank": "RR", "Rprec": "Rprec"}


def ours(measure: str) -> str | None:
    """Return our name of a trec_eval measure, or None where we have none."""
    word, _, k = measure.rpartition("_")
    if measure in SINGLE:
        return SINGLE[measure]
    return f"{WORDS[word]}@{k}" if word in WORDS and k.isdigit() else None


def as_float32(score: float) -> float:
    """Return the score as trec_eval stores it, which decides what is a tie."""
    return struct.unpack("f", struct.pack("f", score))[0]


def read_qrels(text: str) -> dict[str, dict[str, int]]:
    """Read qrels in TREC's format."""
    qrels: dict[str, dict[str, int]] = defaultdict(dict)
    for line in text.splitlines():
        query, _, document, grade = line.split()[:4]
        qrels[query][document] = int(grade)
    return qrels


def read_run(text: str) -> dict[str, list[str]]:
    """Read a run in TREC's format and order it."""
    scored: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for line in text.splitlines():
        query, _, document, _, score = line.split()[:5]
        scored[query].append((document, as_float32(float(score))))
    return {query: ranking.order(pairs) for query, pairs in scored.items()}


def assert_agrees(found_in, qrels, expected, tolerance: float) -> int:
    """Compare one query's measures with trec_eval's; return how many there were."""
    wanted = {name: value for key, value in expected.items() if (name := ours(key))}
    found = ranking.compute(wanted, found_in, qrels)
    assert found == pytest.approx(wanted, abs=tolerance)
    return len(wanted)


@pytest.fixture(scope="module")
def suite(data_dir: Path) -> Path:
    """The folder of conformance files."""
    return data_dir / "trec_eval_conformance"


@pytest.mark.parametrize("name", ["adi", "anthropic_docs", "clapnq_dev", "cranfield", "scifact"])
def test_generated_suite(suite: Path, name: str) -> None:
    """Every query of a BM25 run has trec_eval's values, and so has their mean."""
    folder = suite / "generated"
    qrels = read_qrels((folder / f"{name}.qrels").read_text())
    run = read_run(gzip.decompress((folder / f"{name}.bm25.run.gz").read_bytes()).decode())
    expected = json.loads(gzip.decompress((folder / f"{name}.expected.json.gz").read_bytes()))
    for query, values in expected["per_query"].items():
        assert assert_agrees(run.get(query, []), qrels[query], values, 1e-6) > 20
    means = {key: value for key, value in expected["mean_over_all_judged"].items() if ours(key)}
    each = [ranking.compute(map(ours, means), run.get(q, []), qrels[q]) for q in qrels]
    for key, mean in means.items():
        assert sum(values[ours(key)] for values in each) / len(each) == pytest.approx(
            mean, abs=1e-6
        )


def test_edge_cases(suite: Path) -> None:
    """Ties, negative grades, too few retrieved, nothing relevant: trec_eval's values."""
    cases = json.loads((suite / "edge_cases.json").read_text())["cases"]
    for case in cases:
        order = ranking.order(case["run"].items())
        assert_agrees(order, case["qrels"], case["trec_eval"], 1e-6)
    assert len(cases) == 12


@pytest.mark.parametrize(
    ("output", "qrels", "run", "depth", "level"),
    [
        ("out.test.aq", "qrels.test", "results.test", None, 1),
        ("out.test.aqc", "qrels.test", "results.trunc", None, 1),
        ("out.test.aqcM", "qrels.test", "results.trunc", 100, 1),
        ("out.test.aql", "qrels.rel_level", "results.test", None, 2),
        ("out.test.meas_params", "qrels.test", "results.test", None, 1),
    ],
)
def test_nist_files(
    suite: Path, output: str, qrels: str, run: str, depth: int | None, level: int
) -> None:
    """NIST's own test files give NIST's printed values, to the four digits printed."""
    folder = suite / "trec_eval"
    graded = read_qrels((folder / qrels).read_text())
    runs = read_run((folder / run).read_text())
    expected = json.loads((folder / "expected_parsed.json").read_text())[output]["expected"]
    compared = 0
    for query in graded:
        values = expected.get(query, {})
        if level > 1 or "meas_params" in output:  # gains of its own: compare what is binary
            values = {key: value for key, value in values.items() if not key.startswith("ndcg")}
        judged = {document: int(grade >= level) for document, grade in graded[query].items()}
        if level == 1:
            judged = graded[query]
        compared += assert_agrees(runs.get(query, [])[:depth], judged, values, 5.1e-5)
    assert compared > 10


def test_llamaindex_where_definitions_agree(suite: Path) -> None:
    """Hit rate, MRR, recall and AP are LlamaIndex's; its precision and nDCG differ on purpose."""
    text = (suite / "llamaindex" / "retrieval_metrics_expected.json").read_text()
    names = {"hit_rate": "Success@100", "mrr": "RR", "recall": "R@100", "ap": "AP"}
    compared = 0
    for case in json.loads(text)["cases"]:
        retrieved, expected = case["retrieved_ids"], case["expected_ids"]
        name = names.get(case["metric"])
        if case["metric"] == "precision":
            name = f"P@{len(retrieved)}"
        elif case["metric"] == "ndcg" and len(expected) <= len(retrieved):
            name = "nDCG"
        if name and not case.get("granular") and len(set(retrieved)) == len(retrieved):
            values = ranking.compute([name], retrieved, dict.fromkeys(expected, 1))
            assert values[name] == pytest.approx(case["score"], abs=1e-6)
            compared += 1
    assert compared > 20
