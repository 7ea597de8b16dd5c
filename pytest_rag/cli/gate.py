"""``pytest-rag gate``: a saved run, held to other limits or another baseline; nothing is asked."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pytest_rag.verdict import Held

__all__ = ["gate"]


def gate(
    run: Annotated[Path, typer.Argument(metavar="RUN.jsonl", help="A run record.")],
    baseline: Annotated[
        str | None,
        typer.Option(metavar="PATH|git:REF|none", help="Hold results against these scores."),
    ] = None,
    evalset: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Limits of this *.rag.yaml; repeatable."),
    ] = None,
    report: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT:PATH", help="Write md, html, json, csv or github; repeatable."
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every case that moved.")
    ] = False,
) -> None:
    """Judge a saved run again; no call is made."""
    from pytest_rag.baseline.source import Bars
    from pytest_rag.cli.saved import open_saved, tell
    from pytest_rag.cli.terminal import say
    from pytest_rag.cli.verdict import exit_status
    from pytest_rag.report.reporters import parse_all, write_reports

    reports = parse_all(report or (), Path.cwd())
    saved = open_saved(run, evalset or ()).rejudged()
    held = saved.hold(Bars(baseline, Path.cwd(), os.environ))
    summary = saved.summary({name: _unwritten(each, run) for name, each in held.items()})
    tell(saved, summary, verbose=verbose)
    told = list(write_reports(reports, saved.view(summary, run), os.environ))
    say((text, "dim" if well else "bad") for text, well in told)
    if saved.cut_short:
        say([(f"{run} was cut short, so it does not pass: run it again", "bad")])
    bad = saved.cut_short or not all(well for _, well in told)
    raise typer.Exit(exit_status(summary) or int(bad))


def _unwritten(held: Held, run: Path) -> Held:
    """Return what was decided without a baseline to write: to judge again accepts nothing."""
    if held.pending is None:
        return held
    missing = (
        f"{held.evalset} has no baseline to hold it against. Accept this run as the first: "
        f"pytest-rag baseline accept {shlex.quote(str(run))}"
    )
    return replace(held, pending=None, missing=missing)
