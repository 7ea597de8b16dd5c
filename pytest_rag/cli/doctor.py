"""``pytest-rag doctor``: what is installed, what works, and what is set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_rag.cli.findings import Finding

__all__ = ["doctor"]

_STYLES = {"ok": "good", "broken": "bad", "missing": "dim", "note": "", "not set": "dim"}


def doctor(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH…]", help="Evalsets whose cases are looked through instead."),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(metavar="DOCS", help="Their documents; else of the local pipeline."),
    ] = None,
) -> None:
    """Show what is installed, set and works; of evalsets, which cases are suspicious."""
    from pytest_rag.cli.terminal import say

    broken = False
    for title, section in _sections(Path.cwd()) if not paths else _looked_through(paths, corpus):
        findings = list(section)
        say([("", ""), (title, "bold"), *_table(findings)])
        broken |= any(finding.state == "broken" for finding in findings)
    say([("", ""), ("Something is broken." if broken else "All is well.", "bold")])
    if broken:
        raise typer.Exit(1)


def _looked_through(
    paths: Sequence[Path], corpus: Path | None
) -> Iterator[tuple[str, Iterable[Finding]]]:
    from pytest_rag.cli.casefindings import cases
    from pytest_rag.cli.selection import load_all

    for evalset in load_all(paths):
        yield evalset.name, cases(evalset, corpus)


def _sections(start: Path) -> Iterator[tuple[str, Iterable[Finding]]]:
    from pytest_rag.cli import findings
    from pytest_rag.cli.project import find_root

    root = find_root(start)
    yield "Versions", findings.versions()
    yield "Extras", findings.extras()
    yield "Local models", findings.models()
    yield "Keys in the environment", findings.keys()
    yield "Telemetry and start-up", findings.telemetry()
    yield "Judges", findings.judges(root)
    yield f"Project {root}", findings.project(root)


def _table(findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    wide = max((len(finding.name) for finding in findings), default=0)
    for finding in findings:
        labels = [(finding.state, finding.name)]
        for line in finding.text.splitlines() or [""]:
            state, name = labels.pop() if labels else ("", "")
            yield f"  {state:<8} {name:<{wide}}  {line}".rstrip(), _STYLES[finding.state]
