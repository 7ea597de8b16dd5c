"""``pytest-rag baseline``: accept what a run measured, drop what is gone, show what is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_rag.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_rag.baseline import Baseline
    from pytest_rag.cli.saved import Saved
    from pytest_rag.verdict import Pending

__all__ = ["commands"]

commands = typer.Typer(name="baseline", no_args_is_help=True)


@commands.callback()
def _group() -> None:
    """Accept, prune and show the scores that runs are held against."""


# --- accept -------------------------------------------------------------------------------------


@commands.command()
def accept(
    run: Annotated[Path, typer.Argument(metavar="RUN.jsonl", help="A run record.")],
    only_new: Annotated[
        bool, typer.Option("--only-new", help="Add new cases; leave those it holds as they are.")
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Take over what was measured of an incomplete run.")
    ] = False,
) -> None:
    """Accept what a saved run measured as the baseline."""
    from pytest_rag.cli.saved import open_saved
    from pytest_rag.cli.terminal import say
    from pytest_rag.verdict import Held, write_all

    saved = open_saved(run)
    missing = [of["path"] for name, of in saved.facts.items() if name not in saved.evalsets]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} is not here, and the baseline lies beside it. Type this in the "
            "project the run is of."
        )
    if not partial:
        _refuse_partial(run, saved)
    pending = [each for name in saved.facts for each in _pending(saved, name, only_new=only_new)]
    if not pending:
        raise UsageError(f"{run} measured nothing that could be accepted.")
    for warning in _changed(saved):
        typer.echo(warning, err=True)
    written = write_all([Held(evalset=p.baseline.evalset, pending=p) for p in pending])
    say((text, "bold") for text in written)


def _refuse_partial(run: Path, saved: Saved) -> None:
    why = None
    broke = [r.case for r in saved.run.results if r.outcome in ("error", "not_run")]
    if saved.shard is not None:
        why = f"it is shard {saved.shard}; join the shards: pytest-rag merge"
    elif saved.cut_short:
        why = "it was cut short"
    elif broke:
        some = ", ".join(list(dict.fromkeys(broke))[:3])
        why = f"{len(set(broke))} of its cases could not be measured: {some}"
    elif not saved.run.complete:
        why = "only a part of the cases ran"
    if why is not None:
        raise UsageError(
            f"{run} is not accepted: {why}. Run all cases, or take over what was measured with "
            "--partial."
        )


def _pending(saved: Saved, name: str, *, only_new: bool) -> Iterator[Pending]:
    from pytest_rag import baseline as baselines
    from pytest_rag.verdict import Pending

    found = baselines.measure(name, saved.results_of(name), saved.facts[name])
    if not found.baseline.cases:
        return
    file = baselines.path_of(saved.file_of(name))
    old = baselines.read(file)
    whole = saved.run.complete and not found.broken
    new = baselines.accept(old, found.baseline, only_new=only_new, whole=whole)
    yield Pending(file=file, baseline=new, cases=len(found.baseline.cases), first=old is None)


def _changed(saved: Saved) -> Iterator[str]:
    """Yield a warning for every evalset whose questions or gold changed since the run."""
    from pytest_rag.cli.saved import fingerprints

    words = {"cases": "questions or answers", "qrels": "gold"}
    for name, evalset in saved.evalsets.items():
        was, now = saved.facts[name]["fingerprint"], fingerprints(evalset, saved.config)
        changed = [text for key, text in words.items() if was.get(key) != now[key]]
        if changed:
            yield (
                f"warning: {' and '.join(changed)} of {evalset.path.name} changed since this run; "
                "cases that differ will not be compared until they are measured anew."
            )


# --- prune --------------------------------------------------------------------------------------


@commands.command()
def prune(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Files *.rag.yaml, or folders of them.")
    ],
) -> None:
    """Drop accepted cases that their evalset no longer declares."""
    from pytest_rag import baseline as baselines
    from pytest_rag.cli.selection import load_all

    evalsets = load_all(paths)
    found = [(each, baselines.read(baselines.path_of(each.path))) for each in evalsets]
    if not any(old for _, old in found):
        names = ", ".join(str(_near(baselines.path_of(each.path))) for each in evalsets)
        raise UsageError(f"There is no baseline to prune: {names} is not there.")
    for evalset, old in found:
        if old is None:
            typer.echo(f"{evalset.name}: no baseline")
            continue
        file = baselines.path_of(evalset.path)
        new = baselines.prune(old, (case.id for case in evalset.cases))
        gone = sorted(set(old.cases) - set(new.cases))
        if gone:
            baselines.write(file, new)
        removed = f"removed {', '.join(gone)}. Commit it." if gone else "nothing to remove"
        typer.echo(f"{_near(file)}: {removed}")


# --- show ---------------------------------------------------------------------------------------


@commands.command()
def show(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|FILE]", help="An evalset, or a file.")
    ] = None,
    case: Annotated[str | None, typer.Option(metavar="ID", help="Only this case.")] = None,
) -> None:
    """Show what is accepted."""
    from pytest_rag import baseline as baselines
    from pytest_rag.cli.terminal import say, width
    from pytest_rag.report.accepted import baseline_lines, case_lines

    known = {file: baselines.read(file) for file in _files(name)}
    found = {file: each for file, each in known.items() if each is not None}
    if name is not None and not Path(name).exists():
        found = {file: b for file, b in found.items() if name in (b.evalset, file.stem)}
    if not found:
        raise UsageError(_nothing(name, known.values()))
    if case is not None:
        found = {file: each for file, each in found.items() if case in each.cases} or found
    for file, each in found.items():
        told = baseline_lines(each, str(_near(file)), width()) if case is None else None
        say(told or case_lines(each, case or "", width()))


def _files(name: str | None) -> Iterator[Path]:
    """Yield the baselines of a file, or all of the project."""
    from pytest_rag import baseline as baselines
    from pytest_rag.cli.project import SUFFIXES, evalset_files, find_root

    path = None if name is None else Path(name)
    if path is not None and path.is_file():
        is_evalset = path.name.endswith(SUFFIXES)
        if not is_evalset and path.suffix != ".json":
            raise UsageError(
                f"{name!r} is no baseline's file, nor an evalset's: those end in .json and "
                f"{SUFFIXES[0]}. What a run measured: pytest-rag report RUN.jsonl"
            )
        yield baselines.path_of(path.resolve()) if is_evalset else path.resolve()
        return
    folder = path.resolve() if path is not None and path.is_dir() else find_root(Path.cwd())
    yield from map(baselines.path_of, evalset_files(folder))


def _nothing(name: str | None, known: Iterable[Baseline | None]) -> str:
    from pytest_rag.registry import did_you_mean

    first = "Write one: run the evalset with pytest, or pytest-rag baseline accept RUN.jsonl."
    if name is None:
        return f"No evalset here has a baseline. {first}"
    hint = did_you_mean(name, [each.evalset for each in known if each is not None])
    return f"There is no baseline of {name!r}.{hint} {first}"


def _near(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
