"""`pytest-rag run`: exit status, selection, record, and what the person reads."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from pytest_rag import records


def test_everything_green_is_0(project):
    """All cases pass: exit status 0, and the summary on stdout."""
    project.evalset("hr", "good", "leave", "pay")
    ran = project("run", ".")
    assert ran.exit_code == 0
    assert "hr · 2 cases: 2 passed" in ran.stdout


def test_a_failed_check_is_1_and_says_why(project):
    """A case whose answer lacks what it must contain fails the run, with place and reason."""
    project.write(
        "hr.rag.yaml",
        """\
        pipeline: my_rag:good
        cases:
          - id: leave
            query: How long?
            checks: {contains: six}
          - {id: pay, query: How much?}
        """,
    )
    ran = project("run", "hr.rag.yaml")
    assert ran.exit_code == 1
    assert "leave: contains 'six': not so" in ran.stdout
    assert "hr.rag.yaml:3\n" in ran.stdout
    assert "contains 'six'" in ran.stdout
    assert "pytest-rag run hr.rag.yaml --case leave" in ran.stdout


def test_a_broken_limit_on_the_set_is_1(project):
    """Every case passes, but the mean of the set does not: the run is red."""
    extra = "gate: {R@5: 1, P@5: 0.9}\n"
    project.evalset("hr", "good", "leave", "pay", extra=extra)
    ran = project("run", ".")
    assert ran.exit_code == 1
    assert "FAILED: P@5 mean" in ran.stdout


def test_a_typo_is_2_with_file_line_and_column(project):
    """A problem in a file is told with its place, on stderr, and nothing is run."""
    project.write("a.rag.yaml", "cases:\n  - id: one\n    qeury: What?\n")
    project.write("b.rag.yaml", "caes: []\n")
    ran = project("run", ".")
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert "a.rag.yaml:3:5: " in ran.stderr
    assert "b.rag.yaml:1:1: " in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nowhere"], "'nowhere'"),
        (["my_rga.py"], "Did you mean 'my_rag.py'?"),
        (["my_rag.py"], ".rag.yaml"),
        (["empty"], "pytest-rag init"),
        (["hr.rag.yaml", "--case", "leaf"], "Did you mean 'leave'?"),
        (["hr.rag.yaml", "--tag", "smoke"], "tag 'smoke'"),
        (["hr.rag.yaml", "--repeat", "0"], "repeat"),
        (["hr.rag.yaml", "--out", "my_rag.py/run.jsonl"], "cannot be written"),
        (["hr.rag.yaml", "fixture.rag.yaml"], "rag_pipeline"),
        (["hr.rag.yaml", "other"], "both called 'hr'"),
    ],
)
def test_usage_errors_are_2_and_name_the_way_out(project, args, said):
    """What the person can mend is one message and exit status 2."""
    project.evalset("hr", "good", "leave")
    project.write("fixture.rag.yaml", "cases: [{id: one, query: What?}]\n")
    project.write("other/hr.rag.yaml", "pipeline: my_rag:good\ncases: [{id: one, query: What?}]\n")
    (project.path / "empty").mkdir()
    ran = project("run", *args)
    assert ran.exit_code == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.output


def test_wrong_configuration_is_2(project):
    """An unknown key in [tool.pytest-rag] names the nearest."""
    project.evalset("hr", "good", "leave")
    project.write("pyproject.toml", "[tool.pytest-rag]\nconcurency = 4\n")
    ran = project("run", ".")
    assert ran.exit_code == 2
    assert "'concurrency'" in ran.stderr


def test_a_factory_that_raises_leaves_the_other_evalset_alone(project):
    """One pipeline cannot be built: its cases are errors, the others are measured; 1."""
    project.evalset("broken", "exploding", "one", "two")
    project.evalset("whole", "good", "three")
    ran = project("run", ".", "--out", "run.jsonl")
    assert ran.exit_code == 1
    assert "whole · 1 case: 1 passed" in ran.stdout
    assert "broken · 2 cases: 2 errors" in ran.stdout
    assert ran.stdout.count("Traceback") == 1
    run = records.read(project.path / "run.jsonl")
    assert {r.case: r.outcome for r in run.results} == {
        "one": "error",
        "two": "error",
        "three": "passed",
    }


@pytest.mark.parametrize("factory", ["exploding", "leaving"])
def test_nothing_measured_is_3(project, factory):
    """The only pipeline cannot be built, or leaves Python: that is not green."""
    project.evalset("hr", factory, "leave")
    ran = project("run", ".")
    assert ran.exit_code == 3
    assert "nothing was measured" in ran.stdout


def test_a_missing_key_is_3_with_the_reason_once(project):
    """Without its key nothing is run; the name of the key stands there once."""
    project.evalset("hr", "keyless", "leave", "pay", "sick")
    ran = project("run", ".")
    assert ran.exit_code == 3
    assert ran.output.count("SOME_API_KEY") == 1
    assert "3 not run" in ran.stdout


def test_min_pass_decides_over_repeats(project):
    """A case that passes every other time is green where half of the repeats must pass."""
    project.write(
        "hr.rag.yaml",
        """\
        pipeline: my_rag:flaky
        defaults: {checks: {contains: five}, repeat: 4, min_pass: 2}
        cases: [{id: leave, query: How long?}]
        """,
    )
    ran = project("run", ".", "--concurrency", "1")
    assert ran.exit_code == 0, ran.output
    assert "4 runs" in ran.stdout


def test_a_warm_up_is_asked_and_does_not_count(project):
    """`--warmup 1` asks the first case once before; what is recorded is the second answer."""
    project.evalset("hr", "flaky", "leave")
    ran = project("run", ".", "--warmup", "1", "--out", "run.jsonl")
    assert ran.exit_code == 1
    assert [r.answer for r in records.read(project.path / "run.jsonl").results] == ["six"]


def test_tags_and_ids_select_over_several_files(project):
    """`--case` and `--tag` pick cases wherever they stand; the rest is not run."""
    project.evalset("hr", "good", "leave", "pay")
    project.evalset("it", "good", "wifi")
    ran = project("run", ".", "--case", "pay", "--out", "run.jsonl")
    assert ran.exit_code == 0
    run = records.read(project.path / "run.jsonl")
    assert [(r.evalset, r.case) for r in run.results] == [("hr", "pay")]
    assert not run.complete
    project("run", "hr.rag.yaml", "--out", "whole.jsonl")
    whole = records.read(project.path / "whole.jsonl")
    assert whole.complete
    assert run.header["evalsets"]["hr"] == whole.header["evalsets"]["hr"]


def test_a_selection_does_not_judge_the_whole(project):
    """Limits on the set are not held against a part of it."""
    project.evalset("hr", "good", "leave", "pay", extra="gate: {P@5: 0.9}\n")
    ran = project("run", ".", "--case", "pay")
    assert ran.exit_code == 0
    assert "not judged" in ran.stdout


def test_the_record_tells_what_was_run(project):
    """`--out` writes header, one result a run and footer; options and fingerprints are in it."""
    project.evalset("hr", "good", "leave", "pay")
    ran = project("run", "hr.rag.yaml", "--out", "deep/run.jsonl", "--repeat", "2")
    run = records.read(project.path / "deep/run.jsonl")
    assert "deep/run.jsonl" in ran.stdout.replace("\n", "")
    assert [r.key for r in run.results] == [
        ("hr", "leave", 0),
        ("hr", "leave", 1),
        ("hr", "pay", 0),
        ("hr", "pay", 1),
    ]
    assert run.complete
    facts = run.header["evalsets"]["hr"]
    assert facts["path"] == "hr.rag.yaml"
    assert (facts["mode"], facts["cases"], facts["concurrency"]) == ("live", 2, 4)
    assert facts["fingerprint"]["cases"]


def test_no_record_is_written_unasked(project):
    """Without `--out` a run leaves nothing behind."""
    project.evalset("hr", "good", "leave")
    before = {p.name for p in project.path.iterdir()}
    project("run", ".")
    assert {p.name for p in project.path.iterdir()} - before <= {"__pycache__"}


def test_configuration_is_found_from_a_folder_below(project, monkeypatch):
    """[tool.pytest-rag] of a folder above counts, and factories are found from there."""
    project.evalset("hr", "good", "leave")
    project.write("sub/pyproject.toml", "[project]\nname = 'x'\n")
    monkeypatch.chdir(project.path / "sub")
    ran = project("run", "../hr.rag.yaml", "--out", "run.jsonl")
    assert ran.exit_code == 0, ran.output
    run = records.read(project.path / "sub/run.jsonl")
    assert run.header["evalsets"]["hr"]["concurrency"] == 4


# --- the plan ---------------------------------------------------------------------------------


def test_the_plan_runs_nothing(project):
    """`--plan` counts cases and runs, builds no pipeline and writes no record."""
    project.evalset("hr", "exploding", "leave", "pay")
    shown = project("run", ".", "--plan", "--repeat", "3", "--out", "run.jsonl")
    assert shown.exit_code == 0
    assert "hr: 2 cases x 3 = 6 runs" in shown.stdout
    assert "unknown (no earlier record; give --out of one)" in shown.stdout
    assert not (project.path / "run.jsonl").exists()


def test_the_plan_estimates_from_an_earlier_record(project):
    """With the record of an earlier run, calls and cost are told, and the record stays."""
    project.evalset("hr", "paid", "leave", "pay")
    project("run", ".", "--out", "run.jsonl")
    before = (project.path / "run.jsonl").read_bytes()
    shown = project("run", ".", "--plan", "--repeat", "3", "--out", "run.jsonl")
    assert "about 6 calls, $0.0013" in shown.stdout
    assert (project.path / "run.jsonl").read_bytes() == before


# --- in a process of its own ------------------------------------------------------------------


def test_no_terminal_no_progress_bar(project):
    """Where stderr is no terminal, nothing is written to it."""
    project.evalset("hr", "good", "leave")
    process = project.start("run", ".")
    shown, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert "\x1b" not in shown


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_shows_a_progress_bar(project):
    """On a terminal stderr counts runs; stdout holds the summary alone."""
    import pty

    project.evalset("hr", "good", "leave", "pay")
    ours, theirs = pty.openpty()
    process = project.start("run", ".", stderr=theirs)
    shown, _ = process.communicate(timeout=60)
    os.close(theirs)
    bar = os.read(ours, 100_000).decode()
    os.close(ours)
    assert process.returncode == 0
    assert "2/2" in bar
    assert shown.startswith("hr · 2 cases")


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("earlier", [False, True])
def test_an_interrupt_keeps_what_is_there(project, earlier):
    """Ctrl-C: exit status 130; results are in the record, an earlier one is left as it is."""
    project.evalset("hr", "slow", "slow", "quick", "brisk")
    if earlier:
        project("run", ".", "--out", "run.jsonl", "--case", "quick")
        (project.path / "quick.asked").unlink()
        before = (project.path / "run.jsonl").read_bytes()
    process = project.start("run", ".", "--out", "run.jsonl")
    wait_for(project.path / "quick.asked", project.path / "brisk.asked")
    process.send_signal(signal.SIGINT)
    shown, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (130, "")
    assert "2 passed" in shown
    run = records.read(project.path / ("run.jsonl.part" if earlier else "run.jsonl"))
    assert {r.case: r.outcome for r in run.results} == {"quick": "passed", "brisk": "passed"}
    assert not run.complete
    if earlier:
        assert (project.path / "run.jsonl").read_bytes() == before


def wait_for(*paths):
    """Wait until the files are there, and a little longer for what follows them."""
    deadline = time.monotonic() + 50
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline, "the pipeline was never asked"
        time.sleep(0.05)
    time.sleep(0.5)
