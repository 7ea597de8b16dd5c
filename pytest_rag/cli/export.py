"""``pytest-rag export``: evalsets and runs as datasets."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

__all__ = ["export"]


def export(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="An evalset *.rag.yaml, or a run RUN.jsonl.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="PATH", help="A folder, or x.parquet, x.arrow, x.jsonl."
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Write an evalset's cases or a run's results as a dataset with typed columns."""
    from pytest_rag.cli.project import SUFFIXES
    from pytest_rag.exchange.export import check_export, export_evalset, export_run
    from pytest_rag.report.layout import count

    check_export(out, force=force)
    if source.name.endswith(SUFFIXES):
        from pytest_rag import evalset

        said = count(export_evalset(evalset.load(source), out), "case")
    else:
        from pytest_rag import records

        said = count(export_run(records.read(source), out), "result")
    typer.echo(f"wrote {out}: {said}")
