"""`pytest-rag init`: the first five minutes of a stranger."""

from __future__ import annotations

import json

import pytest

from pytest_rag import evalset
from pytest_rag.cli import init

FILES = {
    "example.rag.yaml",
    ".rag.schema.json",
    "example/borrowing.md",
    "example/opening-hours.md",
    "example/rooms.md",
}


def files_below(folder):
    """Return the files below a folder, by their paths."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_init_then_run_passes_offline(project):
    """In an empty folder: init → run → everything green, without a key."""
    assert project("init").exit_code == 0
    ran = project("run", "evalsets")
    assert ran.exit_code == 0, ran.output
    assert "4 cases: 4 passed" in ran.stdout


def test_init_writes_an_evalset_an_editor_understands(project):
    """The first line names the schema file beside it, so that completion works offline."""
    project("init")
    folder = project.path / "evalsets"
    assert files_below(folder) == FILES
    first = (folder / "example.rag.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=.rag.schema.json"
    schema = json.loads((folder / ".rag.schema.json").read_text(encoding="utf-8"))
    assert schema == evalset.json_schema()


def test_starter_shows_what_people_ask_for_first(project):
    """Limits on recall, precision, latency and cost, and a question without an answer."""
    project("init")
    loaded = evalset.load(project.path / "evalsets/example.rag.yaml")
    limits = {limit.metric for limit in loaded.cases[0].checks}
    assert {"R@5", "P@5", "latency_ms", "cost_usd"} <= limits
    assert sum(not case.answerable for case in loaded.cases) == 1


def test_init_says_what_to_type_next(project):
    """The last words are commands, with the folder that was asked for."""
    said = project("init", "my app").stdout
    assert "pytest 'my app/evalsets'" in said
    assert "example.rag.yaml" in said.splitlines()[-1]
    assert "pip install" not in said


def test_init_names_the_extra_where_it_is_missing(project, monkeypatch):
    """Without the packages of the embedded pipeline, the command that brings them is shown."""
    monkeypatch.setitem(init.__globals__, "find_spec", lambda name: None)
    assert "pip install 'pytest-rag[demo]'" in project("init").stdout


def test_init_replaces_nothing(project):
    """A file that is there stays as it is, and nothing is written beside it."""
    kept = project.write("evalsets/example/rooms.md", "mine\n")
    refused = project("init")
    assert refused.exit_code == 2
    assert "rooms.md" in refused.stderr
    assert "borrowing.md" not in refused.stderr
    assert "pytest-rag init --force" in refused.stderr
    assert files_below(project.path / "evalsets") == {"example/rooms.md"}
    assert kept.read_text(encoding="utf-8") == "mine\n"


@pytest.mark.parametrize("folder", [".", "inner"])
def test_init_replaces_when_told_to(project, folder):
    """`--force` writes the starter over what is there."""
    project("init", folder)
    page = project.path / folder / "evalsets/example/rooms.md"
    page.write_text("mine\n", encoding="utf-8")
    assert project("init", folder, "--force").exit_code == 0
    assert page.read_text(encoding="utf-8").startswith("# Study rooms")
