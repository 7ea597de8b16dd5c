"""One run in many processes: workers, shards merged in any order, and those that die."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from itertools import permutations

import pytest
from gate_project import CORPUS, evalset
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_rag.errors import ConfigError
from pytest_rag.sharding import Shard

KEYS = st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=3)), unique=True, max_size=40)


# --- the split ----------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=50)
@given(keys=KEYS, count=st.integers(1, 7), seed=st.randoms(use_true_random=False))
def test_every_case_is_in_one_shard(keys, count, seed):
    """Each shard sees the cases in another order, and they agree; sizes differ by one at most."""
    parts = []
    for number in range(1, count + 1):
        seed.shuffle(keys)
        parts.append(Shard(number=number, count=count).share(keys))
    assert sorted(key for part in parts for key in part) == sorted(keys)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@settings(deadline=None, derandomize=True, max_examples=50)
@given(times=st.lists(st.floats(0.1, 1000), min_size=1, max_size=40), count=st.integers(1, 5))
def test_recorded_times_balance_the_shards(times, count):
    """No shard is longer than the average and one case (Graham's bound)."""
    known = {("set", str(n)): t for n, t in enumerate(times)}
    shards = [Shard(number=n, count=count).share(list(known), known) for n in range(1, count + 1)]
    loads = [sum(known[key] for key in shard) for shard in shards]
    assert max(loads) <= sum(times) / count + max(times) + 1e-6


@pytest.mark.parametrize("text", ["", "0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3", "1.0/2"])
def test_what_is_no_shard(text):
    """One sentence that shows the form."""
    with pytest.raises(ConfigError, match="such as 1/3"):
        Shard.parse(text)


# --- the same in every way ----------------------------------------------------------------------


def shards(project, count: int, *options: str) -> list[str]:
    """Run all shards and return their records."""
    names = []
    for number in range(1, count + 1):
        names.append(f"shard{number}.jsonl")
        project.pytest("-q", f"--rag-shard={number}/{count}", f"--rag-out={names[-1]}", *options)
    return names


def words(verdict: dict) -> list[tuple]:
    """Return what was decided of each metric, and what moved."""
    found = verdict["comparison"]
    metrics = [(m["metric"], m["verdict"], m["base"], m["head"]) for m in found["metrics"]]
    return [verdict["bad"], *metrics, sorted(c["case"] for c in found["changes"])]


def test_one_process_workers_and_shards_decide_alike(project):
    """Byte-identical baselines, and the same verdict on a worse pipeline."""
    ways = {"one": ("-q",), "n0": ("-q", "-n0"), "n2": ("-q", "-n2")}
    written, decided = {}, {}
    for way, args in ways.items():
        project.baseline.unlink(missing_ok=True)
        project.settings()
        project.pytest(*args)
        written[way] = project.baseline.read_bytes()
        project.settings(top_k=1)
        project.pytest(*args, f"--rag-out={way}.jsonl")
        decided[way] = words(project.verdict(f"{way}.jsonl"))
    project.baseline.unlink()
    project.settings()
    names = shards(project, 3)
    assert not project.baseline.exists()
    for order in permutations(names):
        project.baseline.unlink(missing_ok=True)
        assert project.cli("merge", *order, "-o", "whole.jsonl").exit_code == 0
        written["".join(order)] = project.baseline.read_bytes()
    project.settings(top_k=1)
    worse = shards(project, 3)
    texts = set()
    for order in permutations(worse):
        assert project.cli("merge", *order, "-o", "whole.jsonl").exit_code == 1
        decided["".join(order)] = words(project.verdict("whole.jsonl"))
        texts.add((project.path / "whole.jsonl").read_bytes())
    assert len(texts) == 1
    assert len(set(written.values())) == 1
    assert all(each == decided["one"] for each in decided.values())


def test_a_shard_judges_its_cases_and_not_the_set(accepted):
    """Limits of the set wait for the merge; a hard break does not; it is no whole run."""
    corpus = {**CORPUS, "leave.md": "unused vacation days: none"}
    accepted.write("corpus.json", json.dumps(corpus))
    before = accepted.baseline.read_bytes()
    broke, complete = [], []
    for name in shards(accepted, 2):
        verdict = accepted.verdict(name)
        assert {gate["passed"] for gate in verdict["gates"]} == {None}
        assert "this is shard" in verdict["gates"][0]["reason"]
        assert verdict["comparison"]["metrics"] == []
        assert verdict["comparison"]["removed"] == []
        broke += verdict["comparison"]["broke"]
        head, *_, foot = map(json.loads, (accepted.path / name).read_text().splitlines())
        complete.append(foot["complete"])
        assert head["config"]["shard"].endswith("/2")
    assert broke == ["carry-over"]
    assert complete == [False, False]
    assert accepted.baseline.read_bytes() == before


def test_more_shards_than_cases(project):
    """The one that has nothing is green, and its record is not missed."""
    names = shards(project, 6)
    empty = [name for name in names if (project.path / name).read_text().count("\n") == 2]
    assert len(empty) == 2
    assert project.cli("merge", *names, "-o", "whole.jsonl").exit_code == 0
    assert len(project.accepted()["cases"]) == 4
    number = names.index(empty[0]) + 1
    assert project.pytest(f"--rag-shard={number}/6").ret == 0
    assert project.pytest(f"--rag-shard={number}/6", "-n2").ret == 0
    assert project.pytest(f"--rag-shard={number}/6", "-n2", "-k", "nothing").ret == 5


def test_the_command_line_splits_alike(project):
    """`pytest-rag run --shard` gives records that merge, and the same baseline."""
    project.pytest("-q")
    before = project.baseline.read_bytes()
    project.baseline.unlink()
    for number in (1, 2):
        out = f"s{number}.jsonl"
        assert project.cli("run", ".", "--shard", f"{number}/2", "--out", out).exit_code == 0
    assert project.cli("merge", "s2.jsonl", "s1.jsonl", "-o", "whole.jsonl").exit_code == 0
    assert project.baseline.read_bytes() == before


def test_recorded_times_are_taken_from_a_record(project):
    """The case that takes as long as all others has a shard of its own."""
    project.pytest("-q", "--rag-out=run.jsonl")
    lines = [json.loads(line) for line in (project.path / "run.jsonl").read_text().splitlines()]
    for line in lines:
        if line["kind"] == "result":
            line["latency_ms"] = 3000 if line["case"] == "rail" else 10
    project.write("times.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    names = shards(project, 2, "--rag-shard-times=times.jsonl")
    cases = [
        {json.loads(line).get("case") for line in (project.path / n).read_text().splitlines()}
        for n in names
    ]
    assert {"rail", None} in cases


def test_python_tests_are_split_too(project):
    """Tests that ask with the fixture run in one shard; others run in each."""
    project.write(
        "test_more.py",
        "import pytest, app\n\n"
        "@pytest.fixture\ndef rag_pipeline():\n    return app.build()\n\n"
        "@pytest.mark.parametrize('n', range(4))\n"
        "def test_asks(rag, n):\n    rag.ask(f'rail {n}')\n\n"
        "def test_other():\n    pass\n",
    )
    outcomes = [
        project.pytest("test_more.py", f"--rag-shard={n}/2").parseoutcomes() for n in (1, 2)
    ]
    assert [found["passed"] for found in outcomes] == [3, 3]
    assert [found["deselected"] for found in outcomes] == [2, 2]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--rag-shard=3/2", "such as 1/3"),
        ("--rag-shard=1/2 --rag-update", "A shard writes no baseline"),
        ("--rag-shard=1/2 --rag-shard-times=nowhere.jsonl", "cannot be read"),
    ],
)
def test_options_that_make_no_sense(project, option, said):
    """A usage error each."""
    result = project.pytest(*option.split())
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


