"""``pytest-rag generate``: cases proposed from documents, for a person to review."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_rag.authoring.generator import Generation
    from pytest_rag.authoring.scribe import Books, Scribe

__all__ = ["generate"]

_INTERRUPTED = 130
_OUT = Path("evalsets/generated.rag.yaml")


def generate(
    from_: Annotated[
        Path, typer.Option("--from", metavar="DOCS", help="A folder of documents, or one file.")
    ],
    number: Annotated[
        int, typer.Option("-n", "--number", metavar="N", min=1, help="Cases the file is to hold.")
    ] = 20,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="Where they go: NAME.rag.yaml.")
    ] = _OUT,
    seed: Annotated[int, typer.Option(metavar="N", help="Decides which passages come first.")] = 0,
    with_: Annotated[
        str | None,
        typer.Option("--with", metavar="ragas", help="Let ragas' test-set generator propose them."),
    ] = None,
    max_cost: Annotated[
        str | None, typer.Option(metavar="USD", help="Ask nothing that could make it cost more.")
    ] = None,
) -> None:
    """Propose cases from documents with a language model; none is run before it is reviewed."""
    from pytest_rag import config
    from pytest_rag.authoring.generator import Generation
    from pytest_rag.authoring.scribe import Scribe
    from pytest_rag.cli.project import find_root
    from pytest_rag.cli.run import amount
    from pytest_rag.cli.selection import need_evalset_name
    from pytest_rag.pipelines.parts import read_documents

    limit = amount(max_cost)
    need_evalset_name(out)
    _need_writer(with_)
    settings = config.load(find_root(Path.cwd()))
    work = Generation(out, read_documents(from_), source=str(from_), seed=seed)
    if not work.missing(number):
        typer.echo(f"{out} holds {work.made.before} such cases already. For more: -n {number * 2}")
        return
    name = out.name.removesuffix(".rag.yaml").removesuffix(".rag.yml")
    scribe = Scribe(settings, name, out, limit, embeds=with_ is not None)
    try:
        ended = _run(work, scribe, number, settings.concurrency, with_)
    finally:
        scribe.close()
    for line in _told(work, out, scribe.books):
        typer.echo(line)
    raise typer.Exit(_status(work, ended=ended))


def _need_writer(name: str | None) -> None:
    """Make sure that who is to propose cases can.

    Raises:
        UsageError: if it is nobody that is known.
        MissingExtraError: if its package is not installed.
    """
    from pytest_rag.errors import UsageError
    from pytest_rag.extras import need

    if name not in (None, "ragas"):
        raise UsageError(
            f"--with takes 'ragas', not {name!r}; without it the model is asked alone."
        )
    if name is not None:
        need("ragas", "ragas")


def _run(work: Generation, scribe: Scribe, number: int, at_a_time: int, with_: str | None) -> bool:
    """Ask until there are enough; False where somebody interrupts."""
    from pytest_rag.authoring.generator import Prompts
    from pytest_rag.authoring.ragas import Ragas
    from pytest_rag.cli.terminal import steps

    with steps(work.missing(number)) as bar:

        def advance(well: bool) -> None:
            if well:
                bar.end()
            else:
                bar.begin(f"{sum(work.made.dropped.values()):,} dropped")

        asked = Prompts(scribe, at_a_time) if with_ is None else Ragas(scribe, at_a_time, bar.begin)
        try:
            work.run(asked, number, advance)
        except KeyboardInterrupt:
            return False
    return True


def _told(work: Generation, out: Path, books: Books) -> Iterator[str]:
    from pytest_rag.costs.money import money
    from pytest_rag.report.layout import count

    made, costs = work.made, books.costs
    if made.new:
        yield f"wrote {out}: {count(made.new, 'new case')}, to be reviewed"
    else:
        yield "No case was written."
    for reason, n in made.dropped.most_common():
        yield f"dropped: {n:,} · {reason}"
    if made.stopped is not None:
        yield made.stopped
    unknown = (
        f", {count(costs.unknown_calls, 'call')} of unknown cost" if costs.unknown_calls else ""
    )
    yield f"cost: {money(costs.known_usd)}{unknown} · near-duplicates: {work.twins.method}"
    if books.trouble is not None:
        yield books.trouble
    if made.new:
        looking = f"pytest-rag doctor {shlex.quote(str(out))}"
        yield f"Look at each, then write `reviewed: true`. What is suspicious: {looking}"


def _status(work: Generation, *, ended: bool) -> int:
    if not ended:
        return _INTERRUPTED
    if not work.made.new:
        return 3
    return int(work.made.stopped is not None)
