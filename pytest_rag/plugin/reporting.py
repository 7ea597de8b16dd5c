"""What a pytest run writes for people and programs: reports, properties, progress."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from pytest_rag import records
from pytest_rag.baseline.ci import variable
from pytest_rag.config import load
from pytest_rag.report.layout import cost_so_far, count
from pytest_rag.report.reporters import View, write_reports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pytest

    from pytest_rag.buildings import Building
    from pytest_rag.plugin.settings import Settings
    from pytest_rag.records import Result
    from pytest_rag.report.summary import Summary
    from pytest_rag.types import EvalSet

__all__ = ["Progress", "told_reports"]

_EVERY_S = 10.0
_FEW = 20


def told_reports(
    config: pytest.Config,
    settings: Settings,
    summary: Summary,
    results: Iterable[Result],
    *,
    head: Mapping[str, Any] | None,
    buildings: Iterable[Building],
    evalsets: Iterable[EvalSet],
) -> Iterator[tuple[str, bool]]:
    """Write the reports; yield what to say of each, and whether it is well.

    Args:
        config: Of the run.
        settings: With the reports that were asked for.
        summary: With what was decided.
        results: Of the run.
        head: The record's header; None where none was written, and one is made.
        buildings: Of pipelines, those that asked models for something.
        evalsets: Those that are known, for the lines of their cases.
    """
    if not settings.reports and "GITHUB_STEP_SUMMARY" not in os.environ:
        return
    view = View(
        summary=summary,
        header=head or records.header({}, config.rootpath),
        results=tuple(results),
        buildings=tuple(buildings),
        record=None if head is None else str(config.getoption("--rag-out")),
        alerts=load(config.rootpath).alerts,
    )
    yield from write_reports(settings.reports, view.knowing(evalsets), os.environ)


class Progress:
    """Says now and then how far a long run is; silent where nobody watches.

    Args:
        config: Of the run.
        clock: Seconds; for tests.
        environ: Where continuous integration says that it is one.
    """

    def __init__(
        self, config: pytest.Config, clock: Any = time.monotonic, environ: Any = os.environ
    ) -> None:
        self._clock = clock
        self._terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
        watched = self._terminal is not None and bool(getattr(self._terminal, "isatty", False))
        self._on = watched and config.get_verbosity() >= 0 and variable(environ) is None
        # xdist writes its dots past the reporter, which then knows of no line to end.
        workers = config.getoption("numprocesses", None)
        self._break = "\n" if workers and config.get_verbosity() == 0 else ""
        self._started = self._last = clock()
        self._cases: set[tuple[str, str]] = set()
        self._known = 0.0
        self._unknown = False

    def add(self, results: Iterable[Result], total: int | None) -> None:
        """Count what has ended, and say so where it is time.

        Args:
            results: New ones.
            total: Cases there are, or None where that is not known.
        """
        if not self._on:
            return
        for result in results:
            self._cases.add((result.evalset, result.case))
            self._known += result.cost_usd or 0.0
            self._unknown |= result.cost_usd is None and result.outcome != "not_run"
        now = self._clock()
        if now - self._last < _EVERY_S or (total is not None and total < _FEW):
            return
        self._last = now
        self._terminal.ensure_newline()
        self._terminal.write_line(f"{self._break}{self._line(now, total)}", light=True)

    def _line(self, now: float, total: int | None) -> str:
        done = len(self._cases)
        of = count(done, "case") if total is None else f"{done:,} of {count(total, 'case')}"
        cost = cost_so_far(self._known, partly=self._unknown)
        if total is None or not done or total <= done:
            return f"rag: {of} done · {cost}"
        left = (now - self._started) / done * (total - done)
        return f"rag: {of} done · {cost} · about {_rough(left)} left"


def _rough(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
