"""``pytest-rag ab``: a commit and what is here now, in turn on one machine."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_rag.cli.children import CeilingError, Child
    from pytest_rag.cli.terminal import Steps
    from pytest_rag.cli.worktrees import Repository
    from pytest_rag.records import Run
    from pytest_rag.sides import TwoSides
    from pytest_rag.types import EvalSet

__all__ = ["ab"]

_INTERRUPTED = 130
_WARM = ("--warmup", "1")  # the first question of a process waits for what is imported late


def ab(
    base: Annotated[
        str, typer.Option(metavar="REF", help="The commit, branch or tag to compare with.")
    ],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files *.rag.yaml, or folders of them."),
    ] = None,
    head: Annotated[
        str | None, typer.Option(metavar="REF", help="A commit; else the files as they are now.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(metavar="N", min=1, max=999, help="How often each side is run.")
    ] = 5,
    warmup: Annotated[
        int, typer.Option(metavar="N", min=0, help="Rounds before those that count.")
    ] = 1,
    max_slowdown: Annotated[
        float | None,
        typer.Option(metavar="X", min=0.01, help="Fail where head is surely slower than X times."),
    ] = None,
    own_evalsets: Annotated[
        bool, typer.Option("--own-evalsets", help="Base answers its own questions, not head's.")
    ] = False,
    concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, help="Cases of an evalset run at a time.")
    ] = 1,
    repeat: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1000, help="Run every case N times.")
    ] = None,
    max_cost: Annotated[
        str | None,
        typer.Option(metavar="USD", help="Start nothing that could make all runs cost more."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything that was found as JSON.")
    ] = False,
) -> None:
    """Measure a commit and the files as they are now in turn, and compare pairs."""
    from pytest_rag.cli.aa import Ceiling, run_options
    from pytest_rag.cli.children import ChildError
    from pytest_rag.cli.run import amount
    from pytest_rag.cli.worktrees import stoppable

    ceiling = Ceiling.of(amount(max_cost))
    plan = _Plan(
        base=base,
        head=head,
        paths=paths or [Path()],
        rounds=rounds,
        warmup=warmup,
        own_evalsets=own_evalsets,
        options=[*run_options(concurrency, repeat), *_WARM],
        env=ceiling.shared.env(),
    )
    try:
        with stoppable(), ExitStack() as stack:
            trial = _prepare(plan, stack)
            trial.measure(plan, stack)
    except ChildError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.status) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted: nothing was decided, and the worktrees are gone.", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    finally:
        ceiling.end()
    found = trial.judge(max_slowdown)
    _tell(trial, found, as_json=as_json)
    raise typer.Exit(int(any(each.bad for each in found)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What was asked for."""

    base: str
    head: str | None
    paths: Sequence[Path]
    rounds: int
    warmup: int
    own_evalsets: bool
    options: Sequence[str]
    env: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class _Trial:
    """Both sides, ready to run, and the records of the rounds that count."""

    evalsets: Sequence[EvalSet]
    base: Child
    head: Child
    told: dict[str, Any]
    notes: list[str]
    runs: tuple[list[Run], list[Run]] = field(default_factory=lambda: ([], []))

    def measure(self, plan: _Plan, stack: ExitStack) -> None:
        """Run base, head, base, head, …; a record is read once it is there."""
        from pytest_rag.cli.children import CeilingError
        from pytest_rag.cli.terminal import steps

        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pytest-rag-")))
        with steps((plan.warmup + plan.rounds) * len(self.runs)) as bar:
            for number in range(1 - plan.warmup, plan.rounds + 1):
                counts = f"round {number} of {plan.rounds}" if number > 0 else "warm-up"
                try:
                    round_of = self._round(counts, folder / str(number), bar)
                except CeilingError as error:
                    self._cut(error, plan)
                    return
                if number > 0:
                    for runs, run in zip(self.runs, round_of, strict=True):
                        runs.append(run)

    def _round(self, counts: str, folder: Path, bar: Steps) -> list[Run]:
        """Run base, then head."""
        folder.mkdir()
        took, found = [], []
        for child in (self.base, self.head):
            bar.begin(f"{counts}: {child.name}")
            started = perf_counter()
            found.append(child.run(folder / f"{child.name}.jsonl"))
            took.append(f"{child.name} {perf_counter() - started:.1f} s")
            bar.end()
        bar.tell(f"{counts}: {', '.join(took)}")
        return found

    def _cut(self, error: CeilingError, plan: _Plan) -> None:
        """Let whole rounds stand where the ceiling ended the measuring.

        Raises:
            CeilingError: if there is none.
        """
        done = len(self.runs[0])
        if not done:
            raise type(error)(f"{error} Nothing was decided.", error.status)
        self.told["rounds"] = done
        self.notes.append(f"{error} {done} of {plan.rounds} rounds are whole, and decide.")

    def judge(self, max_slowdown: float | None) -> list[TwoSides]:
        """Compare the sides of each evalset."""
        from pytest_rag.cli.children import of_evalset
        from pytest_rag.sides import Asked, Rounds, judge_sides

        found = []
        for evalset in self.evalsets:
            name = evalset.name
            sides = [
                Rounds(
                    results=[of_evalset(run, name) for run in runs],
                    facts=runs[0].header["evalsets"][name],
                )
                for runs in self.runs
            ]
            bar = f"{self.told['base']['ref']} ({self.told['base']['commit'][:10]})"
            asked = Asked(evalset=evalset, bar=bar, max_slowdown=max_slowdown)
            found.append(judge_sides(asked, *sides))
        return found


