"""Results of an earlier run record that still hold, so that they are not paid for again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from pytest_rag import records
from pytest_rag.checks import advice
from pytest_rag.errors import RecordError
from pytest_rag.judge import fingerprint_of, noted, outcome_of
from pytest_rag.types import CheckResult, Limit, Score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_rag.judge import Job
    from pytest_rag.records import Result

__all__ = ["Resumed", "told_of_resumed"]

_SAME = ("qrels", "pipeline", "corpus")


@dataclass(slots=True)
class Resumed:
    """What earlier records hold.

    Attributes:
        results: By evalset, case and repeat.
        fingerprints: Of the evalsets they were made with.
    """

    results: dict[tuple[str, str, int], Result] = field(default_factory=dict)
    fingerprints: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _given: set[tuple[str, str, int]] = field(default_factory=set)

    @classmethod
    def of(cls, path: Path, *, also: Callable[[Result], bool] = lambda _: False) -> Self:
        """Read a record, and what killed or cut-short runs left beside it.

        Args:
            path: Of the record.
            also: Told a result that neither passed nor failed; True takes it over all the same.

        Raises:
            RecordError: if there is none, or one cannot be read.
        """
        found = list(_files(path))
        if not found:
            raise RecordError(f"There is no run record {path}, nor an unfinished one beside it.")
        made = cls()
        for each in found:
            made._read(records.read(each), also)
        return made

    def _read(self, run: records.Run, also: Callable[[Result], bool]) -> None:
        for name, facts in run.header.get("evalsets", {}).items():
            self.fingerprints[name] = facts.get("fingerprint") or {}
        for result in run.results:
            if result.outcome in ("passed", "failed") or also(result):
                self.results[result.key] = result

    def take(self, job: Job, fingerprint: Mapping[str, Any]) -> Result | None:
        """Return the result of a job where one holds: same question, gold, limits and pipeline.

        Args:
            job: That would be run.
            fingerprint: Of its evalset as it is now.
        """
        key = (job.evalset, job.case.id, job.repeat)
        known = self.results.get(key)
        before = self.fingerprints.get(job.evalset)
        if known is None or before is None or key in self._given:  # a rerun asks anew
            return None
        alike = all(before.get(name) == fingerprint.get(name) for name in _SAME)
        if not alike or known.fingerprint != fingerprint_of(job.case) or not _held(known, job):
            return None
        self._given.add(key)
        self.results[key] = _advised(known, job)
        return self.results[key]

    def gave(self, result: Result) -> bool:
        """Tell whether a result is one of these: it was paid for, and told, by the earlier run."""
        return self.results.get(result.key) == result


def told_of_resumed(resumed: Resumed | None, results: Iterable[Result]) -> Iterator[str]:
    """Yield what to say of results that were taken over."""
    if resumed is not None:
        n = sum(resumed.gave(result) for result in results)
        yield f"resumed: {n} result{'' if n == 1 else 's'} taken over from the earlier record"


def _held(known: Result, job: Job) -> bool:
    """Tell whether a result was held to the limits that the case has now."""
    limits = {(limit.metric, limit.min, limit.max) for limit in job.case.checks}
    checked = {(check["metric"], check["min"], check["max"]) for check in known.checks}
    measured = set(known.scores)
    wanted = {metric.name for metric, _ in job.metrics}
    return limits <= checked and wanted <= measured


def _advised(known: Result, job: Job) -> Result:
    """Return a result whose checks decide as far as judges are trusted now."""
    scores = {name: Score(**score) for name, score in known.scores.items()}
    if known.error is not None or all(score.judge is None for score in scores.values()):
        return known
    told = [
        CheckResult(
            limit=Limit(**{name: each[name] for name in Limit.__slots__}),
            value=each["value"],
            passed=each["passed"],
            reason=each["reason"],
            advisory=advice(each["metric"], scores, job.trust),
        )
        for each in known.checks
    ]
    return replace(known, outcome=outcome_of(told), checks=[noted(each) for each in told])


def _files(path: Path) -> Iterator[Path]:
    """Yield a record and those beside it, the most trusted last."""
    beside = (
        *path.parent.glob(f"{path.name}.part*"),
        *path.parent.glob(f"{path.name}.unfinished*"),
    )
    yield from sorted(beside, key=lambda p: p.stat().st_mtime_ns)
    if path.exists():
        yield path
