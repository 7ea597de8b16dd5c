"""A small project whose pipeline retrieves by words, and what may be changed about it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typer.testing import CliRunner, Result

from pytest_rag.cli import app

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PIPELINE = """
    import json, pathlib

    HERE = pathlib.Path(__file__).parent

    class Words:
        '''Ranks documents by the words they share with the query; the first is the answer.'''

        def __init__(self, settings):
            self.settings = settings
            self.texts = json.loads((HERE / "corpus.json").read_text())
            self.deterministic = settings.get("deterministic", True)
            self.documents = set(self.texts)

        def __call__(self, query):
            if query in self.settings.get("broken", ()):
                raise RuntimeError("the index is gone")
            words = set(query.split())
            def shared(name):
                return len(words & set(self.texts[name].split()))
            ranked = sorted(self.texts, key=lambda name: (-shared(name), name))
            ranked = ranked[: self.settings.get("top_k", 3)]
            nodes = [
                {"id": name, "score": 1 / (place + 1), "text": self.texts[name]}
                for place, name in enumerate(ranked)
            ]
            return {"answer": self.texts[ranked[0]], "retrieved": nodes}

    def build():
        return Words(json.loads((HERE / "settings.json").read_text()))
"""

CORPUS = {
    "leave.md": "five unused vacation days carry over",
    "vacation.md": "vacation requests go to the manager",
    "sick.md": "a sick note is due on the third day",
    "doctor.md": "the doctor writes the sick note",
    "travel.md": "book rail travel with the agency",
    "hotel.md": "a hotel for travel costs ninety at most",
    "laptop.md": "lock the laptop screen",
    "screen.md": "a second screen for the laptop is free",
}

CASES = (
    (
        "{id: carry-over, query: unused vacation days, relevant: [leave.md, vacation.md], "
        "checks: {contains: five}}"
    ),
    (
        "{id: sick-note, query: sick note third, relevant: [sick.md, doctor.md], "
        "checks: {contains: third}}"
    ),
    "{id: rail, query: rail travel agency, relevant: [travel.md, hotel.md]}",
    "{id: locking, query: lock laptop, relevant: [laptop.md, screen.md]}",
)

GATE = "{nDCG@10: {min: 0.1, max_drop: 0.02}, R@5: {max_drop: 0.02}}"
BASELINE = "baselines/handbook.json"


def evalset(*cases: str, gate: str = GATE) -> str:
    """Return the evalset's text."""
    lines = "".join(f"  - {case}\n" for case in cases or CASES)
    return f"pipeline: app:build\ncases:\n{lines}gate: {gate}\n"


@dataclass(frozen=True)
class Project:
    """A project in a folder, run by pytest or by the command line."""

    path: Path
    run_rag: object

    def settings(self, **settings) -> None:
        """Change what the pipeline does."""
        (self.path / "settings.json").write_text(json.dumps(settings))

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def pytest(self, *args: str) -> pytest.RunResult:
        """Run pytest on the project."""
        return self.run_rag({}, *args)

    def cli(self, *args: str) -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(app, list(args), catch_exceptions=False)

    @property
    def baseline(self) -> Path:
        """Where the baseline lies."""
        return self.path / BASELINE

    def accepted(self) -> dict:
        """Return the baseline's content."""
        return json.loads(self.baseline.read_text())

    def verdict(self, record: str = "run.jsonl") -> dict:
        """Return what a record's footer says of the evalset."""
        last = (self.path / record).read_text().splitlines()[-1]
        return json.loads(last)["verdicts"]["handbook"]

    def git(self, *words: str) -> str:
        """Run git in the project."""
        author = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=0")
        done = subprocess.run(
            ["git", *author, *words], cwd=self.path, capture_output=True, text=True, check=True
        )
        return done.stdout

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git("add", "-A")
        self.git("commit", "-qm", message)
