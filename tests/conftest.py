"""What all tests share."""

from __future__ import annotations

import os
import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

# A pytest run inside this process forgets what it imported; these must be imported only once.
import llama_index.core
import llama_index.core.chat_engine
import llama_index.core.query_engine
import numpy as np
import pytest
import scipy.stats
import typer.rich_utils
import workflows
from machine import sweep

import pytest_rag.pipelines.local
import pytest_rag.plugin.asking
import pytest_rag.plugin.session
import pytest_rag.replay.hooks
import pytest_rag.replay.sources
import pytest_rag.runner
from pytest_rag.baseline import ci

__all__ = ["llama_index", "np", "pytest_rag", "scipy", "workflows"]


# Started in the background of a script, it would be ignored here and in every child that is to be
# interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# It colours its output for good where it is first imported under a name of GitHub's.
typer.rich_utils.FORCE_TERMINAL = None

# These tests run in several processes, and what is tested must not take itself for one of them.
for _name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
    os.environ.pop(_name, None)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Spread the whole suite over two processes, unless ``-n`` says otherwise.

    The slow tests measure times and stay alone.
    """
    whole = [Path(word).resolve() for word in config.args] == [Path(__file__).parent]
    alone = config.option.markexpr != "not slow" or hasattr(config, "workerinput")
    if whole and not alone and config.getoption("numprocesses", None) is None:
        config.option.numprocesses = 2
        config.option.dist = "loadfile"


def shared_data() -> Path | None:
    """Return the folder of public evaluation data, or None where this machine has none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PYTEST_RAG_DATA") or beside)
    return folder if folder.is_dir() else None


@pytest.fixture(autouse=True, scope="module")
def _swept() -> Iterator[None]:
    """Leave nothing of one file's clients to the next."""
    yield
    sweep()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public evaluation data; skips where there is none."""
    folder = shared_data()
    if folder is None:
        pytest.skip("no evaluation data: set PYTEST_RAG_DATA, or put it at ../shared/data")
    return folder


@pytest.fixture
def outside_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is tested believe that a person started it, wherever that is."""
    for name in (*ci.VARIABLES, *ci.TARGETS, "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


RunRag = Callable[..., pytest.RunResult]


@pytest.fixture
def run_rag(pytester: pytest.Pytester, outside_ci: None) -> RunRag:
    """Write files and run pytest on them: ``run_rag({"a.rag.yaml": "…"}, "-k", "x")``.

    It is outside continuous integration unless a test says otherwise. The run is in this process;
    ``apart=True`` gives it one of its own.
    """

    def run(files: dict[str, str], *args: str, apart: bool = False) -> pytest.RunResult:
        for name, text in files.items():
            path = pytester.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        others = ("hypothesispytest", "benchmark", "anyio", "platformdirs", "langsmith_plugin")
        args = (*(word for name in others for word in ("-p", f"no:{name}")), *args)
        return (
            pytester.runpytest_subprocess(*args) if apart else pytester.runpytest_inprocess(*args)
        )

    return run
