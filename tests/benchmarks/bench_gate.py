"""The gate over 100,000 cases and six metrics: seconds and memory, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_SETUP = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from pytest_rag import baseline, records, stats
from pytest_rag.baseline import Baseline, Measured
from pytest_rag.compare import compare
from pytest_rag.types import GateLimit
N, NAMES = 100_000, ("nDCG@10", "R@5", "P@5", "RR", "token_f1", "groundedness")
def side(seed, deterministic=False):
    rng = np.random.default_rng(seed)
    easy = np.random.default_rng(0).random((6, N))
    scores = np.round(np.clip(easy + rng.normal(0, 0.05, (6, N)), 0, 1), 6)
    return Baseline(
        evalset="big", cases=[f"case-{i:06}" for i in range(N)], runs=np.ones(N, int),
        passed=np.ones(N, int), scores=dict(zip(NAMES, scores)),
        asked=[json.dumps({"fingerprint": f"{i:016x}", "gold": {f"d{i}.md": 1}}) for i in range(N)],
        limits=['{"R@5": {"min": 0.5}}'] * N,
        seen=[json.dumps({
            "ranks": {f"d{i}.md": 1},
            "retrieved": [f"d{i + k}.md" for k in range(10)],
            "tokens": {"input": i % 50 + seed}}) for i in range(N)],
        versions=dict.fromkeys(NAMES, "1"), deterministic=deterministic)
def record(path, seed):
    of = side(seed)
    with open(path, "w") as out:
        facts = {"deterministic": False, "fingerprint": {}, "gate": {}}
        head = {"kind": "header", "schema_version": 1, "evalsets": {"big": facts}}
        out.write(records.dumps(head) + "\\n")
        for i in range(N):
            out.write(records.dumps({
                "kind": "result", "evalset": "big", "case": of.cases[i], "repeat": 0,
                "outcome": "passed", "query": f"What is {i}?", "answer": f"It is {i}.",
                "retrieved": [
                    {"id": f"d{i + k}.md", "rank": k + 1, "score": 1 - k / 10, "node": f"{i + k}:0"}
                    for k in range(10)],
                "gold": {f"d{i}.md": {"grade": 1, "rank": 1, "indexed": True}},
                "scores": {
                    name: {"value": float(column[i]), "reason": None, "version": "1"}
                    for name, column in of.scores.items()},
                "stages_ms": {"embed": 2.7, "retrieve": 2.1, "synthesize": 4.0}, "latency_ms": 8.8,
                "input_tokens": 100, "output_tokens": 20, "fingerprint": f"{i:016x}"}) + "\\n")
GATE = [GateLimit(metric=name, max_drop=0.01) for name in NAMES]
def peak():
    status = Path("/proc/self/status")
    if status.exists():  # where a process's own figure would be at least its parent's
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / (1 << 10)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
def told(began):
    print(time.process_time() - began, peak())
"""
_COMPARE = """
a, b = side(1, DETERMINISTIC), side(2, DETERMINISTIC)
began = time.process_time()
compare(a, Measured(baseline=b), GATE)
told(began)
"""
_PARSE = """
text = Path("big.json").read_text()
began = time.process_time()
baseline.parse(text, "big.json")
told(began)
"""
_RECORDS = """
began = time.process_time()
sides = []
for name in ("a.jsonl", "b.jsonl"):
    header, results = records.stream(Path(name), "big")
    sides.append(baseline.measure("big", results, header["evalsets"]["big"]))
compare(sides[0].baseline, sides[1], GATE)
told(began)
"""
_EXACT = """
sample = np.random.default_rng(1).normal(0, 1, 20)
stats.sign_flip_test(sample)
began = time.process_time()
for _ in range(20):
    stats.sign_flip_test(sample)
told(began)
"""


def _run(code: str, folder: Path) -> tuple[float, float]:
    """Return seconds of processor time and the peak of memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", _SETUP + code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, mib = done.stdout.split()
    return float(seconds), float(mib)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a baseline and two run records of 100,000 cases."""
    path = tmp_path_factory.mktemp("big")
    made = 'record("a.jsonl", 1); record("b.jsonl", 2)\n'
    made += 'Path("big.json").write_text(baseline.text_of(side(1))); told(0)'
    _run(made, path)
    return path


def test_gate(row, folder: Path) -> None:
    """Compare and decide, read a baseline, and compare two run records."""
    for what, code, target in (
        ("compare, tested", _COMPARE.replace("DETERMINISTIC", "False"), "≤ 5 s, ≤ 1024 MiB"),
        ("compare, deterministic", _COMPARE.replace("DETERMINISTIC", "True"), "≤ 5 s, ≤ 1024 MiB"),
        ("read a baseline", _PARSE, ""),
        ("two run records, streamed, and compare", _RECORDS, "≤ 1024 MiB"),
    ):
        seconds, mib = _run(code, folder)
        row(f"100,000 cases x 6: {what}", f"{seconds:.1f} s, {mib:.0f} MiB", target)
    seconds, _ = _run(_EXACT, folder)
    row("exact test of 20 differences", f"{seconds / 20 * 1000:.1f} ms", "≤ 50 ms")
