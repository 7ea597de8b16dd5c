"""git, asked without a shell, in English, and of the folder that is meant."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["git"]

# A hook that calls us sets these, and git would believe them rather than the folder.
_PLACES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
)


def git(
    folder: Path, *words: str, timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run git in a folder and return how it ended, with what it printed.

    Raises:
        OSError: if there is no git, or no such folder.
        subprocess.TimeoutExpired: if it takes longer than ``timeout_s``.
    """
    places = {name: value for name, value in os.environ.items() if name not in _PLACES}
    return subprocess.run(  # noqa: S603 - no shell; a ref cannot become an option
        ["git", *words],  # noqa: S607
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout_s,
        check=False,
        env={**places, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
    )
