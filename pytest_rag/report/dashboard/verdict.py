"""The verdict on an evalset in the words of its newest run, the first thing a reader sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_rag.gate import NEEDS_BASELINE
from pytest_rag.report.layout import count, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_rag.report.dashboard.history import History

__all__ = ["Verdict", "verdict"]

_MOST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was decided.

    Attributes:
        tone: How it looks: ``odd`` is green with something to look at.
        word: ``Green``, ``Red`` or ``Nothing was measured``.
        sentence: The same in a few words more.
        reasons: First things first; empty where all is well.
    """

    tone: Literal["good", "odd", "bad"]
    word: str
    sentence: str
    reasons: tuple[str, ...] = ()


def verdict(history: History) -> Verdict:
    """Return red, green, or that nothing was measured, with the reasons."""
    n = history.head.summary.outcomes
    held = history.head.run.verdicts.get(history.name, {})
    reasons = [f"{count(n['failed'], 'case')} failed"] if n["failed"] else []
    reasons += [f"{count(n['error'], 'case')} broke"] if n["error"] else []
    reasons += [*_broken_limits(held), *_regressed(held)] if held.get("bad") else []
    if held.get("missing"):
        reasons.append(str(held["missing"]))
    if not n["passed"] + n["failed"]:
        return _told("bad", "Nothing was measured", "So nothing can be said.", reasons)
    if reasons or held.get("bad"):
        return _told("bad", "Red", "This run does not hold what was asked.", reasons)
    doubts = [f"{count(n['not_run'], 'case')} not run"] if n["not_run"] else []
    doubts += _not_judged(held)
    advice = history.head.summary.advice
    doubts += [f"{each.metric} decides nothing: {each.reason}" for each in advice]
    if doubts:
        return _told("odd", "Green", "With something to look at.", doubts)
    return _told("good", "Green", "Every case and every limit holds.", [])


def _told(
    tone: Literal["good", "odd", "bad"], word: str, sentence: str, reasons: list[str]
) -> Verdict:
    shown = [printable(reason) for reason in reasons[:_MOST]]
    if len(reasons) > _MOST:
        shown.append(f"and {len(reasons) - _MOST} more")
    return Verdict(tone=tone, word=word, sentence=sentence, reasons=tuple(shown))


def _not_judged(held: Mapping[str, Any]) -> list[str]:
    waiting = [gate for gate in held.get("gates", ()) if gate.get("passed") is None]
    some = [gate for gate in waiting if gate.get("reason") != NEEDS_BASELINE]
    return [f"{count(len(some), 'limit')} not judged: {some[0].get('reason')}"] if some else []


def _broken_limits(held: Mapping[str, Any]) -> Iterator[str]:
    for gate in held.get("gates", ()):
        if gate.get("passed") is False and not gate.get("advisory"):
            yield f"{gate.get('name')} {gate.get('reason')}"


def _regressed(held: Mapping[str, Any]) -> Iterator[str]:
    found = held.get("comparison") or {}
    for each in found.get("metrics", ()):
        worse = each.get("verdict") == "regressed" or each.get("refused")
        if worse and not each.get("advisory"):
            yield f"{each.get('metric')} {each.get('reason') or each.get('verdict')}"
    for key, words in (
        ("broke", "failing that passed before"),
        ("unlabelled", "whose gold left the index"),
        ("unmeasured", "that could not be measured"),
    ):
        if found.get(key):
            yield f"{count(len(found[key]), 'case')} {words}"
