"""``pytest-rag aa``: unchanged code several times, for the noise floor of each metric."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_rag.cli.children import Child, Shared
    from pytest_rag.costs.budget import Budget
    from pytest_rag.noise import Noise
    from pytest_rag.records import Run
    from pytest_rag.types import EvalSet

__all__ = ["Ceiling", "aa", "run_options"]

_FEWEST = 3
_INTERRUPTED = 130


def aa(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files *.rag.yaml, or folders of them."),
    ] = None,
    runs: Annotated[
        int, typer.Option(metavar="N", min=_FEWEST, max=1000, help="How often everything is run.")
    ] = 5,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Cases of an evalset run at a time.")
    ] = None,
    repeat: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1000, help="Run every case N times.")
    ] = None,
    max_cost: Annotated[
        str | None,
        typer.Option(metavar="USD", help="Start nothing that could make all runs cost more."),
    ] = None,
) -> None:
    """Run unchanged code several times, and store how much its scores move."""
    from pytest_rag.cli.children import Child, ChildError
    from pytest_rag.cli.run import amount, need_pipelines
    from pytest_rag.cli.selection import load_all

    limit = amount(max_cost)
    evalsets = load_all(paths or [Path()])
    need_pipelines(evalsets)
    _need_baselines(evalsets)
    ceiling = Ceiling.of(limit)
    child = Child(
        name="the pipeline",
        files=[evalset.path for evalset in evalsets],
        evalsets=[evalset.name for evalset in evalsets],
        cwd=Path.cwd(),
        env={**os.environ, **ceiling.shared.env()},
        options=run_options(concurrency, repeat),
    )
    try:
        _tell(evalsets, _measured(child, runs))
    except ChildError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.status) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted: nothing was stored.", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    finally:
        ceiling.end()


def run_options(concurrency: int | None, repeat: int | None) -> list[str]:
    """Return options as words for ``pytest-rag run``."""
    given = (("--concurrency", concurrency), ("--repeat", repeat))
    return [word for name, n in given if n is not None for word in (name, str(n))]


def _need_baselines(evalsets: Sequence[EvalSet]) -> None:
    """Refuse before anything is paid for."""
    import shlex

    from pytest_rag import baseline
    from pytest_rag.errors import BaselineError

    without = [each for each in evalsets if baseline.read(baseline.path_of(each.path)) is None]
    if without:
        names = ", ".join(each.name for each in without)
        words = ["pytest-rag", "run", *(os.path.relpath(each.path) for each in without)]
        raise BaselineError(
            f"No baseline to keep the noise floor in: {names}. Accept what the pipeline measures "
            f"first: {shlex.join([*words, '--update'])}"
        )


def _measured(child: Child, runs: int) -> list[Run]:
    """Run everything; where the ceiling ends that, enough whole runs will do."""
    from pytest_rag.cli.children import CeilingError
    from pytest_rag.cli.terminal import steps

    found: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="pytest-rag-") as folder, steps(runs) as bar:
        for number in range(1, runs + 1):
            bar.begin(f"run {number} of {runs}")
            try:
                found.append(child.run(Path(folder) / f"{number}.jsonl"))
            except CeilingError as error:
                if len(found) < _FEWEST:
                    raise CeilingError(f"{error} Nothing was stored.", error.status) from None
                typer.echo(f"{error} The {len(found)} runs before it are whole.", err=True)
                break
            bar.end()
    return found


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What several runs may cost together, and where their calls are kept.

    Attributes:
        shared: What each of them is told.
        budget: None where there is no ceiling.
    """

    shared: Shared
    budget: Budget | None

    @classmethod
    def of(cls, limit_usd: float | None) -> Ceiling:
        """Open the ceiling of a command in the project of the current folder."""
        from pytest_rag import config
        from pytest_rag.cli.children import Shared
        from pytest_rag.cli.project import find_root
        from pytest_rag.costs.budget import open_budget

        settings = config.load(find_root(Path.cwd()))
        budget = None if limit_usd is None else open_budget(limit_usd, settings)
        return cls(Shared.of(settings, budget), budget)

    def end(self) -> None:
        """Say what was spent of it, and let go of its file."""
        from pytest_rag.costs.money import money

        if self.budget is not None:
            spent, limit = money(self.budget.spent_usd), money(self.budget.limit_usd)
            typer.echo(f"ceiling: {spent} of {limit} spent", err=True)
            self.budget.remove()


def _tell(evalsets: Sequence[EvalSet], runs: Sequence[Run]) -> None:
    from pytest_rag import noise
    from pytest_rag.cli.children import of_evalset
    from pytest_rag.cli.terminal import say, width
    from pytest_rag.report.noise import noise_lines

    for evalset in evalsets:
        results = [of_evalset(run, evalset.name) for run in runs]
        found = noise.find(evalset.name, results, runs[0].header["evalsets"][evalset.name])
        say(noise_lines(found, evalset.gate, width=width()))
        say([(_store(evalset, found), "bold")])


def _store(evalset: EvalSet, found: Noise) -> str:
    """Put the floors into the baseline, where floors of metrics not measured now stay."""
    from pytest_rag import baseline

    file = baseline.path_of(evalset.path)
    old = baseline.read(file)
    if old is None:
        return f"{file} is gone, so nothing was stored."
    changed = baseline.write(file, replace(old, noise={**old.noise, **found.floors}))
    name = os.path.relpath(file)
    return f"noise stored: {name}. Commit it." if changed else f"noise unchanged: {name}"
