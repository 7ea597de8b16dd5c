"""The pytest plugin: hooks and options, nothing else.

Inert until a ``*.rag.yaml`` file, a fixture or a marker of ours is met: this module imports pytest
and the standard library, and every hook imports what it needs when it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_rag.plugin.session import RagSession

_SESSION: pytest.StashKey[RagSession] = pytest.StashKey()
_MARKERS = (
    "rag(evalset=None, tags=None, repeat=None): run the test with each case of an evalset.",
    "rag_budget(latency_ms=None, cost_usd=None, …): ceilings for every question the test asks.",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; all begin with ``--rag-``."""
    group = parser.getgroup("rag", "pytest-rag: RAG pipelines under test")
    group.addoption("--rag-concurrency", metavar="N", help="cases of an evalset run at a time")
    group.addoption("--rag-repeat", metavar="N", help="run every case N times")
    group.addoption("--rag-out", metavar="RUN.jsonl", help="write the run record to this file")
    group.addoption(
        "--rag-plan", action="store_true", help="show cases, calls and estimated cost; run nothing"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, and listen for what xdist's workers report."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    config.pluginmanager.register(_Listener(config), "rag-listener")


def session_of(config: pytest.Config) -> RagSession:
    """Return this run's state; made, with its hooks, when it is first asked for."""
    if _SESSION not in config.stash:
        from pytest_rag.plugin.session import RagSession

        session = config.stash[_SESSION] = RagSession(config)
        config.pluginmanager.register(session, "rag-session")
    return config.stash[_SESSION]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect ``*.rag.yaml`` files; a Python file makes our fixtures known."""
    if file_path.name.endswith((".rag.yaml", ".rag.yml")):
        from pytest_rag.plugin.collect import EvalSetFile

        _provide_fixtures(parent.config)
        return EvalSetFile.from_parent(parent, path=file_path)
    if file_path.suffix == ".py":
        _provide_fixtures(parent.config)
    return None


def _provide_fixtures(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin("rag-fixtures"):
        from pytest_rag.plugin import fixtures

        config.pluginmanager.register(fixtures, "rag-fixtures")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise tests marked ``rag(evalset=…)`` with its cases; refuse a misspelt marker."""
    marked = metafunc.definition.get_closest_marker
    if marked("rag") is not None or marked("rag_budget") is not None:
        from pytest_rag.plugin.markers import parametrise

        parametrise(metafunc)


class _Listener:
    """Waits for a report that carries results; under xdist they come from other processes."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Hand results to the session, on the process that decides."""
        carried = getattr(report, "rag", None)
        if carried is not None and not hasattr(self.config, "workerinput"):
            session_of(self.config).receive(carried)
