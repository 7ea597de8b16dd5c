"""A run as workflow commands of GitHub Actions: annotations at the lines of its cases."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pytest_rag.report.layout import count, cut, printable
from pytest_rag.report.regression import rank

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

    from pytest_rag.changes import CaseChange
    from pytest_rag.report.reporters import View

__all__ = ["workflow_commands"]

_MOST = 10
"""Annotations of a kind that GitHub takes from one step."""

_SCORES = 3
_GOLD = 2
_SEE = "see the report"
_WORDS = {"failed": "failed", "error": "broke", "not_run": "was not run"}

Level = Literal["error", "warning"]


def workflow_commands(view: View) -> str:
    """Return a workflow command a line: errors for what is red, warnings for what fell.

    GitHub shows ten of each kind a step, so the whole comes first, then cases as they ran, and the
    last of too many says how many there are.
    """
    lines = [*_whole(view), *_failed(view), *_fell(view)]
    return "".join(
        f"{line}\n" for level in ("error", "warning") for line in _bounded(lines, f"::{level}")
    )


def _bounded(lines: list[str], start: str) -> list[str]:
    found = [line for line in lines if line.startswith(start)]
    if len(found) <= _MOST:
        return found
    rest = count(len(found) - _MOST + 1, "more annotation")
    return [*found[: _MOST - 1], f"{start} title=pytest-rag::… and {rest}: see the report"]


def _whole(view: View) -> Iterator[str]:
    """Yield what is red of the evalsets as a whole, at their files."""
    for each in view.summary.evalsets:
        if each.held.bad:
            where = view.places.get((each.name, None))
            yield _command("error", f"{each.name} is red", "; ".join(each.held.reasons), where)


def _failed(view: View) -> Iterator[str]:
    for each in view.summary.evalsets:
        for trouble in each.troubles:
            level: Level = "warning" if trouble.outcome == "not_run" else "error"
            why = "; ".join(trouble.reasons) or _SEE
            for case in trouble.cases:
                where = view.places.get((each.name, case))
                yield _command(level, f"{case} {_WORDS[trouble.outcome]}", why, where)


def _fell(view: View) -> Iterator[str]:
    """Yield cases that pass and yet fell against the baseline: what explains a red gate."""
    for each in view.summary.evalsets:
        found = each.held.comparison
        if found is None or not found.bad:
            continue
        failed = {case for trouble in each.troubles for case in trouble.cases}
        gated = {metric.metric for metric in found.metrics}
        for change in found.changes:
            if change.fell and change.case not in failed:
                where = view.places.get((each.name, change.case))
                yield _command("warning", f"{change.case} fell", _story(change, gated), where)


def _story(change: CaseChange, gated: Set[str]) -> str:
    """Return the gated scores that fell, or any where none of those did, and what was lost."""
    fell = {name: pair for name, pair in change.scores.items() if pair[1] < pair[0]}
    told = {name: pair for name, pair in fell.items() if name in gated} or fell
    scores = [f"{name} {before:.3f} → {now:.3f}" for name, (before, now) in told.items()]
    lost = [(name, gold) for name, gold in change.gold.items() if gold.lost]
    gold = [f"{name}: {rank(each)}" for name, each in lost[:_GOLD]]
    return "; ".join([*scores[:_SCORES], *gold]) or _SEE


def _command(level: Level, title: str, text: str, where: tuple[Path, int] | None) -> str:
    """Return one command; what a pipeline or a document said cannot end it or begin another."""
    fields = {}
    if where is not None:
        path, line = where
        fields["file"] = _near(path)
        if line:
            fields["line"] = str(line)
    fields["title"] = printable(cut(title, 80))
    told = ",".join(f"{name}={_value(value)}" for name, value in fields.items())
    return f"::{level} {told}::{_data(printable(cut(text)))}"


def _near(path: Path) -> str:
    """Return a path from the repository's root, as GitHub wants it."""
    top = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    path = path.resolve()
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else path.as_posix()


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _value(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
