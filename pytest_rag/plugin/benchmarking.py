"""What the `rag_benchmark` fixture gives: a question timed by pytest-benchmark, stage by stage.

pytest-benchmark compares fixed columns of an entry (``min``, ``mean``, …), so the 95th percentile
and each stage get an entry of their own, which is saved and compared as any other.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rag.extras import require
from pytest_rag.registry import did_you_mean
from pytest_rag.stats import quantile
from pytest_rag.types import STAGES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pytest_rag.plugin.asking import Rag
    from pytest_rag.types import Observation

__all__ = ["PLUGIN", "RagBenchmark"]

PLUGIN = "pytest-benchmark"
"""Under this name pytest-benchmark registers the session that keeps its entries."""

_P95 = "p95"


class RagBenchmark:
    """Asks a question many times and hands its times to pytest-benchmark."""

    def __init__(self, request: pytest.FixtureRequest, rag: Rag) -> None:
        require("pytest_benchmark", "benchmark")
        session = request.config.pluginmanager.get_plugin(PLUGIN)
        if session is None:
            raise pytest.UsageError(
                "rag_benchmark needs pytest-benchmark, which is switched off here: leave out "
                "-p no:benchmark."
            )
        self._all: list[Any] = session.benchmarks
        self._benchmark = request.getfixturevalue("benchmark")
        self._rag = rag

    def __call__(
        self,
        query: str | None = None,
        *,
        rounds: int = 20,
        warmup_rounds: int = 1,
        entries: Collection[str] | None = None,
        **asked: Any,
    ) -> Observation:
        """Ask a question again and again, and keep an entry of the whole, of p95, of each stage.

        Every round is a question of the test: it is in the run record and counts for its budget.

        Args:
            query: The question; the marked test's case where it is left out.
            rounds: How often it is asked.
            warmup_rounds: How often before that, uncounted.
            entries: Which entries there are beside that of the test: of ``p95`` and the stages.
                All of them where it is left out.
            asked: What else `rag.ask` takes.

        Returns:
            What the last round showed.

        Raises:
            pytest.UsageError: for an entry of an unknown name.
            Exception: whatever the pipeline raises.
        """
        wanted = _known(entries)
        seen: list[Observation] = []
        self._benchmark.pedantic(
            lambda: seen.append(self._rag.ask(query, **asked)),
            rounds=rounds,
            warmup_rounds=warmup_rounds,
        )
        if self._benchmark.enabled:
            self._keep(seen[-rounds:], wanted)
        return seen[-1]

    def _keep(self, seen: Sequence[Observation], wanted: Collection[str]) -> None:
        origins = sorted({call.origin for each in seen for call in each.calls})
        self._benchmark.extra_info["origins"] = origins
        for name, seconds in _entries(seen):
            if name in wanted:
                self._all.append(self._entry(name, seconds))

    def _entry(self, name: str, seconds: Sequence[float]) -> Any:
        """Return an entry beside that of the test, which pytest-benchmark made."""
        own = self._benchmark
        label = name if name == _P95 else f"stage={name}"
        stand_in = SimpleNamespace(
            name=_labelled(own.name, label),
            fullname=_labelled(own.fullname, label),
            group=own.group,
            param=own.param,
            params=own.params,
            extra_info={"of": own.fullname, **own.extra_info},
            cprofile_stats=None,
            has_error=False,
        )
        entry = type(own.stats)(stand_in, iterations=1, options=own.stats.options)
        for value in seconds:
            entry.update(value)
        return entry


def _known(entries: Collection[str] | None) -> Collection[str]:
    names = (_P95, *STAGES)
    wanted = names if entries is None else [entries] if isinstance(entries, str) else entries
    for name in wanted:
        if name not in names:
            raise pytest.UsageError(
                f"rag_benchmark has no entry {name!r}.{did_you_mean(name, names)} There are "
                f"{', '.join(names)}."
            )
    return wanted


def _entries(seen: Sequence[Observation]) -> Iterator[tuple[str, Sequence[float]]]:
    """Yield names of entries and their seconds; a stage that was not seen has none."""
    yield _P95, [quantile([each.timing.latency_ms for each in seen], 0.95) / 1000]
    for stage in STAGES:
        times = [each.timing.stages_ms[stage] for each in seen if stage in each.timing.stages_ms]
        if any(times):
            yield stage, [ms / 1000 for ms in times]


def _labelled(name: str, label: str) -> str:
    """Put a label into the brackets of a test's name: ``test_speed[p95]``, ``…[hr-p95]``."""
    return f"{name[:-1]}-{label}]" if name.endswith("]") else f"{name}[{label}]"
