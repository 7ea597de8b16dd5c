"""Results → what is said at the end of a run, and its exit status."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pytest_rag.gate import by_case, case_outcome, judge_limits
from pytest_rag.report.failure import case_failure
from pytest_rag.report.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_rag.records import Result
    from pytest_rag.report.summary import Summary
    from pytest_rag.types import EvalSet

__all__ = ["command_again", "exit_status", "failures", "summary_of"]

_MOST_NAMED = 5


def summary_of(
    results: Sequence[Result], evalsets: Iterable[EvalSet], declared: Mapping[str, EvalSet]
) -> Summary:
    """Summarise a run, limits on the whole among it.

    Args:
        results: Of all evalsets.
        evalsets: With the cases that were selected.
        declared: The same evalsets with all cases of their files, by name.
    """
    evalsets = list(evalsets)
    gates = {
        evalset.name: judge_limits(
            evalset.gate,
            [result for result in results if result.evalset == evalset.name],
            declared=len(declared[evalset.name].cases),
            min_pass={case.id: case.min_pass for case in evalset.cases},
        )
        for evalset in evalsets
    }
    needed = {(e.name, case.id): case.min_pass for e in evalsets for case in e.cases}
    return summarise(results, gates, min_pass=needed)


def exit_status(summary: Summary) -> int:
    """Return 3 where nothing was measured, 1 where a case or a limit failed, else 0."""
    if not summary.measured:
        return 3
    gates = (gate for evalset in summary.evalsets for gate in evalset.gates)
    bad = summary.outcomes["failed"] + summary.outcomes["error"]
    return int(bad > 0 or any(gate.passed is False for gate in gates))


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
