"""A small project, before and after its first run."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest
from gate_project import BASELINE, CORPUS, PIPELINE, Project, evalset


@pytest.fixture
def project(pytester, run_rag, monkeypatch) -> Project:
    """The project, not yet run."""
    made = Project(pytester.path, run_rag)
    monkeypatch.syspath_prepend(pytester.path)
    run_rag_files = {"app.py": PIPELINE, "pyproject.toml": "", "handbook.rag.yaml": evalset()}
    for name, text in run_rag_files.items():
        made.write(name, dedent(text).lstrip("\n"))
    made.write("corpus.json", json.dumps(CORPUS))
    made.settings()
    return made


FIRST: list[str] = []
"""The baseline that the first run of the project writes, once there was one."""


@pytest.fixture
def accepted(project) -> Project:
    """The project after a first run, which wrote the baseline."""
    if not FIRST:
        assert project.pytest("-q").ret == 0
        FIRST.append(project.baseline.read_text())
    project.write(BASELINE, FIRST[0])
    return project


@pytest.fixture
def ci_run(monkeypatch):
    """Say that this is continuous integration; with a branch that the change is to go to."""

    def say(target: str | None = None) -> None:
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        if target is not None:
            monkeypatch.setenv("GITHUB_BASE_REF", target)

    return say
