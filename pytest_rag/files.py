"""Files that are replaced in one step, or held by one process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO

__all__ = ["is_locked", "lock", "write_atomically"]


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step: a kill leaves the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def lock(file: IO[str]) -> bool:
    """Hold a file until it is closed; False where another process does."""
    try:
        import fcntl
    except ImportError:  # Windows refuses to rename a file that is open, which serves as well
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Tell whether a process holds a file."""
    with path.open(encoding="utf-8") as file:
        return not lock(file)
