"""Cases that nobody has reviewed: shown, skipped, and in no figure."""

from __future__ import annotations

import json

PIPELINE = "def build():\n    return lambda query: 'five' if query != 'bad' else 1 / 0\n"
FILES = {
    "my.py": PIPELINE,
    "a.rag.yaml": """
        pipeline: my:build
        cases:
          - {id: good, query: q, checks: {contains: five}}
          - {id: draft, query: bad, checks: {contains: six}, reviewed: false, tags: [smoke]}
        gate: {passed.rate: 1}
        """,
    "b.rag.yaml": "pipeline: my:build\nreviewed: false\ncases: [{id: other, query: bad}]\n",
}


def test_a_draft_is_skipped_and_in_no_gate(run_rag, pytester):
    """The gate and the record are those of the reviewed cases; pytest says why one is skipped."""
    result = run_rag(FILES, "-rs", "--strict-markers", "--rag-out=r.jsonl")
    result.assert_outcomes(passed=1, skipped=2)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["SKIPPED * a.rag.yaml: not reviewed: look at it, write reviewed: true"]
    )
    record = [json.loads(x) for x in (pytester.path / "r.jsonl").read_text().splitlines()]
    assert [line["case"] for line in record if line["kind"] == "result"] == ["good"]
    assert record[0]["evalsets"].keys() == {"a"}
    assert record[0]["evalsets"]["a"]["cases"] == 1
    assert record[-1]["complete"]


def test_collecting_shows_drafts_as_such(run_rag):
    """They are listed, selected by their tags, and another kind of item."""
    shown = run_rag(FILES, "--collect-only")
    shown.stdout.fnmatch_lines(["*<RagItem good>", "*<DraftItem draft>", "*<DraftItem other>"])
    result = run_rag(FILES, "--collect-only", "-q", "-m", "smoke")
    result.stdout.fnmatch_lines(["a.rag.yaml::draft", "*1/3 tests collected*"])


def test_a_run_of_drafts_alone_is_not_green(run_rag):
    """Nothing was tested, as if nothing had been collected; other tests make it green."""
    assert run_rag(FILES, "b.rag.yaml").ret == 5
    assert run_rag(FILES, "b.rag.yaml", "-n2").ret == 5
    files = {**FILES, "test_x.py": "def test_x(): pass\n"}
    assert run_rag(files, "b.rag.yaml", "test_x.py").ret == 0


def test_a_flipped_case_runs(run_rag):
    """`reviewed: true` below a case of a file of drafts runs that case alone."""
    text = "pipeline: my:build\nreviewed: false\ncases:\n  - {id: other, query: bad}\n"
    text += "  - {id: mine, query: q, reviewed: true}\n"
    result = run_rag({**FILES, "b.rag.yaml": text}, "b.rag.yaml")
    result.assert_outcomes(passed=1, skipped=1)


def test_a_marked_test_gets_no_draft(run_rag):
    """`@pytest.mark.rag(evalset=…)` runs with the reviewed cases."""
    test = """
        import pytest

        @pytest.mark.rag(evalset="a")
        def test_it(rag):
            assert "five" in rag.ask().answer
        """
    run_rag({**FILES, "test_it.py": test}, "test_it.py").assert_outcomes(passed=1)


def test_the_plan_leaves_drafts_out(run_rag):
    """A draft costs nothing, so it is in no estimate."""
    result = run_rag(FILES, "a.rag.yaml", "--rag-plan")
    result.stdout.fnmatch_lines(["a: 1 case*"])
