"""Which baseline is the bar: a path, a commit, the merge base in CI, or the file in the tree."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_rag import records
from pytest_rag.baseline import ci
from pytest_rag.baseline.file import parse, path_of, read
from pytest_rag.baseline.measured import measure
from pytest_rag.errors import BaselineError
from pytest_rag.git import git

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy import float64
    from numpy.typing import NDArray

    from pytest_rag.baseline.model import Baseline

__all__ = ["Bar", "Bars"]

_TIMEOUT_S = 60
# With a colon in it git would take it for a file of a commit, which holds no baselines.
_REF = re.compile("git:[^:]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What an evalset is held against.

    Attributes:
        baseline: What was accepted, or None where there is nothing.
        told: What it is, in words: a path, a commit.
        file: The baseline's file in the tree, whether it is the bar or not.
        asked: Whether it was named on the command line.
        edited: Whether the file in the tree says something else than the bar.
        times: Milliseconds by stage and case where the bar is a run record.
    """

    baseline: Baseline | None
    told: str
    file: Path
    asked: bool = False
    edited: bool = False
    times: Mapping[str, NDArray[float64]] = field(default_factory=dict)


class Bars:
    """Finds the bar of each evalset, once.

    Args:
        option: ``PATH`` of a baseline, of a folder of them or of a run record; ``git:REF``;
            ``none``; or None for the merge base in CI and the file in the tree elsewhere.
        start: The folder a relative PATH starts from.
        environ: Environment variables, which tell of CI.

    Raises:
        BaselineError: if PATH is not there.
    """

    def __init__(self, option: str | None, start: Path, environ: Mapping[str, str]) -> None:
        self.option = option
        self.ci = ci.variable(environ)
        self._target = ci.target_branch(environ) if self.ci else None
        self._path = None
        if option is not None and option != "none" and not option.startswith("git:"):
            self._path = start / option
            if not self._path.exists():
                raise BaselineError(
                    f"There is no baseline {option!r}. Give a baseline's file, a folder of them, "
                    "a run record, git:REF or none."
                )
        if option is not None and option.startswith("git:") and not _REF.fullmatch(option):
            raise BaselineError("git: needs a branch, tag or commit behind it, such as git:main.")
        self._bars: dict[tuple[Path, str], Bar] = {}
        self._merge_bases: dict[Path, str | None] = {}

    def of(self, file: Path, evalset: str) -> Bar:
        """Return the bar of an evalset.

        Args:
            file: The evalset's file.
            evalset: Its name.

        Raises:
            BaselineError: if the bar cannot be read.
        """
        key = (file, evalset)
        if key not in self._bars:
            self._bars[key] = self._find(file, evalset)
        return self._bars[key]

    def _find(self, file: Path, evalset: str) -> Bar:
        tree = path_of(file)
        if self.option == "none":
            return Bar(baseline=None, told="none", file=tree)
        if self._path is not None:
            return self._named(self._path, tree, evalset)
        if self.option is not None:
            return _at_commit(self.option.removeprefix("git:"), "", tree, file, asked=True)
        base = self._merge_base(file.parent)
        if base is not None:
            return _at_commit(base, f", the merge base with {self._target}", tree, file)
        return Bar(baseline=read(tree), told=_near(tree), file=tree)

    def _named(self, path: Path, tree: Path, evalset: str) -> Bar:
        told = _near(path)
        if path.is_dir():
            path = path / tree.name
            return Bar(baseline=read(path), told=_near(path), file=tree, asked=True)
        if path.suffix == ".jsonl":
            header, results = records.stream(path, evalset)
            found = measure(evalset, results, header.get("evalsets", {}).get(evalset, {}))
            if not found.baseline.cases:
                raise BaselineError(f"{told} measured nothing of {evalset!r}.")
            return Bar(baseline=found.baseline, told=told, file=tree, asked=True, times=found.times)
        baseline = read(path)
        if baseline is not None and baseline.evalset != evalset:
            raise BaselineError(
                f"{told} is the baseline of {baseline.evalset!r}, not of {evalset!r}. Give the "
                "folder the baselines lie in, or run that evalset alone."
            )
        return Bar(baseline=baseline, told=told, file=tree, asked=True)

    def _merge_base(self, folder: Path) -> str | None:
        """Return the commit where the pull request left its target; None where there is none."""
        if self._target is None:
            return None
        if folder not in self._merge_bases:
            self._merge_bases[folder] = _merge_base(folder, self._target)
        return self._merge_bases[folder]


