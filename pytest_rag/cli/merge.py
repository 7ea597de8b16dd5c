"""``pytest-rag merge``: the shards of a run, joined and only then judged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pytest_rag.errors import UsageError

__all__ = ["merge"]


def merge(
    shards: Annotated[
        list[Path], typer.Argument(metavar="SHARD.jsonl…", help="The records of all shards.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN.jsonl", help="Where the whole goes.")
    ],
    baseline: Annotated[
        str | None,
        typer.Option(metavar="PATH|git:REF|none", help="Hold results against these scores."),
    ] = None,
    report: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT:PATH", help="Write md, html, json, csv or github; repeatable."
        ),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Accept what was measured as the baseline.")
    ] = False,
) -> None:
    """Join the records of all shards, and hold the whole to its limits."""
    from pytest_rag import merging, records
    from pytest_rag.baseline.source import Bars
    from pytest_rag.cli.saved import saved_of, tell
    from pytest_rag.cli.terminal import say
    from pytest_rag.cli.verdict import exit_status
    from pytest_rag.report.reporters import parse_all, write_reports
    from pytest_rag.verdict import write_all
    from pytest_rag.writing import check_target, write_atomically

    _check_out(out, shards)
    check_target(out)
    if update and baseline == "none":
        raise UsageError("--update accepts a baseline; leave out --baseline none.")
    reports = parse_all(report or (), Path.cwd())
    run = merging.merge({path: records.read(path) for path in shards})
    saved = saved_of(run)
    held = saved.hold(Bars(baseline, Path.cwd(), os.environ), "all" if update else None)
    verdicts = {name: each.to_dict() for name, each in held.items()}
    foot = {
        **records.footer(run.results, complete=run.complete, verdicts=verdicts),
        "ended": (run.footer or {})["ended"],
    }
    write_atomically(out, records.text_of(run.header, run.results, foot))
    summary = saved.summary(held)
    tell(saved, summary, record=str(out))
    say((text, "bold") for text in write_all(list(held.values())))
    told = list(write_reports(reports, saved.view(summary, out), os.environ))
    say((text, "dim" if well else "bad") for text, well in told)
    raise typer.Exit(exit_status(summary) or int(not all(well for _, well in told)))


def _check_out(out: Path, shards: list[Path]) -> None:
    for path in shards:
        if path.resolve() == out.resolve():
            raise UsageError(f"{out} is one of the shards; the whole goes to a file of its own.")
        if sum(path.resolve() == other.resolve() for other in shards) > 1:
            raise UsageError(f"{path} is given twice.")
