"""A repository at GitHub, and a machine that runs its workflows; all of it on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from textwrap import dedent

import pytest
from actions import Runner
from gate_project import CORPUS, PIPELINE, evalset
from github_server import GitHub

ACCEPTED: list[str] = []
"""The baseline of the project, once it was made."""


@pytest.fixture
def github(tmp_path):
    """GitHub, without a repository yet."""
    made = GitHub(tmp_path)
    yield made
    made.close()


@pytest.fixture
def project(github, tmp_path):
    """The files of the small project, with its baseline, at GitHub."""
    files = {
        "app.py": dedent(PIPELINE).lstrip("\n"),
        "pyproject.toml": "",
        "README.md": "# Words\n",
        "docs/guide.md": "How to ask.\n",
        ".gitignore": "__pycache__/\n.pytest_cache/\n",
        "evalsets/handbook.rag.yaml": evalset(),
        "corpus.json": json.dumps(CORPUS),
        "settings.json": "{}",
    }
    github.begin(files)
    if not ACCEPTED:
        quiet = {k: v for k, v in os.environ.items() if k not in ("CI", "GITHUB_ACTIONS")}
        subprocess.run(
            [sys.executable, "-m", "pytest_rag", "run", "evalsets", "--update"],
            cwd=github.origin, env=quiet, check=True, capture_output=True,
        )  # fmt: skip
        ACCEPTED.append((github.origin / "evalsets/baselines/handbook.json").read_text())
    github.commit({"evalsets/baselines/handbook.json": ACCEPTED[0]}, "accept")
    return github


@pytest.fixture
def machine(github, tmp_path):
    """Return a machine for an event of a pull request, with its merge commit checked out."""

    def make(event, *, checked_out=True, whole=True, secrets=()) -> Runner:
        number = event["pull_request"]["number"]
        ref = f"refs/pull/{number}/merge"
        variables = {"GITHUB_BASE_REF": "main", "GITHUB_HEAD_REF": "change", "GITHUB_REF": ref}
        made = Runner(tmp_path / "machine", github, "pull_request", event, variables, secrets)
        if checked_out:
            github.check_out(made.workspace, made.variables, whole=whole)
        return made

    return make
