"""``pytest-rag report``: a page, or Markdown, from run records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["report"]

_NAMES = {"html": "index.html", "md": "evaluation.md"}


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run records, or folders of them.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Write the report into this folder.")
    ] = Path("rag-report"),
    format: Annotated[  # noqa: A002 - the option's name
        Literal["html", "md"], typer.Option(help="A page for people, or Markdown for documents.")
    ] = "html",
    month_usd: Annotated[
        float | None,
        typer.Option(
            metavar="USD", min=0, help="What a month may cost; else as in [tool.pytest-rag.alerts]."
        ),
    ] = None,
) -> None:
    """Show run records: quality, time and cost over the runs, and every case of the newest."""
    from dataclasses import replace

    from pytest_rag import config, records
    from pytest_rag.cli.project import find_root
    from pytest_rag.errors import UsageError
    from pytest_rag.report.dashboard import RunView, dashboard
    from pytest_rag.report.overview import overview
    from pytest_rag.writing import write_atomically

    views = [RunView.of(records.read(path)) for path in _files(runs)]
    if not any(view.results for view in views):
        raise UsageError("These run records hold no result, so there is nothing to show.")
    alerts = config.load(find_root(Path.cwd())).alerts
    if month_usd is not None:
        alerts = replace(alerts, month_usd=month_usd)
    text = dashboard(views, alerts=alerts) if format == "html" else overview(views)
    path = out / _NAMES[format]
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror or error}.") from error
    typer.echo(f"wrote {path}")


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield records, each once; a folder stands for the ``*.jsonl`` in it.

    Raises:
        UsageError: if a folder holds none.
    """
    from pytest_rag.errors import UsageError

    seen: set[Path] = set()
    for path in paths:
        found = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not found:
            raise UsageError(
                f"{path} holds no run record. To write one: pytest --rag-out={path / 'run.jsonl'}"
            )
        for each in found:
            if each.resolve() not in seen:
                seen.add(each.resolve())
                yield each