def _prepare(plan: _Plan, stack: ExitStack) -> _Trial:
    """Check both sides out and find out what is asked of them."""
    from pytest_rag.cli.run import need_pipelines
    from pytest_rag.cli.selection import load_all
    from pytest_rag.cli.worktrees import Repository

    here = Path.cwd().resolve()
    repository = Repository.at(here)
    commits = [repository.commit(ref) for ref in (plan.base, plan.head or "HEAD")]
    dirty = plan.head is None and repository.is_dirty()
    head, paths = repository.top, plan.paths
    if plan.head is not None:
        head = stack.enter_context(repository.worktree(commits[1], "head"))
        paths = [_there(path.resolve(), repository.top, head) for path in paths]
    evalsets = load_all(paths)
    need_pipelines(evalsets)
    base = stack.enter_context(repository.worktree(commits[0], "base"))
    files, notes = _questions(plan, evalsets, head, base)
    if commits[0] == commits[1] and not dirty:
        notes.append("Both sides are the same commit: what differs is noise.")
    return _Trial(
        evalsets=evalsets,
        base=_child("base", repository, base, plan, files, evalsets),
        head=_child("head", repository, head, plan, [e.path for e in evalsets], evalsets),
        told={
            "base": {"ref": plan.base, "commit": commits[0], "dirty": False},
            "head": {"ref": plan.head, "commit": commits[1], "dirty": dirty},
            "rounds": plan.rounds,
            "warmup": plan.warmup,
        },
        notes=notes,
    )


def _there(path: Path, top: Path, place: Path) -> Path:
    """Return where a path of the repository lies in a checkout; any other stays where it is."""
    return place / path.relative_to(top) if path.is_relative_to(top) else path


def _questions(
    plan: _Plan, evalsets: Sequence[EvalSet], head: Path, base: Path
) -> tuple[list[Path], list[str]]:
    """Return the files that base reads, and what a person should know of them."""
    from pytest_rag.cli.questions import own_file, placed

    files, notes = [], []
    for evalset in evalsets:
        file = _there(evalset.path, head, base)
        if file == evalset.path:
            notes.append(f"{evalset.name} lies outside the repository: both sides read it there.")
        elif plan.own_evalsets:
            own_file(evalset, file)
        else:
            note = placed(evalset, file, base)
            notes += [note] if note else []
        files.append(file)
    return files, notes


def _child(
    name: str,
    repository: Repository,
    place: Path,
    plan: _Plan,
    files: Sequence[Path],
    evalsets: Sequence[EvalSet],
) -> Child:
    from pytest_rag.cli.children import Child, environment

    here = Path.cwd().resolve()
    cwd = _there(here, repository.top, place)
    cwd.mkdir(parents=True, exist_ok=True)
    return Child(
        name=name,
        files=files,
        evalsets=[evalset.name for evalset in evalsets],
        cwd=cwd,
        env={**environment(repository.top, place, here), **plan.env},
        place=place,
        top=repository.top,
        options=plan.options,
    )


def _tell(trial: _Trial, found: Sequence[TwoSides], *, as_json: bool) -> None:
    from pytest_rag.cli.terminal import say, width
    from pytest_rag.report.sides import head_line, sides_lines

    if as_json:
        bad = any(each.bad for each in found)
        evalsets = {each.evalset: each.to_dict() for each in found}
        told = {**trial.told, "bad": bad, "notes": trial.notes, "evalsets": evalsets}
        typer.echo(json.dumps(told, ensure_ascii=False, allow_nan=False, indent=2, sort_keys=True))
        return
    say([head_line(trial.told)])
    for each in found:
        say(sides_lines(each, width=width()))
    say((note, "dim") for note in trial.notes)
