"""Bars and lines of progress: on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from pytest_rag.cli import app, terminal

EVALSET = "pipeline: many_rag:build\ncases:\n" + "".join(
    f"  - {{id: c{n}, query: q{n}}}\n" for n in range(24)
)
FILES = {
    "many_rag.py": "def build():\n    return lambda query: 'five'\n",
    "many.rag.yaml": EVALSET,
    "conftest.py": "import pytest_rag.plugin.reporting as r\nr._EVERY_S = 0\n",
    "pyproject.toml": "",
}


@pytest.fixture
def many(tmp_path, monkeypatch):
    """A project of 24 cases."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(dedent(text))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "many_rag", raising=False)
    yield tmp_path
    sys.modules.pop("many_rag", None)


def shown_by(ours: int) -> str:
    """Return what comes out of a terminal until its other side is closed."""
    found = b""
    try:
        while piece := os.read(ours, 65_536):
            found += piece
    except OSError:  # so Linux says that it is closed
        pass
    os.close(ours)
    return found.decode()


class Screen:
    """A terminal on which stderr is shown while a `with` lasts; then it tells what was shown."""

    def __init__(self, monkeypatch):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        self._read = ThreadPoolExecutor(1)
        self.shown = ""

    def __enter__(self) -> Screen:
        ours, theirs = pty.openpty()
        self._seen = self._read.submit(shown_by, ours)
        self._before, sys.stderr = sys.stderr, os.fdopen(theirs, "w", encoding="utf-8")
        return self

    def __exit__(self, *_) -> None:
        sys.stderr.close()
        sys.stderr = self._before
        self.shown = self._seen.result()
        self._read.shutdown()


def test_run_shows_a_bar(many, monkeypatch, capsys):
    """Cases done of all, failures, cost and time; the report itself goes to stdout."""
    with Screen(monkeypatch) as screen, pytest.raises(SystemExit) as ended:
        app(["run", ".", "--baseline", "none"])
    assert ended.value.code == 0
    for told in ("24/24", "0 failed", "cost unknown", "left"):
        assert told in screen.shown
    assert "24 passed" in capsys.readouterr().out


def test_steps_show_a_bar_and_what_each_took(monkeypatch):
    """As `ab` and `aa` do."""
    with Screen(monkeypatch) as screen, terminal.steps(2) as bar:
        bar.begin("round 1 of 1: base")
        bar.end()
        bar.tell("round 1 of 1: base 0.1 s")
    assert "1/2" in screen.shown
    assert "round 1 of 1: base 0.1 s\r\n" in screen.shown


def test_nothing_is_shown_where_nobody_watches(many, capfd):
    """Neither by a run, nor by steps."""
    ran = CliRunner().invoke(app, ["run", ".", "--baseline", "none"])
    assert (ran.exit_code, ran.stderr) == (0, "")
    with terminal.steps(2) as bar:
        bar.begin("round 1 of 1: base")
        bar.end()
        bar.tell("round 1 of 1: base 0.1 s")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_pytest_tells_how_much_is_left(many, outside_ci, workers):
    """Workers tell the controller how many cases there are."""
    ours, theirs = pty.openpty()
    quick = [f"-pno:{name}" for name in ("langsmith_plugin", "anyio", "hypothesispytest")]
    words = [sys.executable, "-m", "pytest", "--rag-baseline=none", *quick, *workers]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(words, cwd=many, env=env, stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        shown = shown_by(ours)
        assert running.wait() == 0, shown
    assert "rag: 23 of 24 cases done · " in shown
    assert " left" in shown
