"""``pytest-rag init``: a first evalset that runs and passes at once."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["init"]

_SCHEMA = ".rag.schema.json"


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The project's folder.", show_default=False)
    ] = Path(),
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that are there already.")
    ] = False,
) -> None:
    """Write a first evalset, evalsets/example.rag.yaml, that runs offline and passes."""
    target = folder / "evalsets"
    files = {target / name: text for name, text in _starter().items()}
    if not force:
        _refuse_to_replace(folder, [path for path in files if path.exists()])
    from pytest_rag.writing import write_atomically

    for path, text in files.items():
        write_atomically(path, text)
        typer.echo(f"wrote {path}")
    _next_steps(target)


def _starter() -> dict[str, str]:
    """Return the files of the starter, by their paths below ``evalsets``."""
    from importlib.resources import files

    from pytest_rag.cli.schema import schema_text

    return {**_texts(files("pytest_rag.cli") / "starter"), _SCHEMA: schema_text()}


def _texts(folder: Traversable, prefix: str = "") -> dict[str, str]:
    texts: dict[str, str] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            texts |= _texts(entry, f"{name}/")
        else:
            texts[name] = entry.read_text(encoding="utf-8")
    return texts


def _refuse_to_replace(folder: Path, there: list[Path]) -> None:
    if not there:
        return
    from pytest_rag.errors import UsageError

    listed = "\n".join(f"  {path}" for path in there)
    where = [] if folder == Path() else [str(folder)]
    raise UsageError(
        f"Nothing was written, because these files are there already:\n{listed}\n"
        f"To replace them: {shlex.join(['pytest-rag', 'init', *where, '--force'])}"
    )


def _next_steps(target: Path) -> None:
    typer.echo("\nNext:")
    if not _demo_installed():
        install = "pip install 'pytest-rag[demo]'"
        typer.echo(f"  {install}   (the pipeline of this example needs it)")
    typer.echo(f"  pytest {shlex.quote(str(target))}")
    typer.echo(f"then open {target / 'example.rag.yaml'} and name your own pipeline.")


def _demo_installed() -> bool:
    """Tell whether what the embedded pipeline needs is there, without importing it."""
    return all(find_spec(name) is not None for name in ("wordllama", "bm25s"))