# --- shards that do not belong together ---------------------------------------------------------

MADE: dict[str, str] = {}


@pytest.fixture
def parts(accepted):
    """The project with the records of its two shards."""
    if not MADE:
        MADE.update({name: (accepted.path / name).read_text() for name in shards(accepted, 2)})
    for name, text in MADE.items():
        accepted.write(name, text)
    return accepted


def changed(project, name: str, change) -> str:
    """Write a shard with another header, and return its name."""
    head, *rest = (project.path / name).read_text().splitlines()
    told = json.loads(head)
    change(told)
    project.write("other.jsonl", "\n".join([json.dumps(told), *rest]) + "\n")
    return "other.jsonl"


def refused(project, *names: str) -> str:
    """Merge, see that nothing was written, and return what was said."""
    before = project.baseline.read_bytes()
    done = project.cli("merge", *names, "-o", "whole.jsonl", "--update")
    assert done.exit_code == 2
    assert not (project.path / "whole.jsonl").exists()
    assert project.baseline.read_bytes() == before
    return done.output


def test_the_whole_has_reports(parts):
    """As a run has, of all cases together."""
    words = ("merge", "shard1.jsonl", "shard2.jsonl", "-o", "run.jsonl")
    assert parts.cli(*words, "--report", "json:r.json").exit_code == 0
    (told,) = json.loads((parts.path / "r.json").read_text())["evalsets"]
    assert len(told["cases"]) == 4
    wrong = parts.cli(*words, "--report", "htlm:r.html")
    assert (wrong.exit_code, "Did you mean 'html'?" in wrong.output) == (2, True)


def test_a_missing_shard(parts):
    """It says which."""
    assert "Shard 2/2 is missing" in refused(parts, "shard1.jsonl")


