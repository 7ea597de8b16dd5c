"""``pytest-rag convert``: test sets of others → evalsets, and back."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_rag.exchange.model import Collection

__all__ = ["convert"]

_EVALSET = (".rag.yaml", ".rag.yml")


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A file or folder, or an evalset with --to.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="PATH", help="NAME.rag.yaml; a folder with --to.")
    ],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="LAYOUT", help="beir, trec, squad, ragas or llamaindex; else seen."
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="LAYOUT", help="Write an evalset in this layout.")
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="NAME", help="Which judgements of BEIR; default: test.")
    ] = "",
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The questions of TREC judgements.")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The documents, where SOURCE has none.")
    ] = None,
) -> None:
    """Turn BEIR, TREC, SQuAD, ragas or LlamaIndex test sets into an evalset, or one into theirs."""
    from pytest_rag.errors import UsageError

    if source.name.endswith(_EVALSET):
        if to is None or from_ is not None:
            raise UsageError("Say into what: --to beir, trec, squad, ragas or llamaindex.")
        _back(source, out, to, corpus)
    elif to is not None:
        raise UsageError(f"--to is for evalsets, and {source} is none (*.rag.yaml).")
    else:
        _forth(source, out, from_, split, (queries, corpus))


def _forth(
    source: Path, out: Path, named: str | None, split: str, others: tuple[Path | None, Path | None]
) -> None:
    from pytest_rag.exchange.evalsets import write_evalset
    from pytest_rag.exchange.layouts import layout_of
    from pytest_rag.report.layout import count

    layout = layout_of(source, named)
    found = layout.read(source, split, *others)
    made = write_evalset(found, out)
    beside = "" if found.documents is None else ", with its documents beside it"
    typer.echo(f"wrote {out}: {count(len(made.cases), 'case')} from {layout.name}{beside}")
    _tell(found)


def _back(source: Path, out: Path, to: str, corpus: Path | None) -> None:
    from pytest_rag import evalset
    from pytest_rag.exchange.evalsets import read_evalset, refuse_to_replace, staged
    from pytest_rag.exchange.layouts import layout_named

    layout = layout_named(to)
    found = read_evalset(evalset.load(source), corpus, parts=layout.parts)
    refuse_to_replace(out / name for name in layout.files)
    with staged(out) as folder:
        layout.write(found, folder)
        written = sorted(entry.name for entry in folder.iterdir())
    _say(f"wrote {out / name}" for name in written)
    _tell(found)


def _tell(found: Collection) -> None:
    _say(f"left out: {n:,} {what}" for what, n in found.left_out.items() if n)


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
