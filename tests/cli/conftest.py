"""A project in a temporary folder, and the command line run in it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from pytest_rag.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]
COLOURS = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS")  # each makes rich or typer write escapes

PIPELINES = """
    import os, pathlib, time

    def retrieved(*ids):
        return [{"id": i, "score": 1.0, "text": i} for i in ids]

    def good():
        return lambda query: {"answer": f"five, said {query}", "retrieved": retrieved("a.md")}

    def paid():
        usage = {"model": "gpt-4o-mini", "input_tokens": 1000, "output_tokens": 100}
        return lambda query: {"answer": "five", "retrieved": [], "usage": usage}

    def flaky():
        asked = []
        def answer(query):
            asked.append(query)
            return "five" if len(asked) % 2 else "six"
        return answer

    def exploding():
        raise RuntimeError("the index is gone")

    def leaving():
        raise SystemExit(0)

    def crashing():
        def answer(query):
            raise ValueError("no such shard")
        return answer

    def keyless():
        return os.environ["SOME_API_KEY"]

    def slow():
        def answer(query):
            if query == "slow":
                time.sleep(60)
            pathlib.Path(f"{query}.asked").touch()
            return "five"
        return answer
"""


@dataclass(frozen=True)
class Project:
    """A folder with a `my_rag` module, in which commands are run."""

    path: Path

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
        return path

    def evalset(self, name: str, factory: str, *queries: str, extra: str = "") -> Path:
        """Write an evalset with a case a query; every answer must contain `five`."""
        cases = "".join(f"  - {{id: {q}, query: {q}, relevant: [a.md]}}\n" for q in queries)
        text = (
            f"pipeline: my_rag:{factory}\n"
            "defaults: {checks: {contains: five}}\n"
            f"cases:\n{cases}{dedent(extra)}"
        )
        path = self.path / f"{name}.rag.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def __call__(self, *args: str):
        """Run a command in this process."""
        return CliRunner().invoke(app, list(args), catch_exceptions=False)

    def start(self, *args: str, **options) -> subprocess.Popen[str]:
        """Start a command in a process of its own."""
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        return subprocess.Popen(
            [sys.executable, "-m", "pytest_rag", *args],
            cwd=self.path,
            env=environment,
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )


@pytest.fixture
def project(tmp_path, monkeypatch, outside_ci):
    """An empty project with importable pipelines; what it imports is forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("SOME_API_KEY", *COLOURS):
        monkeypatch.delenv(name, raising=False)
    made = Project(tmp_path)
    made.write("my_rag.py", PIPELINES)
    made.write("pyproject.toml", "[tool.pytest-rag]\nconcurrency = 4\n")
    yield made
    sys.modules.pop("my_rag", None)
