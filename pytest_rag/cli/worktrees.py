"""Commits of the project as folders of their own, that are gone again afterwards."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_rag.errors import UsageError
from pytest_rag.git import git
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

__all__ = ["Repository", "stoppable"]

_REFS = 20  # that a message may have to list


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A git repository with a working tree.

    Attributes:
        top: The folder of the working tree.
    """

    top: Path

    @classmethod
    def at(cls, folder: Path) -> Repository:
        """Return the repository a folder lies in.

        Raises:
            UsageError: if it lies in none, or git is not installed.
        """
        done = _git(folder, "rev-parse", "--show-toplevel")
        if done.returncode:
            said = _said(done.stderr)
            if "not a git repository" in said:
                raise UsageError(
                    f"{folder} lies in no git repository, and base is a commit. Go to the project, "
                    "or make it one: git init"
                )
            raise UsageError(f"git finds no working tree at {folder}: {said}")
        return cls(top=Path(done.stdout.rstrip("\n")).resolve())

    def commit(self, ref: str) -> str:
        """Return the commit a branch, tag or abbreviated commit means.

        Raises:
            UsageError: if there is none; names the nearest branch or tag.
        """
        # With the suffix behind it no ref can be taken for an option.
        done = _git(self.top, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        if ref and not done.returncode:
            return done.stdout.strip()
        hint = did_you_mean(ref, self._refs()[:_REFS])
        raise UsageError(
            f"{self.top} has no branch, tag or commit {ref!r}.{hint} See what there is with "
            "`git branch -a` and `git tag`; a shallow clone needs `git fetch --unshallow`."
        )

    def is_dirty(self) -> bool:
        """Tell whether the working tree has changes or new files that are not committed."""
        done = _git(self.top, "status", "--porcelain")
        return bool(done.stdout.strip()) or done.returncode != 0

    def _refs(self) -> list[str]:
        done = _git(self.top, "for-each-ref", "--sort=-committerdate", "--format=%(refname:short)")
        return done.stdout.split()

    @contextlib.contextmanager
    def worktree(self, commit: str, name: str) -> Iterator[Path]:
        """Check a commit out into a temporary folder, and remove it whatever happens.

        Args:
            commit: As `commit` returned it.
            name: Of the folder.

        Raises:
            UsageError: if git cannot check it out.
        """
        parent = Path(tempfile.mkdtemp(prefix="pytest-rag-")).resolve()
        place = parent / name
        try:
            hooks = f"core.hooksPath={parent / 'no-hooks'}"  # a checkout must run nobody's code
            words = ("worktree", "add", "--quiet", "--detach", str(place), commit)
            done = _git(self.top, "-c", hooks, *words)
            if done.returncode:
                raise UsageError(f"git cannot check out {commit[:10]}: {_said(done.stderr)}")
            yield place
        finally:
            with _undisturbed():
                _git(self.top, "worktree", "remove", "--force", str(place))
                shutil.rmtree(parent, ignore_errors=True)
                _git(self.top, "worktree", "prune")


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return git(folder, *words)
    except OSError as error:
        raise UsageError(f"git cannot be run: {error}. Base is checked out with it.") from error


def _said(stderr: str) -> str:
    return " ".join(stderr.split()).removeprefix("fatal: ") or "git failed"


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Make a request to end, as CI sends it, what Ctrl-C is, so that worktrees are removed."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold off a second Ctrl-C while things are put away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, signal.SIG_IGN) for each in asked]
    try:
        yield
    finally:
        for each, handler in zip(asked, before, strict=True):
            signal.signal(each, handler)
