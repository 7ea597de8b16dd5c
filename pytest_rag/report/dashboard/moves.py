"""What became of the cases since the run before."""

from __future__ import annotations

from collections import Counter
from math import isclose
from typing import TYPE_CHECKING

from pytest_rag.gate import by_case, case_outcome
from pytest_rag.report.dashboard.history import mean_score
from pytest_rag.report.layout import count, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_rag.records import Result
    from pytest_rag.report.dashboard.history import History

__all__ = ["CHANGES", "moved", "moves", "stage_lost"]

CHANGES = ("passed before", "worse", "new", "same", "better", "mended")
"""What may become of a case; what a reviewer must see first comes first."""

_FATES = (
    ("not in the index", "label"),
    ("in the context", "synthesize"),
    ("rerank", "rerank"),
    ("filtered", "rerank"),
    ("cut from", "rerank"),
    ("not retrieved", "retrieve"),
    ("retrieved, but", "rerank"),
)


def moves(history: History) -> dict[str, str]:
    """Return what became of each case of the newest run, one of `CHANGES`.

    Of a case that passes as it did, or fails as it did, the first metric decides.
    """
    now = by_case(history.head.results)
    before = {} if history.base is None else by_case(history.base.results)
    metric = history.metrics[0] if history.metrics else ""
    return {case: _change(runs, before.get(case, []), metric) for case, runs in now.items()}


def moved(history: History) -> str:
    """Return that in one sentence; empty where there is no run before."""
    if history.base is None:
        return ""
    found = moves(history)
    n = Counter(found.values())
    by = f" by {history.metrics[0]}" if history.metrics else ""
    words = (
        ("passed before", "no longer passing"),
        ("worse", f"worse{by}"),
        ("better", f"better{by}"),
        ("mended", "passing again"),
    )
    parts = [f"{n[change]:,} {word}" for change, word in words if n[change]]
    what = f"{', '.join(parts) or 'none moved'}{_blamed(history, found)}"
    cases = count(n.total(), "case")
    return printable(f"Since the run before ({history.base.label}), of {cases}: {what}.")


def _blamed(history: History, found: Mapping[str, str]) -> str:
    """Return at which stages the cases that fell lost their gold."""
    runs = by_case(history.head.results)
    fell = [case for case, change in found.items() if change in ("passed before", "worse")]
    stages = Counter(stage for case in fell if (stage := stage_lost(runs[case])))
    told = ", ".join(f"{stage} in {n:,}" for stage, n in stages.most_common())
    return f"; gold was lost at {told}" if told else ""


def _change(now: Sequence[Result], before: Sequence[Result], metric: str) -> str:
    if not before:
        return "new"
    passes, passed = (case_outcome(runs) == "passed" for runs in (now, before))
    if passes != passed:
        return "mended" if passes else "passed before"
    ours, theirs = mean_score(now, metric), mean_score(before, metric)
    if ours is None or theirs is None or isclose(ours, theirs, rel_tol=0, abs_tol=1e-6):
        return "same"
    return "worse" if ours < theirs else "better"


def stage_lost(runs: Sequence[Result]) -> str:
    """Return the stage that lost a gold document, or broke; empty where none did."""
    for run in runs:
        for gold in run.gold.values():
            lost = str(gold.get("lost") or "")
            for words, stage in _FATES if lost else ():
                if words in lost:
                    return stage
    return ""
