"""A run as workflow commands: where the annotations of GitHub stand, and what they may say."""

from __future__ import annotations

from pathlib import Path

from report_parts import held, poisoned, result

from pytest_rag.report.reporters import REPORTERS, View
from pytest_rag.report.summary import summarise
from pytest_rag.types import Case, EvalSet


def annotated(*results, of=None, evalsets=()) -> list[str]:
    """Return the lines."""
    summary = summarise(results, {} if of is None else {"handbook": of})
    view = View(summary=summary, header={}, results=results).knowing(evalsets)
    return REPORTERS.get("github")(view).splitlines()


def placed(*cases: str) -> EvalSet:
    """Return an evalset whose cases stand at lines 10, 20 and so on."""
    path = Path("evalsets/handbook.rag.yaml").resolve()
    made = (
        Case(id=name, query="?", path=path, line=10 * n) for n, name in enumerate(cases, start=1)
    )
    return EvalSet(name="handbook", path=path, cases=tuple(made))


def test_cases_are_annotated_at_their_lines():
    """Failed and broken ones are errors; what was not run is a warning; the rest says nothing."""
    broke = {"type": "ValueError", "message": "no shard"}
    results = (
        result("good"),
        result("bad", outcome="failed"),
        result("broken", outcome="error", error=broke),
        result("keyless", outcome="not_run", error={"type": "KeyError", "message": "no key"}),
    )
    assert annotated(*results, evalsets=[placed("good", "bad", "broken", "keyless")]) == [
        "::error file=evalsets/handbook.rag.yaml,line=20,title=bad failed::contains 'six': not so",
        "::error file=evalsets/handbook.rag.yaml,line=30,title=broken broke::ValueError: no shard",
        "::warning file=evalsets/handbook.rag.yaml,line=40,title=keyless was not run::no key",
    ]


def test_a_place_that_is_not_known_is_left_out():
    """A Python test has no line in an evalset."""
    assert annotated(result("bad", outcome="failed")) == [
        "::error title=bad failed::contains 'six': not so"
    ]


def test_paths_start_where_the_repository_does(monkeypatch, tmp_path):
    """As GitHub wants them, wherever pytest was started."""
    monkeypatch.setenv("GITHUB_WORKSPACE", str(Path.cwd().parent))
    (line,) = annotated(result("bad", outcome="failed"), evalsets=[placed("bad")])
    assert f"file={Path.cwd().name}/evalsets/handbook.rag.yaml,line=10" in line


def test_no_more_than_github_shows():
    """Ten of a kind; the last one says what is left out."""
    lines = annotated(*(result(f"c{n}", outcome="failed") for n in range(30)))
    assert len(lines) == 10
    assert lines[-1] == "::error title=pytest-rag::… and 21 more annotations: see the report"


def test_what_is_said_of_a_case_ends_no_command():
    """Line ends, colons, commas and percent signs of strangers stay within their own command."""
    for found in poisoned():
        for line in annotated(found):
            assert line.startswith("::error title=")
            assert line.isprintable()
            fields, _, _ = line.removeprefix("::error ").partition("::")
            assert fields.count("=") == fields.count("title=") + fields.partition("=")[2].count("=")
    evil = "a::b,c=d%0A::error::\n::error title=x::y"
    (line,) = annotated(result(evil, outcome="failed"))
    assert "title=a%3A%3Ab%2Cc=d%250A%3A%3Aerror" in line


def test_what_is_red_as_a_whole_comes_first():
    """Then the cases that explain it, with the document that was lost."""
    lines = annotated(result("a"), of=held(), evalsets=[placed("a")])
    assert lines[0].startswith("::error file=evalsets/handbook.rag.yaml,title=handbook is red::")
    assert any("→" in line for line in lines if line.startswith("::warning")), lines
