"""Answers that people judged, judged once more by metrics: a run whose pipeline is the file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_rag.calibrating.chosen import case_of, retrieved_of
from pytest_rag.costs.budget import open_budget
from pytest_rag.costs.prices import JUDGE
from pytest_rag.costs.running import RunLedger, stopped, told_ceiling
from pytest_rag.errors import CalibrationError
from pytest_rag.evaluation import paying
from pytest_rag.judge import Job
from pytest_rag.pipelines.adapters import adapt
from pytest_rag.replay import Deck
from pytest_rag.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_rag.calibrating.chosen import Chosen
    from pytest_rag.calibrating.human import Judged
    from pytest_rag.config import Config
    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.records import Result

__all__ = ["SAMPLE", "Measured", "Measuring"]

SAMPLE = 50
"""Answers that are judged repeatedly, to see whether a judge says the same again."""


@dataclass(slots=True, kw_only=True)
class Measured:
    """What a metric said of the answers.

    Attributes:
        values: By row, the score of the first judgement; None where there is none.
        again: By row, the scores of all judgements, for rows that were judged repeatedly.
        lost: Reasons of answers without a score, with how often.
        version: Of the scores; None where there is none.
        judge: The model that was asked, or None.
        judgements: How many were made.
        calls: Calls of models they took.
        cost_usd: What they cost; None where that of a call is unknown.
    """

    values: list[float | None]
    again: dict[int, list[float | None]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    version: str | None = None
    judge: str | None = None
    judgements: int = 0
    calls: int = 0
    cost_usd: float | None = 0.0


class Measuring:
    """Lets metrics judge the answers of a file.

    Args:
        rows: The answers.
        config: For judge, prices, limits of rate and concurrency.
        source: The file, for the ledger and the pacing of calls.
        repeat: How often the first answers are judged by a metric that asks a judge.
        limit: US dollars it may cost, or None.
    """

    def __init__(
        self,
        rows: Sequence[Judged],
        config: Config,
        source: Path,
        *,
        repeat: int = 1,
        limit: float | None = None,
    ) -> None:
        self._rows = rows
        self._source = source
        self._repeat = repeat
        self._limit = limit
        self._ledger = RunLedger(config)
        budget = None if limit is None else open_budget(limit, config)
        self._deck = Deck(
            "live",
            lambda *_: "",
            lambda: (config.limits, config.retries),
            None,
            None if budget is None else partial(paying, budget, config),
        )
        self._runner = Runner(config, budget)
        self._stopped = 0

    def total(self, chosen: Sequence[Chosen]) -> int:
        """Return how many answers are judged in all, each time counted."""
        return sum(len(jobs) for _, jobs in self._plan(chosen))

    def run(
        self, chosen: Sequence[Chosen], advance: Callable[[Result], object]
    ) -> dict[str, Measured]:
        """Judge every answer by every metric; by name, what was found.

        Args:
            chosen: The metrics.
            advance: Called with every result.

        Raises:
            CalibrationError: if the ceiling on the cost stopped it.
            KeyboardInterrupt: what was paid is in the ledger.
        """
        pipeline = self._pipeline()
        found = {c.metric.name: Measured(values=[None] * len(self._rows)) for c in chosen}
        try:
            for some, jobs in self._plan(chosen):
                for future, job in zip(self._runner.start(pipeline, jobs), jobs, strict=True):
                    result = self._runner.result(future)
                    self._keep(result)
                    for each in some:
                        _take(found[each.metric.name], each, job, result)
                    advance(result)
        finally:
            for result in self._runner.unclaimed():
                self._ledger.add([result])
            self._runner.close()
            self._deck.close()
        if self._stopped:
            raise CalibrationError(
                f"{told_ceiling(self._limit, self._ledger.costs, self._stopped)}. Nothing was "
                "written: raise --max-cost, or label fewer answers."
            )
        return found

    def told_costs(self) -> list[tuple[str, str]]:
        """Return what is to be said of costs, with a style."""
        return self._ledger.finish()

    def _keep(self, result: Result) -> None:
        self._ledger.add([result])
        self._stopped += stopped([result])

    def _plan(self, chosen: Sequence[Chosen]) -> Iterator[tuple[list[Chosen], list[Job]]]:
        """Yield metrics that are computed together: a judge's alone, for its price is its own."""
        local = [each for each in chosen if not each.judged]
        for some in [local] if local else []:
            yield some, self._jobs(some, 1)
        for each in chosen:
            if each.judged:
                yield [each], self._jobs([each], self._repeat)

    def _jobs(self, some: Sequence[Chosen], repeat: int) -> list[Job]:
        metrics = [(each.metric, each.argument) for each in some]
        return [
            Job(
                evalset=self._source.stem,
                case=case_of(row, number),
                metrics=metrics,
                repeat=nth,
            )
            for nth in range(repeat)
            for number, row in enumerate(self._rows[: SAMPLE if nth else None])
        ]

    def _pipeline(self) -> Pipeline:
        """Return what answers with the file's own answers."""
        rows = self._rows

        def recorded(query: str, filters: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
            row = rows[filters["row"]]
            nodes = retrieved_of(row)
            told: dict[str, Any] = {"answer": row.answer}
            if nodes is not None:
                told["retrieved"] = [{"id": node.id, "text": node.text} for node in nodes]
            return told

        tape = self._deck.tape(self._source.stem, self._source)
        return replace(adapt(recorded), tape=tape)


def _take(found: Measured, each: Chosen, job: Job, result: Result) -> None:
    row, name = job.case.filters["row"], each.metric.name
    score = result.scores.get(name) or {"value": None, "reason": _broken(result)}
    value = score["value"]
    if job.repeat == 0:
        found.values[row] = value
        if value is None:
            found.lost[str(score["reason"])] += 1
    if value is not None:
        found.version = score["version"]
    found.judge = score.get("judge", found.judge)
    if each.judged:
        found.again.setdefault(row, []).append(value)
        calls = [call for call in result.calls if call.get("stage") == JUDGE]
        found.judgements += bool(calls)
        found.calls += len(calls)
        known, more = found.cost_usd, result.judge_cost_usd
        found.cost_usd = None if known is None or more is None else known + more


def _broken(result: Result) -> str:
    return "it was not judged" if result.error is None else result.error["message"]
