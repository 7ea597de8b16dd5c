"""Where the project begins, and what is found below it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SUFFIXES", "evalset_files", "find_root"]

SUFFIXES = (".rag.yaml", ".rag.yml")

_TABLE = re.compile(r"^\s*\[tool\.pytest-rag\b", re.MULTILINE)
_SKIPPED = frozenset({"node_modules", "site-packages", "venv", "__pycache__"})


def find_root(start: Path) -> Path:
    """Return the project's root: the nearest folder above ``start`` that says it is one.

    That is one whose pyproject.toml has ``[tool.pytest-rag]``, or else one with a pyproject.toml
    or a git repository, or else ``start`` itself.
    """
    folders = (start, *start.parents)
    marked = (folder for folder in folders if _has_table(folder / "pyproject.toml"))
    likely = (f for f in folders if (f / "pyproject.toml").is_file() or (f / ".git").exists())
    return next(marked, None) or next(likely, start)


def _has_table(path: Path) -> bool:
    try:
        return _TABLE.search(path.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False


def evalset_files(folder: Path) -> Iterator[Path]:
    """Yield the evalset files below a folder in order; hidden and installed ones are skipped."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _SKIPPED)
        yield from (Path(parent) / name for name in sorted(files) if name.endswith(SUFFIXES))
