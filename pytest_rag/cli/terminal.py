"""Writing to the terminal: lines with a style, and a progress bar."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.progress import Progress, TaskID

    from pytest_rag.records import Result

__all__ = ["Steps", "progress", "say", "steps", "width"]

_STYLES = {"": "", "good": "green", "bad": "red", "dim": "dim", "bold": "bold"}


def say(lines: Iterable[tuple[str, str]]) -> None:
    """Print lines, each with one of the styles ``good``, ``bad``, ``dim``, ``bold`` or none."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for text, style in lines:
        console.print(Text(text, style=_STYLES[style]))


def width() -> int:
    """Return the columns of the terminal; 100 where output goes elsewhere."""
    return shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100


@contextmanager
def progress(total: int) -> Iterator[Callable[[Result], None]]:
    """Show a bar on stderr while a run lasts; nothing where stderr is no terminal.

    Yields:
        What to call with every result.
    """
    from pytest_rag.report.layout import cost_so_far

    with _bar(total, failed=0, cost="") as (bar, task):
        failed, usd, partly = 0, 0.0, False

        def advance(result: Result) -> None:
            nonlocal failed, usd, partly
            failed += result.outcome in ("failed", "error")
            usd += result.cost_usd or 0.0
            partly |= result.cost_usd is None and result.outcome != "not_run"
            cost = cost_so_far(usd, partly=partly)
            bar.update(task, advance=1, description=result.evalset, failed=failed, cost=cost)

        yield advance


@contextmanager
def steps(total: int) -> Iterator[Steps]:
    """Show a bar on stderr over the steps of a long work; nothing where stderr is no terminal."""
    with _bar(total) as (bar, task):
        yield Steps(bar, task)


class Steps:
    """A bar over the steps of a long work.

    Args:
        bar: That of rich.
        task: The work's number in it.
    """

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def begin(self, what: str) -> None:
        """Say what is being done."""
        self._bar.update(self._task, description=what)

    def end(self) -> None:
        """Count a step as done."""
        self._bar.update(self._task, advance=1)

    def tell(self, line: str) -> None:
        """Print a line that stays above the bar."""
        if not self._bar.disable:
            self._bar.console.print(line, highlight=False, markup=False)


@contextmanager
def _bar(total: int, **fields: Any) -> Iterator[tuple[Progress, TaskID]]:
    """Show a bar on stderr, disabled where that is no terminal.

    Args:
        total: Steps there are.
        fields: ``failed`` and ``cost``, where they are to be shown.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    told = ("{task.fields[failed]} failed", "red"), ("{task.fields[cost]}", "dim")
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *(TextColumn(text, style=style, markup=False) for text, style in told if fields),
        TimeElapsedColumn(),
        TextColumn("left", style="dim"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        yield bar, bar.add_task("", total=total, **fields)
