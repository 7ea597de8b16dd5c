"""`rag_baseline`: figures of a Python test, held to those that were accepted of it."""

from __future__ import annotations

import json

import pytest

TEST = """
    import json, pathlib

    GIVEN = json.loads((pathlib.Path(__file__).parent / "given.json").read_text())

    def test_index(rag_baseline):
        rag_baseline.check(GIVEN["values"], **GIVEN.get("more", {}))
"""
BASELINE = "baselines/test_index.py.json"


@pytest.fixture
def figures(run_rag, pytester):
    """Run the test on figures: ``figures({"coverage": 0.8}, "--rag-update")``."""

    def run(values, *args: str, **more):
        (pytester.path / "given.json").write_text(json.dumps({"values": values, "more": more}))
        return run_rag({"test_index.py": TEST, "pytest.ini": "[pytest]"}, *args)

    return run


def test_a_number_is_held_as_it_is(figures, pytester):
    """The first run writes it; a fall beyond `max_drop` fails the test, until it is accepted."""
    first = figures({"coverage": 0.81})
    assert first.ret == 0
    first.stdout.fnmatch_lines("*baseline written: *test_index.py.json*")
    assert figures({"coverage": 0.80}, max_drop=0.02).ret == 0
    fell = figures({"coverage": 0.80})
    assert fell.ret == 1
    fell.stdout.fnmatch_lines(
        ["*coverage: regressed  0.810 → 0.800 (-0.010)*", "*to accept it: pytest *--rag-update*"]
    )
    assert figures({"coverage": 0.80}, "--rag-update").ret == 0
    assert figures({"coverage": 0.80}).ret == 0


def test_less_is_better_where_the_test_says_so(figures):
    """More seconds are a fall, fewer are none."""
    figures({"seconds": 1.0}, lower_is_better=["seconds"])
    assert figures({"seconds": 0.5}, lower_is_better=["seconds"]).ret == 0
    assert figures({"seconds": 1.5}, lower_is_better=["seconds"]).ret == 1


@pytest.mark.parametrize(("fell", "status"), [(3, 0), (8, 1)])
def test_scores_by_case_need_evidence(figures, fell, status):
    """Three falls of eight may be chance, eight of eight are none (p = 1/256)."""
    figures({"my": {f"c{n}": 0.9 for n in range(8)}})
    found = figures({"my": {f"c{n}": 0.9 - 0.3 * (n < fell) for n in range(8)}}, max_drop=0.02)
    assert found.ret == status


def test_a_case_that_is_left_out_is_told(figures):
    """It may be the one that fails; who accepts it hears no more of it."""
    figures({"my": {"a": 0.5, "b": 0.9}})
    found = figures({"my": {"b": 0.9}}, "-Wdefault")
    found.assert_outcomes(passed=1, warnings=1)
    found.stdout.fnmatch_lines(
        "*no longer among the figures, and accepted in *test_index.py.json: my of a;*"
    )
    assert figures({"my": {"b": 0.9}}, "--rag-update").ret == 0
    figures({"my": {"b": 0.9}}, "-Wdefault").assert_outcomes(passed=1, warnings=0)


def test_workers_write_what_one_process_writes(figures, pytester):
    """Byte for byte."""
    values = {"coverage": 0.5, "my": {"b": 1.0, "a": 0.25}}
    path = pytester.path / BASELINE
    figures(values)
    alone = path.read_bytes()
    path.unlink()
    assert figures(values, "-n2").ret == 0
    assert path.read_bytes() == alone


def test_in_ci_figures_without_a_baseline_fail(figures, pytester, monkeypatch):
    """It names the variable and the command, and writes nothing."""
    monkeypatch.setenv("GITLAB_CI", "true")
    found = figures({"coverage": 0.5})
    assert found.ret == 1
    found.stdout.fnmatch_lines("*nothing is written while GITLAB_CI is set; to accept it: pytest*")
    assert not (pytester.path / BASELINE).exists()


def test_a_baseline_that_cannot_be_used(figures, pytester):
    """It fails the test with a sentence, and stays as it is."""
    figures({"coverage": 0.5})
    path = pytester.path / BASELINE
    spoilt = path.read_text().replace('"runs": 1', '"runs": "once"')
    path.write_text(spoilt)
    found = figures({"coverage": 0.5})
    assert found.ret != 0
    found.stdout.fnmatch_lines("*'runs' of case 'test_index' is not a whole number*")
    assert path.read_text() == spoilt


@pytest.mark.parametrize("values", [{}, {"coverage": "high"}, {"coverage": None}], ids=str)
def test_what_is_no_figure(figures, pytester, values):
    """It is an error, and nothing is written."""
    assert figures(values).ret == 1
    assert not (pytester.path / BASELINE).exists()
