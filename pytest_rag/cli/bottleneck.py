"""``pytest-rag bottleneck``: where a saved run spent time and money; nothing is asked."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

__all__ = ["bottleneck"]


def bottleneck(
    record: Annotated[Path, typer.Argument(metavar="RUN.jsonl", help="The run record.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--md", help="Print it as Markdown.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every finding, however small.")
    ] = False,
) -> None:
    """Show where time and money go, and what to change first."""
    from pytest_rag import records
    from pytest_rag.bottleneck import find
    from pytest_rag.cli.terminal import say, width
    from pytest_rag.errors import UsageError
    from pytest_rag.report.bottleneck import bottleneck_lines, bottleneck_markdown

    if as_json and markdown:
        raise UsageError("--json and --md are two forms of the same: give one of them.")
    run = records.read(record)
    found = find(run)
    if as_json:
        whole = {
            "record": str(record),
            "complete": run.complete,
            "evalsets": [each.to_dict() for each in found],
        }
        typer.echo(json.dumps(whole, ensure_ascii=False, indent=2))
    elif markdown:
        typer.echo(bottleneck_markdown(found), nl=False)
    else:
        say(bottleneck_lines(found, width=width(), verbose=verbose))
    if not any(each.timed for each in found):
        typer.echo(f"{record} holds no run that came to an end: nothing was measured.", err=True)
        raise typer.Exit(3)
