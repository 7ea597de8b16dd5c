"""Writing to the terminal: lines with a style, and a progress bar."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_rag.records import Result

__all__ = ["progress", "say", "width"]

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
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed", style="red", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, failed=0)
        failed = 0

        def advance(result: Result) -> None:
            nonlocal failed
            failed += result.outcome in ("failed", "error")
            bar.update(task, advance=1, description=result.evalset, failed=failed)

        yield advance
