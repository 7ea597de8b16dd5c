"""``pytest-rag run``: evalsets against their pipelines, without pytest."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_rag.baseline.source import Bars
    from pytest_rag.cli.children import Shared
    from pytest_rag.cli.execution import Execution
    from pytest_rag.config import Config
    from pytest_rag.costs.budget import Budget
    from pytest_rag.records import Run
    from pytest_rag.report.reporters import Wanted
    from pytest_rag.types import EvalSet, Mode
    from pytest_rag.writing import RunWriter

__all__ = ["amount", "cache_of", "mode_of", "need_pipelines", "run"]

_INTERRUPTED = 130


def run(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Files *.rag.yaml, or folders of them.")
    ],
    tag: Annotated[
        list[str] | None, typer.Option(metavar="T", help="Only cases with this tag; repeatable.")
    ] = None,
    case: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only the case of this id; repeatable.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN.jsonl", help="Write the run record to this file.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Cases of an evalset run at a time.")
    ] = None,
    repeat: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1000, help="Run every case N times.")
    ] = None,
    warmup: Annotated[
        int, typer.Option(metavar="N", min=0, help="Ask N cases before, which does not count.")
    ] = 0,
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
        bool, typer.Option("--update", help="Accept what is measured as the baseline.")
    ] = False,
    cache: Annotated[
        str | None,
        typer.Option(
            metavar="CACHE",
            help="Answer calls of models out of earlier runs: off, memory, sqlite, …",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN.jsonl", help="Take over what this record holds; run the rest."),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="MODE", help="live, record the calls of models, or replay them without network."
        ),
    ] = None,
    max_cost: Annotated[
        str | None,
        typer.Option(metavar="USD", help="Start nothing that could make the run cost more."),
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="i/n", help="Run the i-th of n parts of the cases.")
    ] = None,
    shard_times: Annotated[
        Path | None, typer.Option(metavar="RUN.jsonl", help="Split by the times in this record.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show cases, calls and estimated cost; run nothing.")
    ] = False,
) -> None:
    """Run evalsets and hold them to their limits."""
    from pytest_rag.cli.children import Shared
    from pytest_rag.cli.execution import Execution
    from pytest_rag.cli.selection import load_all, narrow
    from pytest_rag.cli.verdict import Judging
    from pytest_rag.evaluation import need_judge
    from pytest_rag.report.reporters import parse_all
    from pytest_rag.resume import Resumed

    limit = amount(max_cost)
    shared = Shared.given()
    settings = _settings(shared).with_options(
        concurrency=concurrency, mode=mode_of(mode), cache=cache_of(cache)
    )
    reports = parse_all(report or (), Path.cwd())
    resumed = None if resume is None else Resumed.of(resume)
    declared = {evalset.name: evalset for evalset in load_all(paths)}
    for evalset in declared.values():
        need_judge(evalset, settings)
    chosen = _repeated(narrow(list(declared.values()), ids=case or (), tags=tag or ()), repeat)
    if shard is not None:
        chosen = _part(chosen, shard, shard_times, update=update)
    if plan:
        _show_plan(chosen, out, settings)
        return
    need_pipelines(chosen)
    judging = Judging(
        declared=declared,
        bars=_bars(baseline, chosen),
        update="all" if update else None,
        shard=shard,
    )
    options: dict[str, Any] = {
        "concurrency": concurrency,
        "repeat": repeat,
        "mode": mode,
        "tags": tag,
        "cases": case,
        **({} if shard is None else {"shard": shard}),
    }
    writer = _open(out, options, settings)
    budget = _budget(limit, shared, settings)
    execution = Execution(settings, judging, writer, resumed=resumed, warmup=warmup, budget=budget)
    raise typer.Exit(_run(chosen, execution, paths, reports))


def _settings(shared: Shared | None) -> Config:
    """Return the project's configuration, as the command has it that this run is a part of."""
    from pytest_rag import config
    from pytest_rag.cli.project import find_root

    settings = config.load(find_root(Path.cwd()))
    return settings if shared is None else shared.applied(settings)


def _bars(baseline: str | None, evalsets: Sequence[EvalSet]) -> Bars:
    """Return the bars, read before anything is asked: one that cannot be used costs nothing."""
    from pytest_rag.baseline.source import Bars

    bars = Bars(baseline, Path.cwd(), os.environ)
    for evalset in evalsets:
        bars.of(evalset.path, evalset.name)
    return bars


def cache_of(text: str | None) -> str | None:
    """Return what ``--cache`` says, checked.

    Raises:
        ConfigError: if there is no such cache.
    """
    if text is not None and text != "off":
        from pytest_rag.cache import check_url

        check_url(text)
    return text


def mode_of(text: str | None) -> Mode | None:
    """Return what ``--mode`` says, checked.

    Raises:
        UsageError: if there is no such mode.
    """
    if text is None:
        return None
    from pytest_rag.errors import UsageError
    from pytest_rag.registry import did_you_mean
    from pytest_rag.types import MODES

    found = next((mode for mode in MODES if mode == text), None)
    if found is None:
        hint = did_you_mean(text, MODES)
        raise UsageError(f"--mode is live, record or replay, not {text!r}.{hint}")
    return found


