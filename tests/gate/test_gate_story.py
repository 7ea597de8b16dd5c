"""The life of a baseline: written, held, broken, accepted; in part; after edits."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
from gate_project import CASES, CORPUS, evalset


def test_the_first_local_run_writes_the_baseline_and_the_second_is_unchanged(project):
    """Sorted, one case a line; asks to commit it; then every metric is unchanged."""
    first = project.pytest()
    assert first.ret == 0
    first.stdout.fnmatch_lines(["baseline written: baselines/handbook.json (4 cases). Commit it."])
    lines = project.baseline.read_text().splitlines()
    ids = [line.split('"')[1] for line in lines if line.startswith("    ")]
    assert ids == ["carry-over", "locking", "rail", "sick-note"]
    before = project.baseline.read_bytes()
    again = project.pytest("--rag-out=run.jsonl")
    assert again.ret == 0
    again.stdout.fnmatch_lines(["*against baselines/handbook.json, deterministic*"])
    found = project.verdict()["comparison"]
    assert [m["verdict"] for m in found["metrics"]] == ["unchanged", "unchanged"]
    assert project.baseline.read_bytes() == before


def test_a_regression_is_red_and_names_the_lost_documents(accepted):
    """From three documents to one: exit status 1, the second gold is told lost, with its rank."""
    accepted.settings(top_k=1)
    result = accepted.pytest("--rag-out=run.jsonl")
    assert result.ret == 1
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        ["*R@5*regressed  1.000 → 0.500*", "*vacation.md: rank 2 → not retrieved*"]
    )
    verdict = accepted.verdict()
    assert verdict["bad"]
    changed = {change["case"]: change["gold"] for change in verdict["comparison"]["changes"]}
    assert changed["carry-over"]["vacation.md"] == {
        "before": 2,
        "now": None,
        "lost": "not retrieved",
    }


def test_update_accepts_and_takes_no_path_for_its_value(accepted):
    """`pytest --rag-update FILE` runs that file, accepts what it measured and is green."""
    accepted.settings(top_k=1)
    result = accepted.pytest("--rag-update", "handbook.rag.yaml")
    assert result.ret == 0
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["baseline updated: baselines/handbook.json. Review it*"])
    assert accepted.accepted()["cases"]["carry-over"]["scores"]["R@5"] == 0.5
    assert accepted.pytest().ret == 0


def test_an_update_that_cannot_be_written_is_red(accepted, monkeypatch):
    """Nobody commits a baseline that is not there, and says that it was accepted."""
    from pytest_rag.baseline import file

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = accepted.baseline.read_text()
    monkeypatch.setattr(file, "write_atomically", full)
    accepted.settings(top_k=1)
    result = accepted.pytest("--rag-update", "--rag-out=run.jsonl")
    assert result.ret == 1
    said = "could not be written, so nothing changed: No space left on device"
    result.stdout.fnmatch_lines(f"*{said}*")
    for words, status in (("run . --update", 1), ("run .", 1), ("baseline accept run.jsonl", 2)):
        done = accepted.cli(*words.split())
        assert done.exit_code == status
        assert (said in done.output) is (words != "run .")
    assert accepted.baseline.read_text() == before


def test_update_new_adds_cases_and_leaves_the_others(accepted):
    """A fall of an old case stays red, and its line in the file stays as it was."""
    more = "{id: hotel, query: hotel ninety, relevant: [hotel.md]}"
    accepted.write("handbook.rag.yaml", evalset(*CASES, more))
    accepted.settings(top_k=1)
    result = accepted.pytest("--rag-update=new")
    assert result.ret == 1
    cases = accepted.accepted()["cases"]
    assert cases["hotel"]["scores"]["R@5"] == 1
    assert cases["carry-over"]["scores"]["R@5"] == 1


@pytest.mark.parametrize("option", ["-k=rail", "-x", "--lf"])
def test_a_partial_run_calls_nothing_removed_and_writes_nothing(accepted, option):
    """Of a selection, a stopped run, or the last failures only what ran is compared."""
    before = accepted.baseline.read_bytes()
    accepted.settings(broken=["unused vacation days"])
    assert accepted.pytest("-q").ret == 1  # for --lf to have something
    result = accepted.pytest("--rag-out=run.jsonl", *option.split("="))
    found = accepted.verdict()["comparison"]
    assert found["removed"] == []
    assert accepted.baseline.read_bytes() == before
    assert "removed from the evalset" not in result.stdout.str()


@pytest.mark.parametrize("option", ["-k=rail", "-x"])
def test_a_partial_first_run_writes_no_baseline(project, option):
    """It says why there is none yet."""
    project.settings(broken=["unused vacation days"])
    result = project.pytest(*option.split("="))
    assert not project.baseline.exists()
    result.stdout.fnmatch_lines(["*handbook has no baseline yet, and none was written:*"])


def test_a_first_run_with_errors_writes_no_baseline(project):
    """A case that broke would be missing from it for good."""
    project.settings(broken=["rail travel agency"])
    assert project.pytest().ret == 1
    assert not project.baseline.exists()


def test_update_of_a_part_keeps_the_rest(accepted):
    """`-k rail --rag-update` changes one line."""
    before = accepted.accepted()["cases"]
    accepted.settings(top_k=1)
    accepted.pytest("-k", "rail", "--rag-update")
    after = accepted.accepted()["cases"]
    assert after.pop("rail")["scores"]["R@5"] == 0.5
    assert after == {case: of for case, of in before.items() if case != "rail"}


def test_an_interrupt_writes_nothing(accepted):
    """Ctrl-C in the middle of a run that was to accept: the file is as it was."""
    before = accepted.baseline.read_bytes()
    slow = (accepted.path / "app.py").read_text() + (
        "\n    _call = Words.__call__\n".replace("    ", "") + "def _slow(self, query):\n"
        "    import time\n"
        "    if 'lock' in query:\n"
        "        (HERE / 'asked').touch()\n"
        "        time.sleep(60)\n"
        "    return _call(self, query)\n"
        "Words.__call__ = _slow\n"
    )
    accepted.write("app.py", slow)
    words = [sys.executable, "-m", "pytest", "--rag-update", "--rag-out=run.jsonl", "-q"]
    process = subprocess.Popen(words, cwd=accepted.path, stdout=subprocess.PIPE, text=True)
    while not (accepted.path / "asked").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "nothing was accepted" in text
    assert accepted.baseline.read_bytes() == before


# --- what must not go unseen --------------------------------------------------------------------


def run_again(accepted) -> tuple[str, dict]:
    """Run all, and return the text and the comparison."""
    result = accepted.pytest("--rag-out=run.jsonl")
    return result.stdout.str(), accepted.verdict()["comparison"]


def test_a_renamed_case_is_one_removed_and_one_added(accepted):
    """Both names stand in the text and in the record."""
    accepted.write("handbook.rag.yaml", evalset().replace("id: rail", "id: train"))
    text, found = run_again(accepted)
    assert (found["removed"], found["added"]) == (["rail"], ["train"])
    assert "removed from the evalset: rail" in text
    assert "not in the baseline yet: train" in text


def test_a_failing_case_cannot_be_deleted_unseen(accepted):
    """The case that would have been red is named as removed."""
    accepted.write("handbook.rag.yaml", evalset(*CASES[1:]))
    text, found = run_again(accepted)
    assert found["removed"] == ["carry-over"]
    assert "removed from the evalset: carry-over" in text


def test_a_lowered_floor_is_told(accepted):
    """Of the gate, of a case, and of the tolerance itself; a check that is gone too."""
    gate = "{nDCG@10: {min: 0.05, max_drop: 0.5}, R@5: {max_drop: 0.02}}"
    accepted.write("handbook.rag.yaml", evalset(gate=gate).replace("checks: {contains: five}", ""))
    text, found = run_again(accepted)
    weakened = " | ".join(found["weakened"])
    assert "gate: nDCG@10.mean min went from 0.1 to 0.05" in weakened
    assert "max_drop went from 0.02 to 0.5" in weakened
    assert 'carry-over: contains "five" min 1 is gone' in weakened
    assert "weakened: gate: nDCG@10.mean min" in text


@pytest.mark.parametrize(
    ("before", "now"),
    [("relevant: [sick.md, doctor.md]", "relevant: [sick.md]"), ("sick note third", "sick note")],
    ids=["gold", "question"],
)
def test_a_changed_case_is_not_compared(accepted, before, now):
    """Other gold or another question make other scores: it is named, and in no pair."""
    accepted.write("handbook.rag.yaml", evalset().replace(before, now))
    text, found = run_again(accepted)
    assert found["edited"] == ["sick-note"]
    assert {metric["pairs"] for metric in found["metrics"]} == {3}
    assert "gold changed, so not compared: sick-note" in text


def test_a_label_that_broke_is_no_miss_of_the_ranker(accepted):
    """A document is renamed: the gold is not in the index, which is red and said so."""
    renamed = {("holidays.md" if n == "vacation.md" else n): t for n, t in CORPUS.items()}
    accepted.write("corpus.json", json.dumps(renamed))
    text, found = run_again(accepted)
    assert found["unlabelled"] == ["carry-over"]
    assert found["broke"] == []
    assert accepted.verdict()["bad"]
    assert "the label broke, not the ranker" in " ".join(text.split())


def test_a_hard_break_is_red_by_itself(project):
    """A case that passed and fails is red, whatever the means say; it is named."""
    project.write("handbook.rag.yaml", evalset(gate="{RR: {max_drop: 0.9}}"))
    project.pytest()
    project.write("corpus.json", json.dumps({**CORPUS, "leave.md": "unused vacation days: none"}))
    result = project.pytest("--rag-out=run.jsonl")
    assert result.ret == 1
    assert project.verdict()["comparison"]["broke"] == ["carry-over"]
    result.stdout.fnmatch_lines(
        ["*passed before, fail now: carry-over*", "*carry-over  hard break*"]
    )


def test_a_case_that_broke_is_told_apart(accepted):
    """An accepted case that ends in an error is neither removed nor a zero in a mean."""
    accepted.settings(broken=["rail travel agency"])
    _, found = run_again(accepted)
    assert found["unmeasured"] == ["rail"]
    assert {m["pairs"] for m in found["metrics"]} == {3}


def test_without_a_max_drop_no_baseline_is_written(project):
    """A project that gates nothing gets no folder it did not ask for."""
    project.write("handbook.rag.yaml", evalset(gate="{nDCG@10: 0.1}"))
    assert project.pytest().ret == 0
    assert not project.baseline.parent.exists()


# --- files that cannot be used ------------------------------------------------------------------

SPOILT = {
    "conflict": (lambda t: f"<<<<<<< HEAD\n{t}=======\n{t}>>>>>>> topic\n", "merge conflict"),
    "truncated": (lambda t: t[: len(t) // 2], "truncated"),
    "newer": (lambda t: t.replace('"schema_version": 1', '"schema_version": 9'), "Upgrade"),
    "other": (lambda t: "[1, 2]\n", "is no baseline"),
    "nan": (lambda t: t.replace('"R@5": 1.0', '"R@5": NaN'), "is no baseline"),
    "rank": (lambda t: t.replace('"ranks": {', '"ranks": {"x.md": "first", '), "'ranks' of case"),
    "runs": (lambda t: t.replace('"runs": 1', '"runs": 0'), "passed 1 of 0 runs"),
    "noise": (lambda t: t.replace('"noise": {', '"noise": {"R@5": "low"'), "'noise' is not"),
    "key": (lambda t: t.replace('"noise": {', '"nose": {'), "'nose' is no part of it"),
    "case": (
        lambda t: json.dumps({**json.loads(t), "cases": {"rail": 7}}),
        "of case 'rail' is no mapping",
    ),
    "huge": (lambda t: t.replace('"runs": 1', f'"runs": {10**30}'), "is no baseline"),
}


WAYS = [*((how,) for how in SPOILT), ("conflict", "--rag-update"), ("conflict", "-n2")]


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_a_baseline_that_cannot_be_used(accepted, way):
    """Exit status 2, a sentence that says what to do, nothing asked, nothing written."""
    how, *options = way
    spoil, said = SPOILT[how]
    spoilt = spoil(accepted.baseline.read_text())
    accepted.baseline.write_text(spoilt)
    result = accepted.pytest("--rag-out=run.jsonl", *options)
    assert result.ret == 2
    assert said in " ".join(result.stdout.str().split())
    assert accepted.baseline.read_text() == spoilt
    assert not (accepted.path / "run.jsonl").exists()


def test_the_command_line_refuses_it_before_it_asks(accepted):
    """`pytest-rag run` says the same, with the same exit status."""
    accepted.baseline.write_text("<<<<<<< HEAD\n{}\n")
    ran = accepted.cli("run", "handbook.rag.yaml")
    assert ran.exit_code == 2
    assert "merge conflict" in ran.output


def test_the_gate_is_what_the_record_says(accepted):
    """The limits stand in the header, in the form that a baseline keeps them in."""
    accepted.pytest("--rag-out=run.jsonl")
    head = json.loads((accepted.path / "run.jsonl").read_text().splitlines()[0])
    assert head["evalsets"]["handbook"]["gate"]["R@5.mean"] == {"max_drop": 0.02}