def test_shards_that_overlap(parts):
    """The same number twice, the same file twice, the same case in two."""
    (parts.path / "copy.jsonl").write_bytes((parts.path / "shard1.jsonl").read_bytes())
    assert "is there twice" in refused(parts, "shard1.jsonl", "copy.jsonl")
    assert "given twice" in refused(parts, "shard1.jsonl", "shard1.jsonl")
    other = changed(parts, "shard1.jsonl", lambda head: head["config"].update(shard="2/2"))
    assert "both hold case" in refused(parts, "shard1.jsonl", other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h: h.update(git={"commit": "abc", "dirty": False}), "different commits"),
        (lambda h: h["evalsets"]["handbook"]["fingerprint"].update(qrels="x"), "fingerprint"),
        (lambda h: h["config"].update(repeat=5), "different selections"),
        (lambda h: h["config"].update(shard="2/3"), "numbers of shards"),
        (lambda h: h["config"].update(shard="2 of 2"), "such as 1/3"),
        (lambda h: h["config"].pop("shard"), "is no shard"),
    ],
)
def test_shards_of_different_runs(parts, change, said):
    """Commits, fingerprints, options and numbers must agree."""
    assert said in refused(parts, "shard1.jsonl", changed(parts, "shard2.jsonl", change))


def test_a_shard_that_was_cut_short(parts):
    """A crash leaves no footer, an interrupt says so in it."""
    lines = (parts.path / "shard2.jsonl").read_text().splitlines()
    parts.write("other.jsonl", "\n".join(lines[:-1]) + "\n")
    assert "was cut short" in refused(parts, "shard1.jsonl", "other.jsonl")
    foot = json.dumps({**json.loads(lines[-1]), "cut_short": True})
    parts.write("other.jsonl", "\n".join([*lines[:-1], foot]) + "\n")
    assert "was cut short" in refused(parts, "shard1.jsonl", "other.jsonl")


def test_a_shard_cannot_be_accepted_or_overwritten(parts):
    """It is a part; the whole goes elsewhere."""
    assert "it is shard 1/2" in parts.cli("baseline", "accept", "shard1.jsonl").output
    done = parts.cli("merge", "shard1.jsonl", "shard2.jsonl", "-o", "shard1.jsonl")
    assert done.exit_code == 2
    assert (parts.path / "shard1.jsonl").read_text() == MADE["shard1.jsonl"]


# --- processes that die -------------------------------------------------------------------------


def test_a_worker_that_dies_loses_the_case_in_hand(project):
    """All others are in the record; no baseline is written of what is left."""
    dying = (
        (project.path / "app.py")
        .read_text()
        .replace('if query in self.settings.get("broken", ()):', 'if "lock" in query:')
    )
    project.write("app.py", f"import os\n{dying}".replace(OUTAGE, "os._exit(7)"))
    result = project.pytest("-n2", "--rag-out=run.jsonl")
    assert result.ret == 1
    lines = [json.loads(line) for line in (project.path / "run.jsonl").read_text().splitlines()]
    assert {line["case"] for line in lines if line["kind"] == "result"} == {
        "carry-over",
        "sick-note",
        "rail",
    }
    assert not lines[-1]["complete"]
    assert not project.baseline.exists()


OUTAGE = 'raise RuntimeError("the index is gone")'
WRITER = """
import sys
from pathlib import Path
from dataclasses import replace
from pytest_rag import baseline
path = Path(sys.argv[1])
old = baseline.read(path)
print("ready", flush=True)
turn = 0
while True:
    turn += 1
    baseline.write(path, replace(old, versions={"turn": str(turn)}))
"""


def test_a_kill_during_the_write_leaves_a_whole_file(accepted):
    """Killed at many moments, the file is always one that was written in full."""
    from pytest_rag import baseline

    pause = random.Random(3)
    cases = baseline.read(accepted.baseline).cases
    for _ in range(8):
        command = [sys.executable, "-c", WRITER, str(accepted.baseline)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
        assert process.stdout.readline() == "ready\n"
        time.sleep(pause.uniform(0.0, 0.05))
        process.kill()
        process.communicate()
        assert list(baseline.read(accepted.baseline).cases) == list(cases)


def test_a_kill_before_the_file_is_replaced_leaves_the_old_one(accepted):
    """It dies with the new text on disk and the old name not yet taken."""
    code = WRITER.replace(
        "turn = 0",
        "import os, signal\nos.replace = None\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\nturn = 0",
    )
    before = accepted.baseline.read_bytes()
    command = [sys.executable, "-c", code, str(accepted.baseline)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -9
    assert accepted.baseline.read_bytes() == before
    assert accepted.pytest("-q").ret == 0


def test_repeats_are_merged_as_one_process_has_them(project):
    """Three runs of each case, in two shards: the same baseline."""
    project.write("handbook.rag.yaml", "defaults: {repeat: 3}\n" + evalset())
    project.pytest("-q")
    before = project.baseline.read_bytes()
    project.baseline.unlink()
    assert project.cli("merge", *shards(project, 2), "-o", "whole.jsonl").exit_code == 0
    assert project.baseline.read_bytes() == before