def _budget(limit: float | None, shared: Shared | None, settings: Config) -> Budget | None:
    """Return what the run may cost: its own ceiling, or that of the command it is a part of."""
    from pytest_rag.costs.budget import join, open_budget

    if shared is not None and shared.budget is not None:
        return join(shared.budget, settings)
    return None if limit is None else open_budget(limit, settings)


def amount(text: str | None) -> float | None:
    """Return what ``--max-cost`` was given, in US dollars.

    Raises:
        UsageError: if it is no amount.
    """
    from pytest_rag.costs.money import amount_of
    from pytest_rag.errors import UsageError

    usd = None if text is None else amount_of(text)
    if text is not None and usd is None:
        raise UsageError(f"--max-cost takes US dollars above 0, as in 0.50, not {text!r}.")
    return usd


def _repeated(evalsets: Sequence[EvalSet], repeat: int | None) -> list[EvalSet]:
    from pytest_rag.evaluation import with_repeat

    return [
        replace(evalset, cases=tuple(with_repeat(case, repeat) for case in evalset.cases))
        for evalset in evalsets
    ]


def _part(
    evalsets: Sequence[EvalSet], text: str, times: Path | None, *, update: bool
) -> list[EvalSet]:
    """Return the evalsets with the cases of a shard; those without any are left out."""
    from pytest_rag import records
    from pytest_rag.errors import UsageError
    from pytest_rag.sharding import Shard, times_of

    if update:
        raise UsageError(
            "A shard writes no baseline: leave out --update, and accept the whole with "
            "pytest-rag merge --update."
        )
    keys = [(evalset.name, case.id) for evalset in evalsets for case in evalset.cases]
    known = None if times is None else times_of(records.read(times).results)
    mine = Shard.parse(text).share(keys, known)
    parts = [
        replace(each, cases=tuple(case for case in each.cases if (each.name, case.id) in mine))
        for each in evalsets
    ]
    return [part for part in parts if part.cases]


def _show_plan(evalsets: Sequence[EvalSet], out: Path | None, settings: Config) -> None:
    from pytest_rag import records
    from pytest_rag.costs.ledger import ledger_of
    from pytest_rag.report.plan import plan_lines

    earlier: Run | None = records.read(out) if out is not None and out.exists() else None
    for line in plan_lines(evalsets, earlier, ledger=ledger_of(settings)):
        typer.echo(line)


def need_pipelines(evalsets: Sequence[EvalSet]) -> None:
    """Refuse evalsets whose pipeline only a fixture gives.

    Raises:
        UsageError: for the first of them.
    """
    from pytest_rag.errors import UsageError

    for evalset in evalsets:
        if evalset.pipeline is None:
            raise UsageError(
                f"{evalset.path} names no pipeline. Add `pipeline: package.module:factory`, or "
                "run it with pytest and a `rag_pipeline` fixture."
            )


def _open(out: Path | None, options: Mapping[str, Any], settings: Config) -> RunWriter | None:
    from pytest_rag import records
    from pytest_rag.errors import UsageError
    from pytest_rag.writing import RunWriter, check_target

    if out is None:
        return None
    try:
        check_target(out)
        return RunWriter(out, records.header(options, settings.root))
    except OSError as error:
        raise UsageError(f"Cannot write {out}: {error.strerror or error}.") from error


def _run(
    evalsets: Sequence[EvalSet],
    execution: Execution,
    paths: Sequence[Path],
    reports: Sequence[Wanted],
) -> int:
    """Run everything, tell how it went, and return the exit status."""
    from pytest_rag.cli import verdict
    from pytest_rag.cli.terminal import progress, say, width
    from pytest_rag.report.reporters import write_reports
    from pytest_rag.report.text import lines

    ended, record = False, None
    try:
        with progress(sum(case.repeat for each in evalsets for case in each.cases)) as advance:
            ended = execution.run(evalsets, advance)
    finally:
        record = execution.close(ended=ended)
    for text in verdict.failures(execution.results, evalsets, width()):
        say([(text, ""), ("", "")])
    summary = verdict.summary_of(execution.results, evalsets, execution.held)
    again = verdict.command_again(paths, summary)
    say(lines(summary, width=width(), record=record, again=again))
    say([(text, "dim") for text in execution.said])
    say(execution.told_costs())
    if not ended:
        return _INTERRUPTED
    accepted = _accept(execution)
    if not evalsets:  # a shard that no case fell to
        return 0
    told = list(write_reports(reports, execution.view(summary, record=record), os.environ))
    say((text, "dim" if well else "bad") for text, well in told)
    bad = execution.stopped > 0 or not accepted or not all(well for _, well in told)
    return verdict.exit_status(summary) or int(bad)


def _accept(execution: Execution) -> bool:
    """Write baselines; False where one that was asked for could not be written."""
    from pytest_rag.cli.terminal import say
    from pytest_rag.errors import BaselineError
    from pytest_rag.verdict import write_all

    try:
        say([(text, "bold") for text in write_all(list(execution.held.values()))])
    except BaselineError as error:
        say([(str(error), "bad")])
        return execution.judging.update is None
    return True
