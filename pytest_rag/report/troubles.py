"""What did not pass, and what was judged and decides nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.report.layout import cut
from pytest_rag.types import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_rag.records import Result
    from pytest_rag.types import Outcome
    from pytest_rag.verdict import Held

__all__ = ["Advice", "Trouble", "advice", "case_reasons", "decides", "troubles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Cases that did not pass for the same reasons.

    Attributes:
        outcome: ``failed``, ``error`` or ``not_run``.
        reasons: Each once.
        cases: Their ids, in the order they ran.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    cases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A judged metric whose checks and limits are told, and decide nothing.

    Attributes:
        metric: Its name.
        reason: Why: what nobody has found of its judge, or what was found.
        checked: Cases with a check on it.
        missed: Those of them that do not keep it in every run, in the order they ran.
        broken: The first reason why a run has no score to check, such as a judge that broke.
    """

    metric: str
    reason: str
    checked: int
    missed: tuple[str, ...]
    broken: str | None


def troubles(
    cases: Mapping[str, Sequence[Result]], outcomes: Mapping[str, Outcome]
) -> Iterator[Trouble]:
    """Yield what did not pass, cases with the same reasons together: failed, error, not run.

    Args:
        cases: Runs by case.
        outcomes: Of each case.
    """
    groups: dict[tuple[Outcome, tuple[str, ...]], list[str]] = {}
    for case, runs in cases.items():
        if outcomes[case] != "passed":
            groups.setdefault((outcomes[case], case_reasons(runs)), []).append(case)
    for (outcome, reasons), ids in sorted(groups.items(), key=lambda g: OUTCOMES.index(g[0][0])):
        yield Trouble(outcome=outcome, reasons=reasons, cases=tuple(ids))


def advice(cases: Mapping[str, Sequence[Result]], held: Held) -> Iterator[Advice]:
    """Yield what was judged and decides nothing, by metric.

    Args:
        cases: Runs by case.
        held: What was decided of the whole.
    """
    reasons = {gate.limit.metric: gate.advisory for gate in held.gates if gate.advisory}
    compared = () if held.comparison is None else held.comparison.metrics
    reasons |= {each.metric: each.advisory for each in compared if each.advisory}
    kept: dict[str, dict[str, bool]] = {}
    broken: dict[str, str] = {}
    for case, runs in cases.items():
        for check in (check for run in runs for check in run.checks):
            if not decides(check):
                reasons.setdefault(check["metric"], check["advisory"])
                of = kept.setdefault(check["metric"], {})
                of[case] = of.get(case, True) and check["passed"]
                if check["value"] is None:
                    broken.setdefault(check["metric"], cut(check.get("reason") or "unknown"))
    for metric, reason in sorted(reasons.items()):
        of = kept.get(metric, {})
        missed = tuple(case for case, well in of.items() if not well)
        yield Advice(
            metric=metric,
            reason=reason,
            checked=len(of),
            missed=missed,
            broken=broken.get(metric),
        )


def decides(check: Mapping[str, Any]) -> bool:
    """Tell whether a recorded check counts; that of a judge nobody trusts does not."""
    return check.get("advisory") is None


def case_reasons(runs: Sequence[Result]) -> tuple[str, ...]:
    """Return what went wrong in the runs of a case: each check once, each error once.

    Where a check failed in several runs the first one's reason is told, with their number.
    """
    first: dict[Any, str] = {}
    counts: Counter[Any] = Counter()
    for run in runs:
        for key, reason in _complaints(run):
            first.setdefault(key, cut(reason))
            counts[key] += 1
    if len(runs) == 1:
        return tuple(first.values())
    return tuple(f"{text} ({counts[key]} of {len(runs)} runs)" for key, text in first.items())


def _complaints(run: Result) -> Iterator[tuple[Any, str]]:
    """Yield what is wrong with a run, each with a key that is the same in its repeats."""
    if run.error is not None:
        message = (run.error["message"].strip().splitlines() or [""])[0]
        kind = "" if run.outcome == "not_run" else run.error["type"]
        text = ": ".join(filter(None, (kind, message)))
        yield text, text
    for check in run.checks:
        if decides(check) and not check["passed"]:
            reason = check.get("reason") or f"{check['metric']} did not pass"
            yield (check["metric"], repr(check.get("argument"))), reason
