"""``pytest-rag schema``: the JSON Schema of evalset files, for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["schema", "schema_text"]


def schema(
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write it to this file.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="That of --rag-report=json:PATH instead.")
    ] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="That of *.sweep.yaml files instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of *.rag.yaml files."""
    text = _report_schema() if report else _sweep_schema() if sweep else schema_text()
    if out is None:
        typer.echo(text, nl=False)
        return
    from pytest_rag.writing import write_atomically

    write_atomically(Path(out), text)
    typer.echo(f"Wrote {out}.", err=True)


def schema_text() -> str:
    """Return the schema as the text of a file."""
    from pytest_rag.evalset import json_schema

    return _text(json_schema())


def _report_schema() -> str:
    from pytest_rag.report.document import document_schema

    return _text(document_schema())


def _sweep_schema() -> str:
    from pytest_rag.sweep import sweep_schema

    return _text(sweep_schema())


def _text(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
