"""Which baseline is the bar: in CI, by option, from git; and what is written where."""

from __future__ import annotations

import json
import subprocess

import pytest
from gate_project import BASELINE, CASES, evalset

from pytest_rag.baseline import ci


def squeezed(result: pytest.RunResult) -> str:
    """Return what was printed with single spaces."""
    return " ".join((result.stdout.str() + result.stderr.str()).split())


# --- in continuous integration ------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["CI", "GITLAB_CI"])
def test_in_ci_a_missing_baseline_is_an_error_with_the_command(project, monkeypatch, variable):
    """Nothing is written, and the variable that said so is named."""
    monkeypatch.setenv(variable, "true")
    result = project.pytest()
    assert result.ret == 1
    assert not project.baseline.parent.exists()
    text = squeezed(result)
    assert f"nothing is written while {variable} is set" in text
    assert "pytest handbook.rag.yaml --rag-update, and commit the file" in text


def test_in_ci_a_baseline_is_written_where_that_is_asked_for(project, ci_run):
    """`--rag-update` is asking."""
    ci_run()
    assert project.pytest("--rag-update").ret == 0
    assert project.baseline.exists()


def test_in_ci_nothing_changes_a_baseline(accepted, ci_run):
    """A better run than the accepted one is green and leaves the file."""
    before = accepted.baseline.read_bytes()
    ci_run()
    assert accepted.pytest().ret == 0
    assert accepted.baseline.read_bytes() == before


@pytest.mark.parametrize("value", ["", "0", "false", "no"])
def test_a_variable_that_says_no_is_no_ci(value):
    """`CI=false` is a person's machine."""
    assert ci.variable({"CI": value}) is None
    assert ci.variable({"CI": value, "TRAVIS": "1"}) == "TRAVIS"


# --- by option ----------------------------------------------------------------------------------


def test_none_compares_nothing_and_writes_nothing(project):
    """Limits of the set hold all the same."""
    project.settings(top_k=1)
    result = project.pytest("--rag-baseline=none")
    assert result.ret == 0
    assert not project.baseline.exists()
    assert "passed: nDCG@10 mean" in result.stdout.str()
    assert project.pytest("--rag-baseline=none", "--rag-update").ret == 4


@pytest.mark.parametrize("kind", ["file", "folder", "record"])
def test_a_path_is_the_bar(accepted, kind):
    """A baseline's file, a folder of them, a run record; the tree's own file does not count."""
    accepted.pytest("--rag-out=before.jsonl")
    accepted.path.joinpath("old").mkdir()
    accepted.baseline.rename(accepted.path / "old" / "handbook.json")
    path = {"file": "old/handbook.json", "folder": "old", "record": "before.jsonl"}[kind]
    accepted.settings(top_k=1)
    result = accepted.pytest(f"--rag-baseline={path}")
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"*against {path}*", "*R@5*regressed*"])
    assert not accepted.baseline.exists()


def test_paths_that_hold_no_bar(accepted):
    """No file, another evalset's, an empty folder: a sentence each, and none of them is green."""
    missing = accepted.pytest("--rag-baseline=nowhere.json")
    assert missing.ret == 4
    assert "There is no baseline 'nowhere.json'" in squeezed(missing)
    other = accepted.baseline.read_text().replace('"evalset": "handbook"', '"evalset": "other"')
    accepted.write("other.json", other)
    wrong = accepted.pytest("--rag-baseline=other.json")
    assert wrong.ret == 2
    assert "is the baseline of 'other', not of 'handbook'" in squeezed(wrong)
    accepted.path.joinpath("empty").mkdir()
    empty = accepted.pytest("--rag-baseline=empty")
    assert empty.ret == 1
    assert "does not hold one" in squeezed(empty)


# --- from git -----------------------------------------------------------------------------------


@pytest.fixture
def repository(accepted):
    """The project with its baseline committed on `main`."""
    accepted.git("init", "-q", "-b", "main")
    accepted.write(".gitignore", "__pycache__/\n.pytest_cache/\n*.jsonl\n")
    accepted.commit("First")
    return accepted


def worsen(project) -> None:
    """Make the pipeline worse, and the baseline say that this is how it should be."""
    project.settings(top_k=1)
    assert project.pytest("--rag-update", "-q").ret == 0
    project.commit("Lower the bar")


def test_a_commit_is_the_bar(repository):
    """`git:REF` reads the file as that commit has it; one that is edited here is told."""
    worsen(repository)
    assert repository.pytest("-q").ret == 0
    result = repository.pytest("--rag-baseline=git:main~1")
    assert result.ret == 1
    text = squeezed(result)
    assert "against baselines/handbook.json at main~1" in text
    assert "This change edits handbook.json; the bar is" in text


def test_a_pull_request_cannot_move_its_own_bar(repository, ci_run):
    """In CI the baseline of the merge base decides, whatever this change says it should be."""
    repository.git("checkout", "-qb", "topic")
    worsen(repository)
    ci_run("main")
    result = repository.pytest("--rag-out=run.jsonl")
    assert result.ret == 1
    text = squeezed(result)
    assert "the merge base with main" in text
    assert "This change edits handbook.json" in text
    assert repository.verdict()["bad"]


