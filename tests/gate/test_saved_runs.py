"""Saved runs judged again: compare, gate, baseline accept, prune and show; nothing is asked."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from gate_project import CASES, evalset

RECORDS: dict[str, str] = {}
"""What the first run of each kind recorded, which is the same for every test."""

UNGATED = "{nDCG@10: 0.1}"


@pytest.fixture
def runs(accepted):
    """The project with two saved runs: a.jsonl as accepted, b.jsonl with one document each."""
    for name, top_k in (("a.jsonl", 3), ("b.jsonl", 1)):
        if name not in RECORDS:
            accepted.settings(top_k=top_k)
            accepted.pytest("-q", f"--rag-out={name}")
            RECORDS[name] = (accepted.path / name).read_text()
        accepted.write(name, RECORDS[name])
    accepted.write("app.py", "raise AssertionError('the pipeline was asked')\n")
    return accepted


# --- compare ------------------------------------------------------------------------------------


def test_compare_two_runs(runs):
    """Verdicts on quality, time and cost beside each other; worse is 1, better is 0."""
    worse = runs.cli("compare", "a.jsonl", "b.jsonl")
    assert worse.exit_code == 1
    assert "regressed  1.000 → 0.500" in worse.output
    assert "vacation.md: rank 2 → not retrieved" in worse.output
    for label in ("latency p50", "latency p95", "tokens in", "tokens out", "cost"):
        assert label in worse.output
    better = runs.cli("compare", "b.jsonl", "a.jsonl")
    assert better.exit_code == 0
    assert "improved" in better.output


def test_compare_as_json(runs):
    """The same as data, for scripts."""
    done = runs.cli("compare", "a.jsonl", "b.jsonl", "--json")
    assert done.exit_code == 1
    found = json.loads(done.output)["evalsets"]["handbook"]
    assert found["gated"]
    assert found["comparison"]["regressed"]
    assert found["base"]["latency_p95_ms"] > 0
    assert found["head"]["cost_usd"] is None


def test_compare_without_a_gate(project):
    """Nothing is gated, so nothing is decided: it is shown all the same, and is no failure."""
    project.write("handbook.rag.yaml", evalset(gate=UNGATED))
    project.pytest("-q", "--rag-out=a.jsonl")
    project.settings(top_k=1)
    project.pytest("-q", "--rag-out=b.jsonl")
    done = project.cli("compare", "a.jsonl", "b.jsonl")
    assert done.exit_code == 0
    assert "nothing is gated" in done.output
    assert "R@5" in done.output


def edited(project, name: str, change) -> None:
    """Change the header of a record."""
    head, *rest = (project.path / name).read_text().splitlines()
    told = json.loads(head)
    change(told)
    project.write(name, "\n".join([json.dumps(told, separators=(",", ":")), *rest]) + "\n")


def test_compare_tells_of_another_machine(runs):
    """Latency is then said to tell nothing of the code."""
    edited(runs, "b.jsonl", lambda head: head["machine"].update(cpus=1024))
    assert "machines differ" in runs.cli("compare", "a.jsonl", "b.jsonl").output


def test_runs_that_cannot_be_compared(runs):
    """Other evalsets, an empty run, no record: a sentence and exit status 2."""
    other = (runs.path / "b.jsonl").read_text().replace("handbook", "manual")
    runs.write("other.jsonl", other)
    done = runs.cli("compare", "a.jsonl", "other.jsonl")
    assert done.exit_code == 2
    assert "'handbook'" in done.output
    assert "'manual'" in done.output
    assert "no evalset in common" in done.output
    head = (runs.path / "b.jsonl").read_text().splitlines()[0]
    runs.write("empty.jsonl", head + "\n")
    assert runs.cli("compare", "a.jsonl", "empty.jsonl").exit_code == 2
    assert runs.cli("compare", "a.jsonl", "nowhere.jsonl").exit_code == 2
    runs.write("both.jsonl", "".join((runs.path / n).read_text() for n in ("a.jsonl", "b.jsonl")))
    assert "is a second header" in runs.cli("compare", "a.jsonl", "both.jsonl").output


def test_it_runs_where_llama_index_is_not_installed(runs):
    """Compare, gate and show import none of it."""
    code = (
        "import sys\nsys.modules['llama_index'] = sys.modules['llama_index.core'] = None\n"
        "from pytest_rag.cli import app\n"
        "for words in (['compare', 'a.jsonl', 'a.jsonl'], ['gate', 'a.jsonl'],"
        " ['baseline', 'show']):\n"
        "    try:\n        app(words)\n"
        "    except SystemExit as done:\n        assert not done.code\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=runs.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# --- gate ---------------------------------------------------------------------------------------


def test_gate_judges_a_saved_run_again(runs):
    """Red as the run was; green against none, and with limits that allow it."""
    assert runs.cli("gate", "b.jsonl").exit_code == 1
    assert runs.cli("gate", "b.jsonl", "--baseline", "none").exit_code == 0
    assert runs.cli("gate", "a.jsonl").exit_code == 0
    lax = evalset(gate="{R@5: {max_drop: 0.9}}")
    runs.write("lax.rag.yaml", "evalset: handbook\n" + lax)
    done = runs.cli("gate", "b.jsonl", "--evalset", "lax.rag.yaml", "--baseline", "a.jsonl")
    assert done.exit_code == 0
    assert "weakened: gate: R@5.mean max_drop went from 0.02 to 0.9" in done.output


def test_gate_takes_limits_from_the_record_where_the_file_is_gone(runs):
    """It says so."""
    (runs.path / "handbook.rag.yaml").unlink()
    done = runs.cli("gate", "b.jsonl")
    assert done.exit_code == 1
    assert "judged by the limits of the record" in done.output


def test_gate_computes_from_the_recorded_answer_and_ranking(runs):
    """New phrases, other gold, another cutoff, a budget: no call is needed."""
    cases = [
        (
            "{id: carry-over, query: unused vacation days, relevant: [leave.md], checks: "
            "{contains: carry, R@1: 1, P@1: 1, latency_ms: 60000, regex: '^five', calls: 0}}"
        ),
        *CASES[1:],
    ]
    runs.write("handbook.rag.yaml", evalset(*cases, gate="{RR: 0.1}"))
    good = runs.cli("gate", "b.jsonl", "--baseline", "none")
    assert good.exit_code == 0, good.output
    runs.write("handbook.rag.yaml", evalset(*cases, gate="{RR: 0.1}").replace("carry,", "lost,"))
    bad = runs.cli("gate", "b.jsonl", "--baseline", "none")
    assert bad.exit_code == 1
    assert "lacks 'lost'" in bad.output


def test_a_rejudged_ranking_is_what_a_run_would_have_measured(accepted):
    """Metrics that were not recorded are the same from the record as from the pipeline."""
    accepted.write("handbook.rag.yaml", evalset(gate="{RR: 0.1}"))
    accepted.pytest("-q", "--rag-out=lean.jsonl", "--rag-baseline=none")
    names = "{AP: 0.1, nDCG@2: 0.1, R@1: 0.1, P@3: 0.1, Judged@3: 0.1, Rprec: 0.1}"
    accepted.write("handbook.rag.yaml", evalset(gate=names))
    accepted.pytest("-q", "--rag-out=full.jsonl", "--rag-baseline=none")
    gates = [
        {line for line in done.output.splitlines() if "passed:" in line}
        for done in (
            accepted.cli("gate", name, "--baseline", "none")
            for name in ("lean.jsonl", "full.jsonl")
        )
    ]
    assert len(gates[0]) == 6
    assert gates[0] == gates[1]


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("query: rail travel agency", "query: which trains", "another question"),
        ("[travel.md, hotel.md]", "['travel.md#booking']", "more than documents"),
    ],
    ids=["question", "section"],
)
def test_what_the_record_cannot_tell_is_an_error(runs, before, now, said):
    """It says so, and how to measure it; no zero is made up."""
    text = evalset().replace(before, now).replace("id: rail,", "id: rail, checks: {R@5: 0.1},")
    runs.write("handbook.rag.yaml", text)
    done = runs.cli("gate", "b.jsonl", "--baseline", "none", "-v")
    output = " ".join(done.output.split())
    assert done.exit_code == 1
    assert "1 error" in output
    assert said in output
    assert "pytest-rag run handbook.rag.yaml --case rail" in output


def test_groundedness_is_reused_and_never_computed_without_the_texts(runs):
    """A record holds no texts of nodes."""
    runs.write("handbook.rag.yaml", evalset(gate="{groundedness: 0.5}"))
    assert runs.cli("gate", "b.jsonl", "--baseline", "none").exit_code == 0
    record = (runs.path / "b.jsonl").read_text().replace('"groundedness"', '"something"')
    runs.write("b.jsonl", record)
    done = runs.cli("gate", "b.jsonl", "--baseline", "none")
    assert done.exit_code == 1
    assert "4 of 4 cases could not be measured" in done.output


def test_gate_drops_cases_that_are_no_longer_declared(runs):
    """They are named, and told to be removed from the evalset."""
    runs.write("handbook.rag.yaml", evalset(*CASES[1:]))
    done = runs.cli("gate", "a.jsonl")
    assert "handbook no longer declares carry-over." in done.output
    assert "removed from the evalset: carry-over" in done.output


def test_gate_accepts_nothing(runs):
    """Without a baseline it is red, says how to accept one, and writes none."""
    runs.baseline.unlink()
    done = runs.cli("gate", "a.jsonl")
    assert done.exit_code == 1
    assert "pytest-rag baseline accept a.jsonl" in done.output
    assert not runs.baseline.exists()


def test_gate_of_a_run_that_measured_nothing(project):
    """Exit status 3, as of the run itself."""
    queries = ["unused vacation days", "sick note third", "rail travel agency", "lock laptop"]
    project.settings(broken=queries)
    project.pytest("-q", "--rag-out=run.jsonl")
    assert project.cli("gate", "run.jsonl", "--baseline", "none").exit_code == 3


def test_gate_of_a_run_that_was_cut_short(runs):
    """What it measured is judged, but a run that was killed does not pass."""
    lines = (runs.path / "a.jsonl").read_text().splitlines(keepends=True)
    runs.write("torn.jsonl", "".join(lines[:3]))
    done = runs.cli("gate", "torn.jsonl")
    assert done.exit_code == 1
    assert "was cut short" in done.output
    assert "unchanged" in done.output


def test_gate_with_the_wrong_evalset(runs):
    """It names what the record holds."""
    runs.write("handbok.rag.yaml", evalset())
    done = runs.cli("gate", "b.jsonl", "--evalset", "handbok.rag.yaml")
    assert done.exit_code == 2
    assert "Did you mean 'handbook'?" in done.output


# --- baseline -----------------------------------------------------------------------------------


def test_accept_writes_what_the_run_would_have(runs):
    """Byte for byte; only the new ones where that is asked for."""
    before = runs.baseline.read_bytes()
    assert runs.cli("baseline", "accept", "b.jsonl", "--only-new").exit_code == 0
    assert runs.baseline.read_bytes() == before
    assert runs.cli("baseline", "accept", "b.jsonl").exit_code == 0
    assert runs.accepted()["cases"]["rail"]["scores"]["R@5"] == 0.5
    runs.baseline.unlink()
    assert "Commit it" in runs.cli("baseline", "accept", "a.jsonl").output
    assert runs.baseline.read_bytes() == before


@pytest.mark.parametrize("how", ["selection", "error", "crash"])
def test_accept_refuses_a_run_in_part(accepted, how):
    """It says why; with --partial the measured cases are taken over, and the rest stays."""
    before = accepted.accepted()["cases"]
    accepted.settings(top_k=1, broken=["sick note third"] if how == "error" else [])
    accepted.pytest("-q", "--rag-out=run.jsonl", *(["-k", "rail"] if how == "selection" else []))
    if how == "crash":
        lines = (accepted.path / "run.jsonl").read_text().splitlines()[:-1]
        accepted.write("run.jsonl", "\n".join(lines) + "\n")
    refused = accepted.cli("baseline", "accept", "run.jsonl")
    said = {"selection": "only a part", "error": "could not be measured: sick-note"}
    assert refused.exit_code == 2
    assert said.get(how, "cut short") in refused.output
    assert accepted.accepted()["cases"] == before
    assert accepted.cli("baseline", "accept", "run.jsonl", "--partial").exit_code == 0
    after = accepted.accepted()["cases"]
    assert after["rail"]["scores"]["R@5"] == 0.5
    assert after.keys() == before.keys()
    if how == "error":
        assert after["sick-note"] == before["sick-note"]


def test_accept_warns_where_the_evalset_changed_since(runs):
    """The scores are of other questions or gold."""
    runs.write(
        "handbook.rag.yaml", evalset().replace("relevant: [sick.md,", "relevant: [leave.md,")
    )
    done = runs.cli("baseline", "accept", "b.jsonl")
    assert done.exit_code == 0
    assert "warning: gold of handbook.rag.yaml changed since this run" in done.output


def test_prune_drops_what_is_gone_and_says_which(runs):
    """Twice is the same as once; without a baseline there is nothing to prune."""
    runs.write("handbook.rag.yaml", evalset(*CASES[1:]))
    done = runs.cli("baseline", "prune", "handbook.rag.yaml")
    assert "removed carry-over" in done.output
    assert "carry-over" not in runs.accepted()["cases"]
    assert "nothing to remove" in runs.cli("baseline", "prune", ".").output
    runs.baseline.unlink()
    assert runs.cli("baseline", "prune", "handbook.rag.yaml").exit_code == 2


def test_show(runs):
    """All, one by name, one by file, one case; a wrong name or case gets the nearest."""
    for words in ([], ["handbook"], ["baselines/handbook.json"], ["handbook.rag.yaml"], ["."]):
        done = runs.cli("baseline", "show", *words)
        assert done.exit_code == 0
        assert "4 cases" in done.output
        assert "R@5.mean: max_drop 0.020" in done.output
    one = runs.cli("baseline", "show", "--case", "carry-over")
    assert "vacation.md (grade 1): rank 2" in one.output
    wrong = runs.cli("baseline", "show", "--case", "carry-ovr")
    assert wrong.exit_code == 2
    assert "Did you mean 'carry-over'?" in wrong.output
    assert "Did you mean 'handbook'?" in runs.cli("baseline", "show", "handbok").output
    for file in ("app.py", "a.jsonl"):
        other = runs.cli("baseline", "show", file)
        assert other.exit_code == 2
        assert "is no baseline's file" in other.output
