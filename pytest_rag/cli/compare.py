"""``pytest-rag compare``: two saved runs, case by case; nothing is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pytest_rag.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_rag.baseline import Measured
    from pytest_rag.compare import Comparison
    from pytest_rag.records import Result, Run
    from pytest_rag.report.summary import EvalSetSummary
    from pytest_rag.types import GateLimit

__all__ = ["compare"]


def compare(
    base: Annotated[Path, typer.Argument(metavar="A.jsonl", help="The run record before.")],
    head: Annotated[Path, typer.Argument(metavar="B.jsonl", help="The run record now.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every case that moved.")
    ] = False,
) -> None:
    """Hold one run against another: quality by verdict; time, tokens and cost side by side."""
    from pytest_rag import records

    runs = records.read(base), records.read(head)
    shared = _shared(base, head, *runs)
    found = [_Compared.of(name, *runs, told=str(base)) for name in shared]
    notes = list(_notes(*runs, shared))
    if as_json:
        whole = {"base": str(base), "head": str(head), "notes": notes}
        evalsets = {each.name: each.to_dict() for each in found}
        typer.echo(json.dumps({**whole, "evalsets": evalsets}, ensure_ascii=False, indent=2))
    else:
        _tell(found, notes, verbose=verbose)
    raise typer.Exit(int(any(each.bad for each in found)))


def _shared(base: Path, head: Path, was: Run, now: Run) -> list[str]:
    """Return the evalsets that both runs measured something of.

    Raises:
        UsageError: if there is none.
    """
    sides = [_measured_sets(run) for run in (was, now)]
    for path, names in zip((base, head), sides, strict=True):
        if not names:
            raise UsageError(f"{path} measured nothing that could be compared.")
    shared = [name for name in sides[1] if name in sides[0]]
    if not shared:
        raise UsageError(
            f"{base} is a run of {_names(sides[0])} and {head} one of {_names(sides[1])}: they "
            "have no evalset in common, so there is nothing to compare."
        )
    return shared


def _measured_sets(run: Run) -> list[str]:
    known = run.header.get("evalsets", {})
    ran = dict.fromkeys(r.evalset for r in run.results if r.outcome in ("passed", "failed"))
    return [name for name in ran if name in known] or list(ran)


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """An evalset in two runs."""

    name: str
    comparison: Comparison
    gated: bool
    sides: tuple[EvalSetSummary, EvalSetSummary]

    @property
    def bad(self) -> bool:
        """Whether the exit status is 1; where nothing is gated, all of it is for information."""
        return self.gated and self.comparison.bad

    @classmethod
    def of(cls, name: str, was: Run, now: Run, *, told: str) -> _Compared:
        """Compare an evalset of two runs by the limits that the second was held to."""
        from pytest_rag.baseline import measure
        from pytest_rag.compare import compare as decide
        from pytest_rag.gate import limits_of

        runs = [[r for r in run.results if r.evalset == name] for run in (was, now)]
        facts = [run.header.get("evalsets", {}).get(name, {}) for run in (was, now)]
        before, after = (measure(name, r, f) for r, f in zip(runs, facts, strict=True))
        limits, alpha = limits_of(facts[1].get("gate") or {})
        gate = [limit for limit in limits if limit.max_drop is not None]
        ids = {result.case for result in runs[1]}
        comparison = decide(
            before.baseline,
            after,
            gate or _ungated(before, after),
            alpha=alpha,
            declared=sorted(ids) if len(ids) == facts[1].get("cases") else None,
            bar=told,
            before=before.times,
        )
        sides = (_side(name, runs[0]), _side(name, runs[1]))
        return cls(name=name, comparison=comparison, gated=bool(gate), sides=sides)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        from pytest_rag.report.beside import side_of

        base, head = map(side_of, self.sides)
        comparison = self.comparison.to_dict()
        return {"gated": self.gated, "comparison": comparison, "base": base, "head": head}


def _ungated(before: Measured, after: Measured) -> list[GateLimit]:
    """Return a limit without tolerance for every metric that both sides have."""
    from pytest_rag.types import GateLimit

    both = sorted(before.baseline.scores.keys() & after.baseline.scores.keys())
    return [GateLimit(metric=name, max_drop=0.0) for name in both]


def _side(name: str, results: Sequence[Result]) -> EvalSetSummary:
    from pytest_rag.report.summary import summarise

    return next(s for s in summarise(results, {}).evalsets if s.name == name)


def _notes(was: Run, now: Run, shared: Sequence[str]) -> Iterator[str]:
    """Yield what a reader must know before believing a figure."""
    for letter, run in (("A", was), ("B", now)):
        alone = [name for name in _measured_sets(run) if name not in shared]
        if alone:
            yield f"Only {letter} holds {', '.join(alone)}: not compared."
        if not run.complete:
            yield f"{letter} is no complete run: what it measured is compared."
    if was.header.get("machine") != now.header.get("machine"):
        yield (
            "The machines differ, so latencies tell nothing of the code. To measure both on one: "
            "pytest-rag ab"
        )


def _tell(found: Sequence[_Compared], notes: Sequence[str], *, verbose: bool) -> None:
    from pytest_rag.cli.terminal import say, width
    from pytest_rag.report.beside import side_lines

    for each in found:
        say(
            side_lines(
                each.sides, each.comparison, width=width(), verbose=verbose, gated=each.gated
            )
        )
    say((note, "bold") for note in notes)