def test_a_new_evalset_in_a_pull_request_has_no_bar_yet(repository, ci_run):
    """Its baseline comes with it, and is told to be new."""
    repository.git("checkout", "-qb", "topic")
    repository.write("second.rag.yaml", evalset(*CASES[2:]))
    repository.pytest("-q")
    repository.commit("Add a second evalset")
    ci_run("main")
    result = repository.pytest("second.rag.yaml")
    assert result.ret == 0
    assert "the baseline in this change is new, and no bar yet" in squeezed(result)
    (repository.path / "baselines" / "second.json").unlink()
    assert repository.pytest("second.rag.yaml").ret == 1


def test_a_renamed_evalset_keeps_its_bar(repository, ci_run):
    """A change that renames the file, with its baseline, is held to what that was before."""
    repository.git("checkout", "-qb", "topic")
    repository.git("mv", "handbook.rag.yaml", "manual.rag.yaml")
    repository.git("mv", BASELINE, "baselines/manual.json")
    worsen(repository)
    ci_run("main")
    result = repository.pytest()
    assert result.ret == 1
    assert "against baselines/handbook.json at" in squeezed(result)


def test_a_hook_of_git_asks_of_the_right_folder(repository, monkeypatch):
    """What a hook says of its own place leads nobody astray."""
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index")
    nested = repository.path / "service"
    nested.mkdir()
    for name in ("app.py", "corpus.json", "settings.json", "handbook.rag.yaml", "baselines"):
        (repository.path / name).rename(nested / name)
    repository.git("--git-dir=.git", "add", "-A")
    repository.git("commit", "-qm", "Move")
    monkeypatch.syspath_prepend(nested)
    result = repository.pytest("--rag-baseline=git:main", "--rag-out=run.jsonl")
    assert result.ret == 0
    assert "baselines/handbook.json at main" in squeezed(result)


def test_a_file_in_the_tree_that_is_no_text_does_not_matter_to_a_commit(repository):
    """The bar is read from git, and the file is told to be edited."""
    repository.baseline.write_bytes(b"\xff\xfe")
    result = repository.pytest("--rag-baseline=git:main")
    assert result.ret == 0
    assert "This change edits handbook.json" in squeezed(result)


@pytest.mark.parametrize("ref", ["git:nowhere", "git:", "git:--output=x", "git:HEAD:x"])
def test_an_unknown_ref(repository, ref):
    """Exit status 2 or a usage error, in one sentence; a ref is never an option of git's."""
    result = repository.pytest(f"--rag-baseline={ref}", "--rag-out=run.jsonl")
    assert result.ret in (2, 4)
    assert "git:" in squeezed(result)
    assert not (repository.path / "run.jsonl").exists()
    assert not (repository.path / "x").exists()


def test_a_baseline_that_is_broken_at_its_commit(repository):
    """It names the commit, and gives no advice that would mend the tree's own file."""
    repository.baseline.write_text("[]")
    repository.commit("Break it")
    result = repository.pytest("--rag-baseline=git:HEAD")
    assert result.ret == 2
    assert "at HEAD is no baseline: it is no mapping" in squeezed(result)
    assert "git checkout" not in squeezed(result)


def test_a_ref_without_the_file(repository):
    """One that comes with this change is no bar yet; none at all is an error."""
    repository.git("rm", "-q", "--cached", BASELINE)
    repository.git("commit", "-qm", "Take it out")
    new = repository.pytest("--rag-baseline=git:HEAD")
    assert new.ret == 0
    assert "is new, and no bar yet" in squeezed(new)
    repository.baseline.unlink()
    result = repository.pytest("--rag-baseline=git:HEAD")
    assert result.ret == 1
    assert "does not hold one" in squeezed(result)


def test_a_shallow_clone_has_no_merge_base(repository, ci_run, pytester, monkeypatch):
    """Exit status 2, with the command that fetches the history; nothing is written."""
    repository.git("checkout", "-qb", "topic")
    repository.write("note.txt", "x")
    repository.commit("Add a note")
    repository.git("checkout", "-q", "main")
    repository.write("other.txt", "x")
    repository.commit("Add another")
    clone = repository.path / "clone"
    words = ["git", "clone", "-q", "--depth=1", "--no-single-branch", "-b", "topic"]
    subprocess.run([*words, repository.path.as_uri(), str(clone)], check=True)
    monkeypatch.chdir(clone)
    ci_run("main")
    result = pytester.runpytest_inprocess(
        "--rootdir=.", "--rag-out=run.jsonl", "-p", "no:benchmark", "-p", "no:hypothesispytest"
    )
    assert result.ret == 2
    text = squeezed(result)
    assert "The merge base with 'main' is not in this clone" in text
    assert "fetch-depth: 0" in text
    assert not (clone / "run.jsonl").exists()


def test_no_git_process_is_started_unasked(repository, monkeypatch):
    """Only the record's header asks for the commit; the baseline in the tree needs no git."""
    from pytest_rag.baseline import source

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("git was asked for a baseline")

    monkeypatch.setattr(source, "_git", refuse)
    assert repository.pytest("-q").ret == 0


def test_the_command_line_takes_the_same_options(repository):
    """`pytest-rag run --baseline git:REF` is red where pytest is."""
    repository.settings(top_k=1)
    red = repository.cli("run", "handbook.rag.yaml", "--baseline", "git:main")
    assert red.exit_code == 1
    assert "regressed" in red.output
    accepted = repository.cli("run", "handbook.rag.yaml", "--update")
    assert accepted.exit_code == 0
    cases = json.loads(repository.baseline.read_text())["cases"]
    assert cases["rail"]["scores"]["R@5"] == 0.5
