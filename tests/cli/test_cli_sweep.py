"""`pytest-rag sweep`: what it recommends, what it refuses, and that nothing is asked twice."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter

import pytest

from pytest_rag import config
from pytest_rag import sweep as sweeps
from pytest_rag.files import lock

ENGINE = """
    import os, pathlib

    LOG = pathlib.Path(__file__).with_name("asked.txt")

    def build(skill=0.4, depth=5, mode="plain", colour="red"):
        if mode == "deep" and depth < 10:
            raise ValueError(f"deep takes a depth of at least 10, not {depth}")

        def answer(query):
            with LOG.open("a") as log:
                log.write(f"{skill} {depth} {mode} {colour} {query}\\n")
            hard = int(query[1:]) * 37 % 100 / 100
            rank = 0 if hard < skill else 3 if hard < skill + 0.3 else depth
            ids = [f"x{n}.md" for n in range(rank)] + ["a.md"]
            hits = [{"id": name, "score": 1 / (n + 1), "text": name} for n, name in enumerate(ids)]
            usage = {"model": "gpt-4o-mini", "input_tokens": 1000 * depth, "output_tokens": 100}
            return {"answer": "five", "retrieved": hits[:depth], "usage": usage}

        return answer
"""
SWEEP = """
    evalset: hr.rag.yaml
    objectives: nDCG@10
    trials: 12
    params:
      skill: {min: 0.1, max: 0.9, step: 0.1}
      depth: [5, 10]
      colour: [red, green]
