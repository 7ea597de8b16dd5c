"""``pytest-rag sweep``: better parameters for a pipeline, and the proof that they are better."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pytest_rag.cli.terminal import Steps
    from pytest_rag.config import Config
    from pytest_rag.sweep import Outcome, Sitting, Sweep
    from pytest_rag.sweep.standing import Standing

__all__ = ["sweep"]

_INTERRUPTED = 130
_NOTHING = 3


def sweep(
    path: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="What to search for.")],
    jobs: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=64, help="Candidates at a time, a process each."),
    ] = 1,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Cases of a candidate run at a time.")
    ] = None,
    max_cost: Annotated[
        str | None,
        typer.Option(metavar="USD", help="Start nothing that could make the sweep cost more."),
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option(metavar="CACHE", help="Keeps what models answer; sqlite if nothing is said."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(metavar="MODE", help="live, or replay recorded calls.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Records; else .pytest_rag/sweeps/NAME."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what it would do; run nothing.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--apply", help="Write the recommended parameters to a file.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Apply them even if they are not shown to be better.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything that was found as JSON.")
    ] = False,
) -> None:
    """Search for better parameters, and judge them on cases the search never saw."""
    from pytest_rag import sweep as sweeps
    from pytest_rag.cli.run import amount
    from pytest_rag.extras import require

    asked = sweeps.load(path)
    settings = _settings(concurrency, mode, cache)
    folder = out or sweeps.folder_of(asked, settings.root)
    limit = amount(max_cost) or asked.max_cost
    if plan:
        _show_plan(asked, settings, folder, limit)
        return
    require("optuna", "sweep")
    sitting = sweeps.Sitting(
        sweep=asked, config=settings, folder=folder.resolve(), jobs=jobs, limit=limit
    )
    found = _run(sitting)
    _tell(found, sitting, as_json=as_json)
    status = int(found.best is None)
    if write:
        status = _apply(found, force=force, quiet=as_json)
    raise typer.Exit(status)


def _settings(concurrency: int | None, mode: str | None, cache: str | None) -> Config:
    from pytest_rag import config
    from pytest_rag.cli.project import find_root
    from pytest_rag.cli.run import cache_of, mode_of
    from pytest_rag.errors import UsageError

    asked = mode_of(mode)
    if asked == "record":
        raise UsageError("A sweep is live or replays: record a cassette with pytest-rag run.")
    settings = config.load(find_root(Path.cwd()))
    kept = cache_of(cache) or (settings.cache if settings.cache != "off" else "sqlite")
    return settings.with_options(concurrency=concurrency, mode=asked, cache=kept)


def _run(sitting: Sitting) -> Outcome:
    """Run it under a bar, or with a line a candidate where there is no terminal."""
    from pytest_rag.cli.terminal import steps
    from pytest_rag.cli.worktrees import stoppable
    from pytest_rag.sweep import SweepError

    try:
        with stoppable(), steps(sitting.sweep.trials) as bar:
            sitting.told = partial(_told, bar)
            return sitting.run()
    except SweepError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_NOTHING) from None
    except KeyboardInterrupt:
        typer.echo(
            f"Interrupted: what was measured is on record in {_shown(sitting.folder)}. The same "
            "command goes on from there.",
            err=True,
        )
        raise typer.Exit(_INTERRUPTED) from None


def _told(bar: Steps, each: Standing, best: Standing | None) -> None:
    """Show a candidate that is decided: a line where there is no terminal, else a step."""
    from pytest_rag.report.sweep import candidate_text

    if not sys.stderr.isatty():
        typer.echo(candidate_text(each, best), err=True)
        return
    if best is not None and best.scores is not None:
        bar.begin(f"best #{best.number} {abs(best.scores[0]):.4g}")
    bar.end()
    if each.tried.state == "error":
        bar.tell(candidate_text(each, best))


def _tell(found: Outcome, sitting: Sitting, *, as_json: bool) -> None:
    from pytest_rag.cli.terminal import say, width
    from pytest_rag.report.sweep import sweep_lines, sweep_markdown
    from pytest_rag.writing import write_atomically

    folder = sitting.folder
    text = json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False, indent=2)
    write_atomically(folder / "report.json", text + "\n")
    write_atomically(folder / "report.md", sweep_markdown(found))
    costs = sitting.finish()
    if as_json:
        typer.echo(text)
        return
    say(sweep_lines(found, width=width()))
    say([(f"report: {_shown(folder)}/report.md, .json; a run record for each candidate", "dim")])
    say(costs)


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _apply(found: Outcome, *, force: bool, quiet: bool) -> int:
    from pytest_rag.sweep import apply

    if found.best is None or not found.best.number:
        typer.echo("Nothing to apply: the current configuration stays.", err=True)
        return int(found.best is None)
    if not force and (found.verdict is None or not found.verdict.is_better):
        typer.echo(
            "Not applied: the recommendation is not shown to be better. --apply --force writes it "
            "all the same.",
            err=True,
        )
        return 1
    for line in apply(found.sweep, found.best.tried.candidate.values):
        typer.echo(line, err=quiet)
    return 0


def _show_plan(asked: Sweep, settings: Config, folder: Path, limit: float | None) -> None:
    from pytest_rag.costs.ledger import ledger_of
    from pytest_rag.report.sweepplan import plan_lines
    from pytest_rag.sweep.split import split

    parts = split(asked.evalset.cases, holdout=asked.holdout, seed=asked.seed)
    records = len(list((folder / "candidates").glob("*.jsonl")))
    for line in plan_lines(asked, parts, ledger_of(settings), limit):
        typer.echo(line)
    if records:
        typer.echo(f"on record: {records} in {_shown(folder.resolve())}, which are not asked again")
