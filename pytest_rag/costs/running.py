"""What one run costs: summed up as it goes on, written to the ledger, and told at its end."""

from __future__ import annotations

import uuid
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pytest_rag.buildings import numbered
from pytest_rag.costs.ledger import billable, ledger_of
from pytest_rag.costs.money import known, money, to_usd
from pytest_rag.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_rag.buildings import Bills, Building
    from pytest_rag.config import Config
    from pytest_rag.records import Result
    from pytest_rag.types import Call

__all__ = ["RunCosts", "RunLedger", "stopped", "told_buildings", "told_ceiling", "values_of"]


def values_of(call: Call) -> dict[str, Any]:
    """Return a call as a record has it."""
    return {each.name: getattr(call, each.name) for each in fields(call)}


class RunCosts:
    """What the live calls of a run have cost so far, the judges' among them.

    Attributes:
        calls: How many there were.
        unknown_calls: Those whose cost is unknown.
        buildings: Of pipelines, those that asked models for something.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.unknown_calls = 0
        self.buildings: list[Building] = []
        self._nano = 0
        self._models: dict[str, int | None] = {}

    def add(self, calls: Iterable[Mapping[str, Any]]) -> None:
        """Take in calls as a record has them."""
        for call in calls:
            if call.get("origin", "live") != "live":
                continue
            cost, model = known(call.get("cost_usd")), str(call.get("model"))
            before = self._models.get(model, 0)
            self._models[model] = None if cost is None or before is None else before + cost
            self.calls += 1
            self.unknown_calls += cost is None
            self._nano += cost or 0

    @property
    def total_usd(self) -> float | None:
        """US dollars; None where a call's cost is unknown."""
        return None if self.unknown_calls else self.known_usd

    @property
    def known_usd(self) -> float:
        """US dollars of the calls whose cost is known."""
        return to_usd(self._nano)

    @property
    def by_model(self) -> dict[str, float | None]:
        """US dollars by model; None where a call's cost is unknown."""
        return {m: None if nano is None else to_usd(nano) for m, nano in self._models.items()}


class RunLedger:
    """Keeps the ledger of one run; what goes wrong with it is told and never fails the run.

    Args:
        config: Where the ledger is, and when somebody is told.
        run: The run's id; a new one where it is left out.

    Attributes:
        run: The run's id.
        costs: What the run has cost so far.
    """

    def __init__(self, config: Config, run: str | None = None) -> None:
        self.run = run or uuid.uuid4().hex
        self.costs = RunCosts()
        self._config = config
        self._trouble: str | None = None
        self._ledger = ledger_of(config)

    def add_buildings(self, bills: Bills) -> list[Building]:
        """Take in what the building of pipelines asked of models, and return it numbered."""
        made = numbered(bills, len(self.costs.buildings))
        self.costs.buildings += made
        self.add(made)
        return made

    def add(self, results: Iterable[Result | Building]) -> None:
        """Take in results, one by one as they are made."""
        paid = [result for result in results if any(map(billable, result.calls))]
        for result in paid:
            self.costs.add(call for call in result.calls if billable(call))
        if self._ledger is None or self._trouble is not None or not paid:
            return
        try:
            self._ledger.add(self.run, paid)
        except LedgerError as error:
            self._trouble = str(error)

    def finish(self) -> list[tuple[str, str]]:
        """Tell whoever wants to know of costs; returns lines for the terminal with a style."""
        said = []
        if self._trouble is not None:
            again = "What this run cost is in its record: pytest-rag costs --rebuild RUN.jsonl"
            said.append((f"{self._trouble} {again}", "bad"))
        from pytest_rag.costs.alerts import Reached, check

        reached = Reached(run=self.run, costs=self.costs)
        said.extend(check(self._config, None if self._trouble else self._ledger, reached))
        if self._ledger is not None:
            self._ledger.close()
        return said


def stopped(results: Iterable[Result]) -> int:
    """Return how many runs of cases the ceiling stopped."""
    return sum(r.error is not None and r.error["type"] == "BudgetError" for r in results)


def told_buildings(buildings: Iterable[Building]) -> str | None:
    """Return a line on what it cost to build pipelines; None where that was free."""
    calls = [call for each in buildings for call in each.calls]
    if not calls:
        return None
    spent = [known(call.get("cost_usd")) for call in calls]
    sum_usd = to_usd(sum(nano or 0 for nano in spent))
    unknown = f" and {spent.count(None):,} of unknown cost" if None in spent else ""
    again = sum(call.get("origin") != "live" for call in calls)
    where = f", {again:,} of them from a cassette or cache" if again else ""
    many = f"{len(calls):,} call{'' if len(calls) == 1 else 's'}"
    if spent.count(None) == len(calls):
        return f"building the pipelines: {many} of unknown cost{where}"
    return f"building the pipelines: {many}{where}: {money(sum_usd)}{unknown}"


def told_ceiling(limit_usd: float | None, costs: RunCosts, held_back: int) -> str | None:
    """Return a line on a run's ceiling; None where there is none."""
    if limit_usd is None:
        return None
    unknown = f" and {costs.unknown_calls:,} of unknown cost" if costs.unknown_calls else ""
    line = f"ceiling: {money(costs.known_usd)}{unknown} of {money(limit_usd)} spent"
    if not held_back:
        return line
    return f"{line}; for its sake {held_back:,} run{'' if held_back == 1 else 's'} did not start"