"""
CASES = 60


@pytest.fixture
def swept(project):
    """A project whose pipeline is better with more skill and dearer with more depth."""
    project.write("my_rag.py", ENGINE)
    project.evalset("hr", "build", *[f"q{n}" for n in range(CASES)])
    project.write("hr.sweep.yaml", SWEEP)
    return project


def found(project, *args):
    """Run the sweep and return its report."""
    done = project("sweep", "hr.sweep.yaml", "--json", *args)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def asked(project):
    """Return how often each configuration was asked each question."""
    return Counter((project.path / "asked.txt").read_text().splitlines())


def test_the_better_parameters_are_found_and_proven(swept):
    """The most skill wins; what is worse stops early; a knob that does nothing is named."""
    told = found(swept)
    by_number = {each["number"]: each for each in told["candidates"]}
    best = by_number[told["recommended"]]
    assert best["params"]["skill"] == 0.9
    assert (told["verdict"]["word"], told["verdict"]["is_better"]) == ("better", True)
    row = told["verdict"]["rows"][0]
    assert row["p"] <= 0.05
    assert 0 < row["low"] < row["change"] < row["high"]
    states = Counter(each["state"] for each in told["candidates"])
    assert states["stopped"] >= 3
    assert states["complete"] >= 2
    assert [each["name"] for each in told["idle"]] == ["colour"]
    assert max(told["importance"], key=told["importance"].get) == "skill"
    assert told["recommended"] in told["frontier"]
    assert told["cases"] == {"search": 36, "heldout": 24}


def test_held_out_questions_are_asked_of_two_configurations_alone(swept):
    """The current and the recommended one; the search sees none of them."""
    told = found(swept)
    queries = Counter(line.split()[-1] for line in asked(swept))
    twice = [query for query, n in queries.items() if n == 2]
    assert len(twice) == told["cases"]["heldout"]
    assert max(asked(swept).values()) == 1


def test_everything_is_told_in_words(swept):
    """The terminal names the frontier, what changes, the evidence, and where the reports are."""
    done = swept("sweep", "hr.sweep.yaml")
    text = " ".join(done.stdout.replace("\xa0", " ").split())
    assert "36 cases searched with, 24 held out" in text
    assert "skill 0.9 (now 0.4)" in text
    assert "better on questions the search never saw." in text
    assert "colour changed nothing where it alone changed" in text
    assert "#0 the current configuration (skill=0.4 depth=5 colour=red): nDCG@10" in done.stderr
    folder = swept.path / ".pytest_rag/sweeps/hr"
    assert "| #0, current |" in (folder / "report.md").read_text(encoding="utf-8")
    record = next((folder / "candidates").glob("*.jsonl"))
    told = swept("report", str(record), "--format", "md")
    assert told.exit_code == 0, told.output


def test_the_same_again_asks_nothing_and_finds_the_same(swept):
    """A sweep that is over is told from its records."""
    first = found(swept)
    before = asked(swept)
    again = found(swept)
    assert asked(swept) == before
    assert again["asked"] == 0
    drop = ("asked", "took_s", "cost_usd")
    assert {k: v for k, v in again.items() if k not in drop} == {
        k: v for k, v in first.items() if k not in drop
    }


def test_a_killed_sweep_goes_on(swept):
    """No answer that was written is asked for again."""
    child = swept.start("sweep", "hr.sweep.yaml")
    until = time.monotonic() + 60
    while time.monotonic() < until and sum(asked_so_far(swept).values()) < 90:
        time.sleep(0.02)
    child.kill()
    child.communicate()
    before, kept = sum(asked(swept).values()), on_disk(swept)
    assert kept > 0
    told = found(swept)
    again = [line for line, n in asked(swept).items() if n > 1]
    assert len(again) <= before - kept
    assert max(asked(swept).values()) <= 2
    assert told["candidates"][told["recommended"]]["params"]["skill"] == 0.9


def test_an_interrupt_loses_no_answer_that_is_there(swept):
    """Ctrl-C while the first of 36 answers is written: the others are not paid for twice."""
    noticed = []

    def stop(result):
        noticed.append(result.case)
        if len(noticed) > 1:
            return
        until = time.monotonic() + 60
        while time.monotonic() < until and sum(asked(swept).values()) < 36:
            time.sleep(0.01)
        time.sleep(0.2)
        raise KeyboardInterrupt

    sweep = sweeps.load(swept.path / "hr.sweep.yaml")
    settings = config.load(swept.path)
    folder = sweeps.folder_of(sweep, swept.path)
    with pytest.raises(KeyboardInterrupt):
        sweeps.Sitting(sweep=sweep, config=settings, folder=folder, noticed=stop).run()
    assert len(noticed) == 36
    found(swept)
    assert max(asked(swept).values()) == 1


def on_disk(project):
    """Return how many answers were written; a line that was torn off is none."""
    folder = project.path / ".pytest_rag/sweeps/hr/candidates"
    lines = (line for path in folder.glob("*.jsonl") for line in path.read_text().splitlines(True))
    return sum(line.endswith("\n") and json.loads(line)["kind"] == "result" for line in lines)


def asked_so_far(project):
    """Return what was asked; nothing where nothing was."""
    return asked(project) if (project.path / "asked.txt").exists() else Counter()


def test_two_processes_find_what_one_finds(swept):
    """Proposals and decisions do not hang on how many are under way."""
    one = found(swept)
    two = found(swept, "--jobs", "2", "--out", "other")
    figures = [
        [(c["params"], c["state"], c["cases"], c["figures"]["nDCG@10"]) for c in told["candidates"]]
        for told in (one, two)
    ]
    assert figures[0] == figures[1]
    assert one["recommended"] == two["recommended"]


def test_an_invalid_combination_is_an_error_and_the_sweep_goes_on(swept):
    """It is told with its reason, and wins nothing."""
    with (swept.path / "hr.sweep.yaml").open("a") as file:
        file.write("  mode: [plain, deep]\n")
    told = found(swept)
    broke = [each for each in told["candidates"] if each["state"] == "error"]
    assert broke
    assert all(each["params"]["mode"] == "deep" and each["params"]["depth"] == 5 for each in broke)
    assert "deep takes a depth of at least 10" in broke[0]["reason"]
    assert told["recommended"] not in {each["number"] for each in broke}


def test_a_value_that_breaks_has_an_effect(swept):
    """`deep` answers as `plain` does, and breaks with a small depth: it is no idle knob."""
    text = SWEEP.replace("colour: [red, green]", "mode: [plain, deep]").replace("tpe", "grid")
    swept.write(
        "hr.sweep.yaml", text.replace("skill: {min: 0.1, max: 0.9, step: 0.1}", "skill: [0.4]")
    )
    told = found(swept)
    assert [each["state"] for each in told["candidates"]].count("error") == 1
    assert told["idle"] == []


def test_a_sweep_that_runs_is_left_alone(swept):
    """A second process of the same sweep says where the first one is."""
    folder = swept.path / ".pytest_rag/sweeps/hr"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as file:
        assert lock(file)
        done = swept("sweep", "hr.sweep.yaml")
    assert done.exit_code == 2
    assert "Another process runs this sweep" in done.stderr
    assert "--out FOLDER" in done.stderr
    assert not (swept.path / "asked.txt").exists()


def test_a_grid_takes_every_point(swept):
    """Six points, the current one among them."""
    swept.write(
        "hr.sweep.yaml",
        """
        evalset: hr.rag.yaml
        objectives: nDCG@10
        sampler: grid
        prune: false
        params: {skill: [0.4, 0.5, 0.6], depth: [5, 10]}
        """,
    )
    told = found(swept)
    points = [(each["params"]["skill"], each["params"]["depth"]) for each in told["candidates"]]
    assert points[0] == (0.4, 5)
    assert sorted(points) == [(s, d) for s in (0.4, 0.5, 0.6) for d in (5, 10)]
    assert {each["state"] for each in told["candidates"]} == {"complete"}


def test_several_objectives_have_a_frontier(swept):
    """Depth costs and brings nothing at rank 1: the frontier is the cheap depth alone."""
    swept.write(
        "hr.sweep.yaml",
        """
        evalset: hr.rag.yaml
        objectives: [R@10, cost_usd]
        sampler: nsga2
        trials: 20
        params: {skill: [0.2, 0.4, 0.9], depth: [3, 5, 10]}
        """,
    )
    told = found(swept)
    assert told["objectives"][1]["sign"] == -1
    points = {each["number"]: tuple(each["params"].values()) for each in told["candidates"]}
    front = {points[number] for number in told["frontier"]}
    assert points[told["recommended"]] == (0.9, 5)
    assert (0.9, 5) in front
    assert (0.9, 3) in front  # less is found, for less


def test_limits_are_kept(swept):
    """The most skill is out where its depth is too dear; a fall is held against the current one."""
    swept.write(
        "hr.sweep.yaml",
        """
        evalset: hr.rag.yaml
        objectives: R@10
        limits: {cost_usd.mean: 0.001, nDCG@10: {max_drop: 0.01}}
        sampler: grid
        params: {skill: [0.1, 0.4, 0.5], depth: [5, 10]}
        """,
    )
    told = found(swept)
    assert told["candidates"][told["recommended"]]["params"] == {"skill": 0.5, "depth": 5}
    assert any("cost_usd" in each["broken"] for each in told["candidates"])


# --- the ceiling --------------------------------------------------------------------------------


def test_a_ceiling_too_small_for_one_candidate_says_what_one_takes(swept):
    """Nothing is compared; what was paid counts when the sweep goes on with a higher one."""
    small = swept("sweep", "hr.sweep.yaml", "--max-cost", "0.01")
    assert small.exit_code == 3
    assert "does not pay for one candidate" in small.stderr
    assert "Raise --max-cost" in small.stderr
    paid = sum(asked(swept).values())
    assert paid * 0.00081 <= 0.01
    told = found(swept, "--max-cost", "0.3")
    assert max(asked(swept).values()) == 1
    assert told["verdict"] is not None
    costs = {"5": 0.00081, "10": 0.00156}
    assert sum(costs[line.split()[1]] for line in asked(swept)) <= 0.3


def test_a_ceiling_ends_the_search_and_leaves_enough_for_the_verdict(swept):
    """Some candidates, a verdict, and not a cent more."""
    told = found(swept, "--max-cost", "0.14")
    assert len(told["candidates"]) < 12
    assert any("the ceiling ended the search" in note for note in told["notes"])
    assert told["verdict"] is None or told["verdict"]["word"] != "unknown"
    costs = {"5": 0.00081, "10": 0.00156}
    assert sum(costs[line.split()[1]] for line in asked(swept)) <= 0.14


# --- apply --------------------------------------------------------------------------------------


def test_apply_writes_what_the_pipeline_reads(swept):
    """The evalset names the file, keeps its comments, and the next run uses the values."""
    path = swept.path / "hr.rag.yaml"
    text = path.read_text().replace("pipeline:", "# ours\npipeline:", 1)
    path.write_text(text, encoding="utf-8")
    done = swept("sweep", "hr.sweep.yaml", "--apply")
    assert done.exit_code == 0, done.output
    params = json.loads((swept.path / "hr.params.json").read_text(encoding="utf-8"))
    assert params["skill"] == 0.9
    named = "pipeline: {factory: my_rag:build, params_from: hr.params.json}"
    assert path.read_text() == text.replace("pipeline: my_rag:build", named)
    (swept.path / "asked.txt").unlink()
    assert swept("run", "hr.rag.yaml").exit_code == 0
    assert {line.split()[0] for line in asked(swept)} == {"0.9"}


def test_apply_is_refused_where_nothing_is_shown(swept):
    """Skill of 0.41 is no more than 0.4 on most questions; --force writes it all the same."""
    swept.write(
        "hr.sweep.yaml",
        """
        evalset: hr.rag.yaml
        objectives: nDCG@10
        sampler: grid
        params: {skill: [0.4, 0.42]}
        """,
    )
    refused = swept("sweep", "hr.sweep.yaml", "--apply")
    assert refused.exit_code == 1
    assert "Not applied" in refused.stderr
    assert not (swept.path / "hr.params.json").exists()
    forced = swept("sweep", "hr.sweep.yaml", "--apply", "--force")
    assert forced.exit_code == 0, forced.output
    assert json.loads((swept.path / "hr.params.json").read_text()) == {"skill": 0.42}


# --- what is refused ----------------------------------------------------------------------------


def test_what_is_wrong_in_the_file_is_told_with_its_place(swept):
    """Every problem at once, each with line, column and the nearest right word."""
    swept.write(
        "hr.sweep.yaml",
        """\
        evalset: hr.rag.yaml
        objective: nDCG@10
        params:
          skil: [0.1, 0.9]
          depth: {min: 5, mx: 10}
        sampler: tpee
        """,
    )
    done = swept("sweep", "hr.sweep.yaml")
    assert done.exit_code == 2
    assert "hr.sweep.yaml:2:1: Unknown key 'objective' in the file. Did you mean 'objectives'?" in (
        done.stderr
    )
    assert "hr.sweep.yaml:5:19: Unknown key 'mx'" in done.stderr
    assert "Did you mean 'max'?" in done.stderr
    assert "hr.sweep.yaml:6:10: 'sampler' must be 'tpe', 'random', 'grid' or 'nsga2'" in done.stderr


def test_a_parameter_that_the_factory_does_not_take_is_told(swept):
    """With the nearest it does, before anything is asked."""
    swept.write("hr.sweep.yaml", SWEEP.replace("skill:", "skil:"))
    done = swept("sweep", "hr.sweep.yaml")
    assert done.exit_code == 2
    assert "my_rag:build takes no parameter 'skil'. Did you mean 'skill'?" in done.stderr


def test_a_current_configuration_that_breaks_ends_it(project):
    """There is nothing to hold candidates against."""
    project.evalset("hr", "crashing", *[f"q{n}" for n in range(20)])
    project.write("hr.sweep.yaml", "evalset: hr.rag.yaml\nobjectives: RR\nparams: {k: [1, 2]}\n")
    text = (project.path / "my_rag.py").read_text().replace("def crashing()", "def crashing(k=1)")
    (project.path / "my_rag.py").write_text(text)
    done = project("sweep", "hr.sweep.yaml")
    assert done.exit_code == 3
    assert "no such shard" in done.stderr


def test_without_optuna_the_extra_is_named(swept, monkeypatch):
    """Nothing is asked."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = swept("sweep", "hr.sweep.yaml")
    assert done.exit_code == 2
    assert "pip install 'pytest-rag[sweep]'" in done.stderr
    assert not (swept.path / "asked.txt").exists()


def test_the_plan_asks_nothing(swept):
    """It tells candidates, cases and looks."""
    done = swept("sweep", "hr.sweep.yaml", "--plan")
    assert done.exit_code == 0, done.output
    assert "12 candidates of 36 points, tpe, nDCG@10" in done.stdout
    assert "cases: 36 searched with, 24 held out" in done.stdout
    assert not (swept.path / "asked.txt").exists()
