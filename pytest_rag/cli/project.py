"""Where the project begins, and what is found below it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_rag.config import find_root

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SUFFIXES", "evalset_files", "find_root"]

SUFFIXES = (".rag.yaml", ".rag.yml")

_SKIPPED = frozenset({"node_modules", "site-packages", "venv", "__pycache__"})


def evalset_files(folder: Path) -> Iterator[Path]:
    """Yield the evalset files below a folder in order; hidden and installed ones are skipped."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _SKIPPED)
        yield from (Path(parent) / name for name in sorted(files) if name.endswith(SUFFIXES))
