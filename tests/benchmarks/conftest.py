"""The table that the benchmarks fill and the end of the run prints."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

_ROWS: pytest.StashKey[list[Row]] = pytest.StashKey()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure beside what it is meant to be."""

    what: str
    measured: str
    target: str
    how: str


@pytest.fixture
def row(request: pytest.FixtureRequest):
    """Add a line to the table: ``row("what", "1.01x", "≤ 1.03x", "how it was measured")``."""

    def add(what: str, measured: str, target: str = "", how: str = "") -> None:
        rows = request.config.stash.setdefault(_ROWS, [])
        rows.append(Row(what=what, measured=measured, target=target, how=how))

    return add


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """Print the table."""
    rows = config.stash.get(_ROWS, [])
    if not rows:
        return
    terminalreporter.section("benchmarks")
    heads = Row(what="", measured="measured", target="target", how="")
    left = max(len(r.what) for r in rows)
    middle = max(len(r.measured) for r in [heads, *rows])
    right = max(len(r.target) for r in [heads, *rows])
    for r in [heads, *rows]:
        line = f"{r.what:<{left}}  {r.measured:>{middle}}  {r.target:>{right}}  {r.how}"
        terminalreporter.write_line(line.rstrip())
