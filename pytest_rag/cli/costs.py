"""``pytest-rag costs``: what the ledger holds, rebuilt from records, held to thresholds."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_rag.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_rag.config import Config
    from pytest_rag.costs.ledger import Ledger
    from pytest_rag.costs.spending import By

__all__ = ["costs"]


def costs(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN.jsonl", help="Records, for --rebuild.")
    ] = None,
    by: Annotated[
        str, typer.Option(metavar="WHAT", help="day, month, model, evalset, stage or source.")
    ] = "day",
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="The first day, as in 2026-11-01.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="The last day, which counts.")
    ] = None,
    tz: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Where days begin, as in Europe/Lisbon.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Write one HTML page.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to a file, not to the terminal.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Another ledger than the project's.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Take run records into the ledger.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Tell thresholds that are reached; exit status 1.")
    ] = False,
) -> None:
    """Show what calls of models have cost."""
    from pytest_rag import config
    from pytest_rag.cli.project import find_root

    settings = config.load(find_root(Path.cwd()))
    book = _open(ledger, settings)
    if rebuild or runs:
        _rebuild(book, runs or (), wanted=rebuild)
    elif check:
        _check(book, settings)
    else:
        wanted = [n for n, on in (("csv", csv), ("json", json), ("html", html)) if on] or ["text"]
        if len(wanted) > 1:
            raise UsageError(f"Only one of {' and '.join(f'--{name}' for name in wanted)}.")
        zone = settings.timezone if tz is None else tz
        _write(_report(book, _by(by), zone, (_day(since), _day(until)), wanted[0]), out)


def _open(given: Path | None, settings: Config) -> Ledger:
    from pytest_rag.costs.ledger import Ledger

    path = given or settings.ledger_path
    if path is None:
        raise UsageError("There is no ledger: `ledger = false` stands in [tool.pytest-rag].")
    if given is not None and not given.is_file():
        raise UsageError(f"There is no ledger {str(given)!r}.")
    return Ledger(path)


def _by(word: str) -> By:
    from pytest_rag.costs.spending import BYS
    from pytest_rag.registry import did_you_mean

    found = next((by for by in BYS if by == word), None)
    if found is None:
        raise UsageError(f"--by takes no {word!r}.{did_you_mean(word, BYS)}")
    return found


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no date. Write it as 2026-11-01.") from None


def _report(
    book: Ledger, by: By, tz: str | None, days: tuple[date | None, date | None], form: str
) -> str:
    from pytest_rag.costs.spending import forecast, spending
    from pytest_rag.report import costs as report
    from pytest_rag.zones import zone_of

    since, until = days
    if since and until and since > until:
        raise UsageError(f"--since {since} lies after --until {until}.")
    zone = zone_of(tz)
    spent = spending(book, by, zone=zone, since=since, until=until)
    ahead = forecast(book, zone)
    if form == "csv":
        return report.as_csv(spent)
    if form == "json":
        return report.as_json(spent, ahead)
    if form == "html":
        return report.as_html(spent, ahead)
    return "".join(f"{line}\n" for line in report.lines(spent, ahead))


def _write(text: str, out: Path | None) -> None:
    from pytest_rag.writing import write_atomically

    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        write_atomically(out, text)
    except OSError as error:
        raise UsageError(f"Cannot write {out}: {error.strerror or error}.") from error


def _rebuild(book: Ledger, runs: Sequence[Path], *, wanted: bool) -> None:
    from pytest_rag import records

    if not wanted:
        raise UsageError(f"To take a record in: pytest-rag costs --rebuild {runs[0]}")
    if not runs:
        raise UsageError("--rebuild takes run records: pytest-rag costs --rebuild RUN.jsonl")
    for path, record in [(path, records.read(path)) for path in runs]:
        calls = book.rebuild(record)
        typer.echo(f"{path}: {calls:,} call{'' if calls == 1 else 's'} that cost money")


def _check(book: Ledger, settings: Config) -> None:
    from pytest_rag.cli.terminal import say
    from pytest_rag.costs.alerts import check, due

    reached = list(due(settings, book))
    say(check(settings, book))
    if reached:
        raise typer.Exit(1)
    typer.echo("No threshold is reached.")
