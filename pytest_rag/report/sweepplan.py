"""What a sweep would do, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_rag.costs.money import to_usd
from pytest_rag.report.layout import count, money, printable
from pytest_rag.sweep.race import looks
from pytest_rag.sweep.space import label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_rag.costs.ledger import Ledger
    from pytest_rag.sweep.plan import Sweep
    from pytest_rag.sweep.space import Knob
    from pytest_rag.sweep.split import Split

__all__ = ["plan_lines"]


def plan_lines(
    sweep: Sweep, parts: Split, ledger: Ledger | None, limit: float | None
) -> Iterator[str]:
    """Yield what would be searched, with how many cases, and what it may cost.

    Args:
        sweep: What is to be done.
        parts: Of its cases.
        ledger: Gives the estimate, or None.
        limit: The ceiling in US dollars, or None.
    """
    yield from map(printable, _lines(sweep, parts, ledger, limit))


def _lines(sweep: Sweep, parts: Split, ledger: Ledger | None, limit: float | None) -> Iterator[str]:
    size = sweep.space.size()
    points = "very many points" if size is None else count(size, "point")
    trials = sweep.trials if size is None else min(sweep.trials, size + 1)
    objectives = ", ".join(each.name for each in sweep.objectives)
    yield f"{sweep.name}: {count(trials, 'candidate')} of {points}, {sweep.sampler}, {objectives}"
    for knob in sweep.space.knobs:
        yield f"  {knob.name}: {_knob(knob)}"
    runs = [sum(case.repeat for case in part) for part in parts]
    yield (
        f"cases: {len(parts.search)} searched with, {len(parts.heldout)} held out for the current "
        "configuration and the recommended one"
    )
    at = looks(len(parts.search))[:-1]
    if sweep.prune is not None and at:
        told = ", ".join(map(str, at))
        yield f"stopped early: candidates that are surely worse after {told} cases"
    most = trials * runs[0] + 2 * runs[1]
    yield f"at most {count(most, 'run')}, {_cost(sweep, most, ledger)}" + (
        "" if limit is None else f"; ceiling {money(limit)}"
    )


def _knob(knob: Knob) -> str:
    if knob.choices is not None:
        told = ", ".join(map(label, knob.choices))
    else:
        told = f"{knob.low:g} to {knob.high:g}"
        told += f" by {knob.step:g}" if knob.step and knob.step != 1 else ""
        told += " (log)" if knob.log else ""
    used = ", ".join(f"{name} {' or '.join(map(label, v))}" for name, v in knob.when.items())
    return f"{told}, where {used}" if used else told


def _cost(sweep: Sweep, runs: int, ledger: Ledger | None) -> str:
    costs = None if ledger is None else ledger.cases_of(sweep.evalset.name)
    if costs is None or not costs.runs:
        return "cost unknown: the ledger has no paid run of this evalset"
    usd = money(to_usd(runs * costs.mean_nano))
    return f"about {usd} (by the ledger: {count(costs.runs, 'earlier run')} of its cases)"
