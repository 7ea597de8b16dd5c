"""The project's own handbook, made worse: the build turns red and says what was lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

EVALSETS = Path(__file__).resolve().parents[2] / "evalsets"
CASES = ("carry-over", "dive-depth", "payday", "assembly-point", "probation-length")


@pytest.fixture
def handbook(pytester, monkeypatch):
    """A copy of the handbook with a gate on its fall, and what it reaches accepted."""
    import shutil

    for variable in ("CI", "GITHUB_ACTIONS"):
        monkeypatch.delenv(variable, raising=False)
    shutil.copytree(EVALSETS / "handbook", pytester.path / "handbook")
    text = (EVALSETS / "handbook.rag.yaml").read_text(encoding="utf-8")
    text = text[: text.index("\ngate:")] + "\ngate:\n  nDCG@10: {max_drop: 0.02}\n"
    path = pytester.path / "handbook.rag.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def verdict(pytester) -> dict:
    """Return the comparison that the record holds."""
    last = (pytester.path / "run.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    return json.loads(last)["verdicts"]["handbook"]["comparison"]


def test_fewer_documents_turn_the_build_red_by_name(handbook, run_rag, pytester) -> None:
    """``top_k`` from 5 to 1 is a regression, and the gold that went missing is named."""
    first = run_rag({}, str(handbook))
    first.stdout.fnmatch_lines(["*baseline written: *handbook.json (93 cases)*"])
    assert first.ret == 0
    text = handbook.read_text(encoding="utf-8")
    changed = text.replace("    corpus: handbook\n", "    corpus: handbook\n    top_k: 1\n")
    handbook.write_text(changed, encoding="utf-8")
    run = run_rag({}, str(handbook), "--rag-out=run.jsonl")
    assert run.ret == 1
    run.stdout.fnmatch_lines(
        [
            "*nDCG@10 *regressed*",
            "*gold lost *not retrieved*",
            "*core-time*",
            "*people/working-hours.md: rank 2*not retrieved*",
        ]
    )
    found = verdict(pytester)
    lost = {doc for case in found["changes"] for doc, of in case["gold"].items() if not of["now"]}
    assert {"people/working-hours.md", "pt/ferias.md", "finance/per-diem.md"} <= lost
    assert found["metrics"][0]["verdict"] == "regressed"
    assert found["unlabelled"] == []


def test_renamed_documents_break_labels_not_the_ranker(handbook, run_rag, pytester) -> None:
    """Where gold ids are gone from the index it says so, and blames no stage."""
    chosen = " or ".join(CASES)
    assert run_rag({}, str(handbook), "--rag-update").ret == 0
    folder = pytester.path / "handbook"
    (folder / "field/diving.md").rename(folder / "field/diving-jobs.md")
    run = run_rag({}, str(handbook), "-k", chosen, "--rag-out=run.jsonl")
    assert run.ret == 1
    run.stdout.fnmatch_lines(["*so the label broke, not the*", "*ranker: dive-depth*"])
    found = verdict(pytester)
    assert found["unlabelled"] == ["dive-depth"]
    assert found["broke"] == []
    assert found["removed"] == []
    (change,) = [case for case in found["changes"] if case["case"] == "dive-depth"]
    assert change["gold"]["field/diving.md"]["lost"] == "not in the index"