def _merge_base(folder: Path, target: str) -> str | None:
    if _git(folder, "rev-parse", "--git-dir").returncode:
        return None
    for branch in (f"origin/{target}", target):
        done = _git(folder, "merge-base", "HEAD", branch)
        if not done.returncode:
            return done.stdout.strip()
    raise BaselineError(
        f"The merge base with {target!r} is not in this clone, so there is no bar for this pull "
        "request. Fetch the history: `fetch-depth: 0` at actions/checkout, or "
        f"git fetch --unshallow origin {target}. Or name a bar: --rag-baseline=PATH"
    )


def _at_commit(ref: str, note: str, tree: Path, file: Path, *, asked: bool = False) -> Bar:
    """Return the baseline as a commit has it; the file in the tree is told apart from it."""
    done = _git(file.parent, "show", "--end-of-options", f"{ref}:./baselines/{tree.name}")
    name = _near(tree)
    if done.returncode and _lacks_path(done.stderr):
        former = _former(ref, file)
        if former is not None:
            name, done = former, _git(file.parent, "show", "--end-of-options", f"{ref}:{former}")
    told = f"{name} at {ref[:10] if note else ref}{note}"
    there = _text(tree)
    if done.returncode:
        if not _lacks_path(done.stderr):
            raise BaselineError(f"--rag-baseline=git:{ref}: {_said(done.stderr)}")
        return Bar(baseline=None, told=told, file=tree, asked=asked, edited=there is not None)
    return Bar(
        baseline=parse(done.stdout, told, "Hold the run against another: --rag-baseline=PATH"),
        told=told,
        file=tree,
        asked=asked,
        edited=there != done.stdout,
    )


def _text(path: Path) -> str | None:
    """Return a file's text, bytes that are none replaced; None where it is not there."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _former(ref: str, file: Path) -> str | None:
    """Return the baseline that an evalset's file had at a commit by another name, from the top.

    Else a change could rename the file, and be held to nothing.
    """
    here = _git(file.parent, "ls-files", "--full-name", "-z", "--", f"./{file.name}")
    words = ("--find-renames", "--diff-filter=R", "--name-status", "-z")
    diff = _git(file.parent, "diff", *words, "--end-of-options", ref, "--")
    told = diff.stdout.split("\0")
    names = zip(told[1::3], told[2::3], strict=False)
    was = next((old for old, new in names if f"{new}\0" == here.stdout), None)
    return None if was is None else path_of(Path(was)).as_posix()


def _lacks_path(stderr: str) -> bool:
    return "does not exist in" in stderr or "exists on disk, but not in" in stderr


def _said(stderr: str) -> str:
    """Return git's complaint on one line, with what to do where a clone is too shallow."""
    text = " ".join(stderr.split()).removeprefix("fatal: ").rstrip(".") or "git failed"
    if "invalid object name" in text or "bad revision" in text or "not a valid object" in text:
        return (
            f"{text}. See what there is with `git branch -a` and `git tag`; a shallow clone needs "
            "`git fetch --unshallow`."
        )
    return text


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return git(folder, *words, timeout_s=_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise BaselineError(
            f"git cannot be asked for a baseline: {error}. Or name one: --rag-baseline=PATH"
        ) from error


def _near(path: Path) -> str:
    """Return a path as people type it: from here, where it lies below here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
