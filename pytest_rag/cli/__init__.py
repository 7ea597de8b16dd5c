"""The command line: ``pytest-rag COMMAND``.

Exit status: 0 good, 1 a check failed, 2 usage or configuration, 3 nothing could be measured.
What is heavy is imported inside functions, so that ``--help`` costs little.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pytest_rag import __version__
from pytest_rag.cli import baseline
from pytest_rag.cli.aa import aa
from pytest_rag.cli.ab import ab
from pytest_rag.cli.bottleneck import bottleneck
from pytest_rag.cli.cache import cache
from pytest_rag.cli.calibrate import calibrate
from pytest_rag.cli.capture import capture
from pytest_rag.cli.compare import compare
from pytest_rag.cli.convert import convert
from pytest_rag.cli.costs import costs
from pytest_rag.cli.doctor import doctor
from pytest_rag.cli.export import export
from pytest_rag.cli.gate import gate
from pytest_rag.cli.generate import generate
from pytest_rag.cli.init import init
from pytest_rag.cli.load import load
from pytest_rag.cli.merge import merge
from pytest_rag.cli.report import report
from pytest_rag.cli.run import run
from pytest_rag.cli.schema import schema
from pytest_rag.cli.sweep import sweep
from pytest_rag.errors import UsageError

__all__ = ["app", "main"]


class _Group(TyperGroup):
    """Commands whose usage errors are a message and exit status 2, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    name="pytest-rag",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pytest-rag {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Test RAG pipelines like code."""


_COMMANDS: tuple[Any, ...] = (
    init,
    generate,
    capture,
    run,
    compare,
    gate,
    merge,
    aa,
    ab,
    calibrate,
    sweep,
    bottleneck,
    load,
    report,
    costs,
    convert,
    export,
    schema,
    doctor,
)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(baseline.commands)
app.add_typer(cache)


def main() -> None:
    """Run the command line and exit."""
    app(prog_name="pytest-rag", args=sys.argv[1:])
