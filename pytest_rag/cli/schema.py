"""``pytest-rag schema``: the JSON Schema of evalset files, for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["schema", "schema_text"]


def schema(
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write it to this file.")
    ] = None,
) -> None:
    """Print the JSON Schema of *.rag.yaml files."""
    if out is None:
        typer.echo(schema_text(), nl=False)
        return
    from pytest_rag.writing import write_atomically

    write_atomically(Path(out), schema_text())
    typer.echo(f"Wrote {out}.", err=True)


def schema_text() -> str:
    """Return the schema as the text of a file."""
    from pytest_rag.evalset import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
