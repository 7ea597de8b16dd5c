"""A recording is merged, pruned and kept when it is killed; budgets rest on what it measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from test_replay_kinds import MODELS

if TYPE_CHECKING:
    from pathlib import Path

APP = """
    import os
    from models import *

    def build():
        model = llm()

        def ask(query):
            if query == "die":
                os._exit(9)
            return model.complete(query).text

        return ask

    def engine():
        return index().as_query_engine(llm=llm(), similarity_top_k=1)
"""


def files(*cases: str, factory: str = "build") -> dict[str, str]:
    """Return a project whose cases ask what they are called."""
    lines = "".join(f"  - {{id: {case}, query: {case}}}\n" for case in cases)
    evalset = f"pipeline: app:{factory}\ncases:\n{lines}"
    return {"models.py": MODELS, "app.py": APP, "a.rag.yaml": evalset}


def test_a_part_is_recorded_and_the_rest_stays(played):
    """A selection replaces its own cases; only a complete recording prunes."""
    played.record(files("one", "two")).assert_outcomes(passed=2)
    before = {line["case"]: line for line in played.lines("a")}
    played.record(None, "-k", "one").assert_outcomes(passed=1)
    after = {line["case"]: line for line in played.lines("a")}
    assert after["two"] == before["two"]
    assert played.calls == 1
    played.record(files("two", "three"), "-k", "three").assert_outcomes(passed=1)
    assert [line["case"] for line in played.lines("a")] == ["one", "three", "two"]
    played.record(files("two", "three")).assert_outcomes(passed=2)
    assert [line["case"] for line in played.lines("a")] == ["three", "two"]
    assert not list(played.path.rglob("*.part"))


def test_a_failing_case_prunes_nothing(played):
    """What was recorded of it before stays: the provider may have had a bad day."""
    played.record(files("one", "two")).assert_outcomes(passed=2)
    played.record(files("one", "fail-500")).assert_outcomes(passed=1, errors=1)
    assert [line["case"] for line in played.lines("a")] == ["one", "two"]


def test_a_killed_recording_keeps_what_was_paid_for(played):
    """It replays as it is, and the next recording takes it in."""
    options = ("--rag-concurrency=1", "-p", "no:cacheprovider")
    played.record(files("one", "die"), *options, apart=True)
    assert not (played.path / "cassettes" / "a.jsonl").exists()
    (part,) = played.path.rglob("*.part")
    played.replay(None, "-k", "one").assert_outcomes(passed=1)
    assert part.exists()
    played.record(files("one", "two"), "-k", "two").assert_outcomes(passed=1)
    assert [line["case"] for line in played.lines("a")] == ["one", "two"]
    assert not part.exists()


def test_workers_record_into_one_cassette(played):
    """Each builds the pipeline and asks for a part of the cases."""
    names = [f"case{n}" for n in range(6)]
    done = played.record(files(*names, factory="engine"), "-n2", apart=True)
    done.assert_outcomes(passed=6)
    done.stdout.fnmatch_lines(["*cassette: */cassettes/a.jsonl (14 calls)*"])
    assert [line["case"] for line in played.lines("a") if line["kind"] == "chat"] == names
    assert not list(played.path.rglob("*.part"))
    played.replay().assert_outcomes(passed=6)


def test_the_file_does_not_depend_on_who_was_first(played):
    """Two recordings differ in nothing but latencies."""
    text = []
    for limit in ("1", "4"):
        played.record(files("b", "c", "a", factory="engine"), f"--rag-concurrency={limit}")
        lines = [{**line, "latency_ms": 0} for line in played.lines("a")]
        text.append(json.dumps(lines))
    assert text[0] == text[1]
    assert text[0].index('"case": "a"') < text[0].index('"case": "b"')


def test_budgets_rest_on_recorded_latency(played):
    """A replay is instantaneous, and its call took 300 ms: a budget of 200 is broken."""
    played.server.wait_s = 0.3
    played.record(files("one", factory="engine"), "--rag-out=run.jsonl").assert_outcomes(passed=1)
    limit = {"a.rag.yaml": "pipeline: app:engine\ncases:\n  - {id: one, query: one, checks: "}
    limit["a.rag.yaml"] += "{latency_ms: 200}}\n"
    played.replay(limit, "--rag-out=again.jsonl").assert_outcomes(failed=1)
    (live,), (again,) = played.results(), played.results("again.jsonl")
    assert again["latency_ms"] >= sum(call["latency_ms"] for call in live["calls"]) >= 600
    for stage in ("embed", "retrieve", "synthesize", "llm"):
        assert again["stages_ms"][stage] >= 300
    assert again["self_ms"]["synthesize"] < 300
    began = {stage: (start, ms) for _, stage, _, start, ms in again["spans"]}
    assert began["embed"][1] >= 300
    assert began["llm"][1] >= 300
    assert began["llm"][0] >= began["synthesize"][0] >= sum(began["retrieve"]) >= 300


def test_a_secret_in_a_prompt_is_recorded_nowhere(played, monkeypatch):
    """Neither the key of this run nor one in a text; the replay finds the call all the same."""
    secret = "sk-live-abcdefghijklmnopqrstuvwxyz"
    evalset = f"pipeline: app:build\ncases:\n  - {{id: a, query: {secret}}}\n"
    played.record({**files(), "a.rag.yaml": evalset}).assert_outcomes(passed=1)
    cassette = (played.path / "cassettes" / "a.jsonl").read_text(encoding="utf-8")
    assert secret not in cassette
    assert "[redacted]" in cassette
    played.replay().assert_outcomes(passed=1)


def test_python_tests_are_recorded_beside_their_file(played):
    """The `rag` fixture asks the cassette of its module, or of the evalset it is marked with."""
    test = """
        import pytest
        from app import build

        @pytest.fixture(scope="session")
        def rag_pipeline():
            return build()

        def test_it(rag):
            assert rag.ask("How many?").answer == "Five days."

        @pytest.mark.rag(evalset="a")
        def test_all(rag):
            assert rag.ask().answer == "Five days."
    """
    project = {**files("one", "two"), "test_app.py": test}
    played.record(project, "test_app.py").assert_outcomes(passed=3)
    assert [line["case"] for line in played.lines("test_app")] == ["test_it-1"]
    assert [line["case"] for line in played.lines("a")] == ["one", "two"]
    played.replay(None, "test_app.py").assert_outcomes(passed=3)


def test_a_fixture_serves_several_evalsets(played):
    """What building it asked of models is in the cassette of each."""
    fixture = """
        import pytest
        from app import engine

        @pytest.fixture(scope="session")
        def rag_pipeline():
            return engine()
    """
    case = "cases:\n  - {id: x, query: x}\n"
    project = {**files(), "conftest.py": fixture, "a.rag.yaml": case, "b.rag.yaml": case}
    played.record(project).assert_outcomes(passed=2)
    for name in ("a", "b"):
        assert len(played.lines(name)) == 4
        played.replay(None, f"{name}.rag.yaml").assert_outcomes(passed=1)


def test_the_mode_is_checked(played):
    """A typing error gets the nearest mode."""
    done = played.run_rag(files("one"), "--rag-mode=reply")
    done.stderr.fnmatch_lines(["*--rag-mode is live, record or replay, not 'reply'.*'replay'*"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("<<<<<<< HEAD", "*a.jsonl:2: this line is no recorded call. A merge left its conflict*"),
        ('{"key":"1"}', None),
        ("{}", None),
    ],
)
def test_a_broken_cassette_says_where(played, line, said):
    """A merge conflict or a line of something else."""
    played.record(files("one")).assert_outcomes(passed=1)
    path: Path = played.path / "cassettes" / "a.jsonl"
    head, *rest = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([head, line, *rest, ""]), encoding="utf-8")
    done = played.replay()
    if said is None:  # not asked for, so not read
        done.assert_outcomes(passed=1)
    else:
        done.assert_outcomes(errors=1)
        done.stdout.fnmatch_lines([said])


def test_a_newer_cassette_is_not_guessed_at(played):
    """The message says what to upgrade."""
    played.record(files("one")).assert_outcomes(passed=1)
    path: Path = played.path / "cassettes" / "a.jsonl"
    text = path.read_text(encoding="utf-8").replace('"schema_version":1', '"schema_version":2')
    path.write_text(text, encoding="utf-8")
    done = played.replay()
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*has schema_version 2; this pytest-rag reads 1*"])
