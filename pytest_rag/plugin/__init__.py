"""The pytest plugin: options, markers, fixtures and hooks, a few lines each.

Inert until a ``*.rag.yaml`` file, a fixture or a marker of ours is met: this module imports pytest
and the standard library, and everything in it imports what it needs when it is needed.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_rag.cache import Cache
    from pytest_rag.config import Config
    from pytest_rag.costs.running import RunCosts
    from pytest_rag.plugin.accepting import RagBaseline
    from pytest_rag.plugin.asking import Rag
    from pytest_rag.plugin.benchmarking import RagBenchmark
    from pytest_rag.plugin.markers import Parameter
    from pytest_rag.plugin.session import RagSession

_SESSION: pytest.StashKey[RagSession] = pytest.StashKey()
_SUFFIXES = (".rag.yaml", ".rag.yml")
_MARKERS = (
    "rag(evalset=None, tags=None, repeat=None): run the test with each case of an evalset.",
    "rag_budget(latency_ms=None, cost_usd=None, …): ceilings for every question the test asks.",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; all begin with ``--rag-``."""
    group = parser.getgroup("rag", "pytest-rag: RAG pipelines under test")
    group.addoption("--rag-concurrency", metavar="N", help="cases of an evalset run at a time")
    group.addoption("--rag-repeat", metavar="N", help="run every case N times")
    group.addoption(
        "--rag-max-cost", metavar="USD", help="start nothing that could make the run cost more"
    )
    group.addoption("--rag-out", metavar="RUN.jsonl", help="write the run record to this file")
    group.addoption(
        "--rag-report",
        action="append",
        metavar="FORMAT:PATH",
        help="write a report: md, html, json, csv or github; may be given several times",
    )
    group.addoption(
        "--rag-baseline",
        metavar="PATH|git:REF|none",
        help="hold results against these accepted scores (default: baselines/NAME.json beside the "
        "evalset; for a pull request in CI that of the merge base)",
    )
    # Each spelling is an option of its own, so that none takes the path behind it for its value.
    accept = "accept what is measured as the baseline"
    for spelling, verb, words in (
        ("--rag-update", "all", accept),
        ("--rag-update=all", "all", "the same"),
        ("--rag-update=new", "new", f"{accept}, of cases it does not hold yet"),
    ):
        group.addoption(spelling, action="store_const", const=verb, dest="rag_update", help=words)
    group.addoption(
        "--rag-cache",
        metavar="CACHE",
        help="answer calls of models out of earlier runs: off (default), memory, sqlite, redis://…",
    )
    group.addoption(
        "--rag-resume",
        metavar="RUN.jsonl",
        help="take over what this run record holds, and run only the rest",
    )
    group.addoption(
        "--rag-mode",
        metavar="MODE",
        help="live, record the calls of models, or replay them without network or key; by default "
        "what the evalset says, or live",
    )
    group.addoption(
        "--rag-shard", metavar="i/n", help="run the i-th of n parts; join them: pytest-rag merge"
    )
    group.addoption(
        "--rag-shard-times",
        metavar="RUN.jsonl",
        help="split by the times in this record, the same for every shard",
    )
    group.addoption(
        "--rag-plan", action="store_true", help="show cases, calls and estimated cost; run nothing"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, check the options, and listen for what xdist's workers report."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    if any(value for name, value in vars(config.option).items() if name.startswith("rag_")):
        from pytest_rag.plugin.settings import Settings

        settings = Settings.of(config)
        # In other modes keys are filled in and sockets refused from here on; an empty shard has a
        # record too.
        if settings.mode in ("record", "replay") or settings.shard is not None:
            session_of(config)
    config.pluginmanager.register(_Listener(config), "rag-listener")


def session_of(config: pytest.Config) -> RagSession:
    """Return this run's state; made, with its hooks, when it is first asked for."""
    if _SESSION not in config.stash:
        from pytest_rag.plugin.session import RagSession

        session = config.stash[_SESSION] = RagSession(config)
        config.pluginmanager.register(session, "rag-session")
    return config.stash[_SESSION]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell xdist's workers where the run's ceiling on costs is kept."""
    if node.config.getoption("--rag-max-cost") is not None:
        node.workerinput["rag_budget"] = str(session_of(node.config).budget.path)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect ``*.rag.yaml`` files."""
    if not file_path.name.endswith(_SUFFIXES):
        return None
    from pytest_rag.plugin.collect import EvalSetFile

    return EvalSetFile.from_parent(parent, path=file_path)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the cases of other shards out."""
    if config.getoption("--rag-shard") is not None:
        from pytest_rag.plugin.shard import deselect

        deselect(config, items)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise tests marked ``rag(evalset=…)`` with its cases; refuse a misspelt marker."""
    marked = metafunc.definition.get_closest_marker
    if marked("rag") is not None or marked("rag_budget") is not None:
        from pytest_rag.plugin.markers import parametrise

        parametrise(metafunc)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let pytest-benchmark see which tests are benchmarks, as for ``--benchmark-only``."""
    names: list[str] = getattr(item, "fixturenames", [])
    wants = "rag_benchmark" in names and "benchmark" not in names
    if wants and item.config.pluginmanager.has_plugin("pytest-benchmark"):
        names.append("benchmark")


class _Listener:
    """Waits for a report that carries results; under xdist they come from other processes."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.unreadable = False
        self.drafts = self.others = 0

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file of ours that cannot be used, or whose baseline cannot."""
        if report.failed and report.nodeid.endswith(_SUFFIXES):
            self.unreadable = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Learn from a worker, which all collect the same, how many cases there are."""
        cases = sum(name.partition("::")[0].endswith(_SUFFIXES) for name in ids)
        if cases:
            session_of(self.config).expect(cases)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Make it exit status 2 with xdist, too, whose workers' collection errors are a 1.

        A run that saw nothing but cases nobody has reviewed has run no test.
        """
        if self.drafts and not self.others and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
        if self.unreadable and session.exitstatus == pytest.ExitCode.TESTS_FAILED:
            session.exitstatus = pytest.ExitCode.INTERRUPTED

    @pytest.hookimpl(tryfirst=True)  # before the terminal asks how to show it
    def pytest_runtest_logreport(self, report: Any) -> None:
        """Hand results to the session, on the process that decides."""
        if report.when == "setup":
            draft = "rag_draft" in report.keywords
            self.drafts += draft
            self.others += not draft
        carried = getattr(report, "rag", None)
        if carried is not None and not hasattr(self.config, "workerinput"):
            session_of(self.config).receive(carried)
        accepted = getattr(report, "rag_accepted", None)
        if accepted is not None and not hasattr(self.config, "workerinput"):
            session_of(self.config).collected.accepted.extend(accepted)


# --- fixtures; a conftest.py overrides them to bring the project's own ---------------------------


@pytest.fixture(scope="session")
def rag_config(pytestconfig: pytest.Config) -> Config:
    """The project's settings; override it to change them for a test run."""
    return session_of(pytestconfig).project


@pytest.fixture(scope="session")
def rag_pipeline() -> Any:
    """The pipeline under test; override it to bring your own."""
    from pytest_rag.evaluation import no_pipeline

    raise no_pipeline()


@pytest.fixture(scope="session")
def rag_costs(pytestconfig: pytest.Config) -> RunCosts:
    """What this run has cost so far; under xdist, this worker's part of it."""
    return session_of(pytestconfig).costs


@pytest.fixture
def rag_cache(rag_config: Config) -> Iterator[Cache]:
    """The cache that is configured; one in memory of the test's own where none is."""
    from pytest_rag.cache import open_cache

    name = "memory" if rag_config.cache == "off" else rag_config.cache
    with closing(open_cache(name, rag_config.root)) as cache:
        yield cache


@pytest.fixture
def rag_baseline(request: pytest.FixtureRequest) -> RagBaseline:
    """Hold figures a test has measured to accepted ones: ``check({"nDCG@10": 0.81})``."""
    from pytest_rag.plugin.accepting import RagBaseline

    return RagBaseline(request, session_of(request.config).settings)


@pytest.fixture
def rag_case(request: pytest.FixtureRequest) -> Parameter | None:
    """The case of a test marked ``rag(evalset=…)``; None without."""
    return getattr(request, "param", None)


@pytest.fixture
def rag(request: pytest.FixtureRequest, rag_config: Config, rag_case: Parameter | None) -> Rag:
    """Ask the pipeline a question, get an Observation, check it."""
    from pytest_rag.plugin.asking import Rag

    return Rag(request, session_of(request.config), rag_config, rag_case)


@pytest.fixture
def rag_benchmark(request: pytest.FixtureRequest, rag: Rag) -> RagBenchmark:
    """Time a question with pytest-benchmark: the whole, its p95, and each stage."""
    from pytest_rag.plugin.benchmarking import RagBenchmark

    return RagBenchmark(request, rag)
