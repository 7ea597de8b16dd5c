"""Results → what is said at the end of a run, and its exit status."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.gate import by_case, case_outcome
from pytest_rag.report.failure import case_failure
from pytest_rag.report.layout import count
from pytest_rag.report.summary import summarise
from pytest_rag.verdict import hold_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_rag.baseline.source import Bars
    from pytest_rag.records import Result
    from pytest_rag.report.summary import Summary
    from pytest_rag.types import EvalSet
    from pytest_rag.verdict import Held, Update

__all__ = ["Judging", "command_again", "exit_status", "failures", "summary_of", "unreviewed"]

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What results are held against.

    Attributes:
        declared: The evalsets as their files say, by name; what is run may be a part of them.
        bars: Where the baselines are.
        update: Whether what is measured is accepted.
        shard: Which part of the cases is run, as ``1/3``, or None.
    """

    declared: Mapping[str, EvalSet]
    bars: Bars
    update: Update | None = None
    shard: str | None = None

    def hold(
        self,
        results: Iterable[Result],
        facts: Mapping[str, Mapping[str, Any]],
        min_pass: Mapping[tuple[str, str], int],
        *,
        ended: bool,
    ) -> dict[str, Held]:
        """Decide over every evalset of a run.

        Raises:
            BaselineError: if a bar cannot be used.
        """
        return hold_all(
            self.declared,
            results,
            facts,
            self.bars,
            min_pass=min_pass,
            update=self.update,
            cut_short=not ended,
            shard=self.shard,
        )


def summary_of(
    results: Sequence[Result], evalsets: Iterable[EvalSet], held: Mapping[str, Held]
) -> Summary:
    """Summarise a run, with what was decided of each evalset.

    Args:
        results: Of all evalsets.
        evalsets: With the cases that were selected.
        held: By evalset.
    """
    needed = {(e.name, case.id): case.min_pass for e in evalsets for case in e.cases}
    return summarise(results, held, min_pass=needed)


def exit_status(summary: Summary) -> int:
    """Return 3 where nothing was measured, 1 where a case or a limit failed, else 0."""
    if not summary.measured:
        return 3
    bad = summary.outcomes["failed"] + summary.outcomes["error"]
    return int(bad > 0 or any(evalset.held.bad for evalset in summary.evalsets))


def failures(results: Sequence[Result], evalsets: Iterable[EvalSet], width: int) -> Iterator[str]:
    """Yield the text of every case that failed or broke; an error is told in full once."""
    told: set[str] = set()
    for evalset in evalsets:
        runs = by_case(result for result in results if result.evalset == evalset.name)
        for case in evalset.cases:
            of = runs.get(case.id)
            if not of or case_outcome(of, case.min_pass) not in ("failed", "error"):
                continue
            errors = {r.error["traceback"] for r in of if r.error and r.error["traceback"]}
            known = bool(errors) and errors <= told
            yield "\n".join(case_failure(of, case, told=known, width=width))
            told |= errors


def unreviewed(evalsets: Iterable[EvalSet]) -> Iterator[str]:
    """Yield a sentence for every evalset that holds cases nobody has reviewed."""
    for evalset in evalsets:
        if evalset.drafts:
            which = count(len(evalset.drafts), "case")
            yield f"not reviewed: {which} of {evalset.name}, not run"


def command_again(paths: Iterable[Path], summary: Summary) -> str:
    """Return what to type to run those cases again that did not pass, if they are few."""
    bad = [
        case
        for evalset in summary.evalsets
        for trouble in evalset.troubles
        if trouble.outcome != "not_run"
        for case in trouble.cases
    ]
    words = ["pytest-rag", "run", *map(str, paths)]
    if len(bad) <= _MOST_NAMED:
        words += [word for case in dict.fromkeys(bad) for word in ("--case", case)]
    return shlex.join(words)
