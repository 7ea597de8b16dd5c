"""`pytest-rag aa`: what unchanged code shows, what is kept of it, what the gate makes of it."""

from __future__ import annotations

import json

import pytest

COUNTING = """
    import pathlib

    CASES = ["q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7"]

    def build():
        # Each process is one run; the first fails no case, the next one, the third two.
        counter = pathlib.Path("runs.txt")
        number = int(counter.read_text()) if counter.exists() else 0
        counter.write_text(str(number + 1))
        failing = CASES[: number % 3]
        return lambda query: {
            "answer": "six" if query in failing else "five",
            "retrieved": [{"id": "a.md", "score": 1.0, "text": query}],
        }
"""
QUERIES = [f"q{n}" for n in range(8)]


@pytest.fixture
def counted(project):
    """A project whose runs differ in a known way, with an accepted baseline."""
    project.write("my_rag.py", COUNTING)
    gate = "gate: {passed.rate: {max_drop: 0.1}, R@5: {max_drop: 0.02}}\n"
    project.evalset("hr", "build", *QUERIES, extra=gate)
    assert project("run", "hr.rag.yaml", "--update").exit_code == 0
    return project


def baseline(project):
    """Return what is in the baseline's file."""
    return json.loads((project.path / "baselines/hr.json").read_text(encoding="utf-8"))


def test_the_floor_is_stored_and_the_gate_refuses_what_lies_under_it(counted):
    """Means 1, 0.875 and 0.75: s = 0.125, floor 2.92 x 1.414 x 0.125, up to 0.52."""
    (counted.path / "runs.txt").unlink()
    before = baseline(counted)
    measured = counted("aa", "hr.rag.yaml", "--runs", "3")
    assert measured.exit_code == 0, measured.output
    after = baseline(counted)
    noise = after["noise"]
    assert after == {**before, "noise": noise}
    assert (noise["passed"], noise["R@5"]) == (0.52, 0.0)
    lines = {line.split()[0]: line.split() for line in measured.stdout.splitlines() if line}
    assert lines["passed"][1:] == ["0.875", "0.2500", "17", "%", "0.52", "8"]
    assert lines["R@5"][1:] == ["1.000", "0.0000", "0", "%", "0", "8"]
    assert "p50" in measured.stdout
    assert "passed: max_drop 0.100 lies under its floor" in measured.stdout.replace("\n", " ")
    assert "noise stored: baselines/hr.json. Commit it." in measured.stdout

    (counted.path / "runs.txt").write_text("0", encoding="utf-8")
    refused = counted("run", ".")
    assert refused.exit_code == 1
    assert "max_drop 0.1 lies under the noise of unchanged code, 0.52" in said(refused)
    file = counted.path / "hr.rag.yaml"
    file.write_text(file.read_text("utf-8").replace("max_drop: 0.1}", "max_drop: 0.52}"), "utf-8")
    (counted.path / "runs.txt").write_text("0", encoding="utf-8")
    assert counted("run", ".").exit_code == 0


def said(ran):
    """Return an output with its lines joined."""
    return " ".join(ran.stdout.split())


def test_without_a_baseline_nothing_is_run_and_the_command_is_named(project):
    """There is nowhere to keep a floor; what to type is told before anything is paid for."""
    project.write("my_rag.py", COUNTING)
    project.evalset("hr", "build", "q1")
    ran = project("aa", "hr.rag.yaml")
    assert ran.exit_code == 2
    assert "pytest-rag run hr.rag.yaml --update" in ran.stderr
    assert not (project.path / "runs.txt").exists()
    assert not (project.path / "baselines").exists()


def test_a_pipeline_that_breaks_is_3_and_stores_nothing(project):
    """Where nothing is measured there is no noise; the reason is told once."""
    project.evalset("hr", "good", "leave")
    project("run", ".", "--update")
    before = (project.path / "baselines/hr.json").read_bytes()
    project.evalset("hr", "exploding", "leave")
    ran = project("aa", "--runs", "3")
    assert ran.exit_code == 3
    assert "measured nothing of 'hr'. RuntimeError: the index is gone" in ran.stderr
    assert (project.path / "baselines/hr.json").read_bytes() == before


def test_two_runs_are_too_few(project):
    """A floor from two runs would be six times their distance: that is refused."""
    project.evalset("hr", "good", "leave")
    ran = project("aa", "--runs", "2")
    assert ran.exit_code == 2
    assert "greater than or equal to 3" in ran.stderr


PAID = """
    def build():
        usage = {"model": "acme", "input_tokens": 1000, "output_tokens": 0}
        return lambda query: {"answer": "five", "usage": usage}
"""
PRICES = "[tool.pytest-rag]\nprices = {acme = {input = 1, output = 1}}\n"


@pytest.mark.parametrize(
    ("limit", "status", "calls", "told"),
    [
        pytest.param("0.0065", 0, 6, "3 runs before it are whole", marks=pytest.mark.slow),
        ("0.0025", 3, 2, "Nothing was stored"),
    ],
)
def test_all_runs_share_a_ceiling(project, limit, status, calls, told):
    """A tenth of a cent a case, two cases a run: what it cannot pay for does not start."""
    project.write("my_rag.py", PAID)
    project.write("pyproject.toml", PRICES)
    project.evalset("hr", "build", "q1", "q2", extra="gate: {passed.rate: {max_drop: 0.1}}\n")
    assert project("run", "hr.rag.yaml", "--update").exit_code == 0
    ran = project("aa", "hr.rag.yaml", "--runs", "4", "--max-cost", limit)
    assert ran.exit_code == status, ran.output
    assert told in ran.output
    assert "the pipeline: --max-cost stopped" in ran.output
    shown = project("costs", "--json")
    assert json.loads(shown.stdout)["total"]["calls"] == 2 + calls
