"""Whole processes in turn, and what each of them used."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# Bytecode is kept, as on anybody's machine, also where the environment says not to.
_BYTECODE = tempfile.TemporaryDirectory(prefix="pytest-rag-")


@dataclass(frozen=True, slots=True)
class Used:
    """What one process used: seconds, seconds of processor time in user mode, MB."""

    wall: float
    user: float
    rss: float


def python(*args: str, cwd: Path) -> Used:
    """Run the interpreter to its end; a status other than success, or no tests, is an error."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": _BYTECODE.name}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *args],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process.stdout as output:
        said = output.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode not in (0, 5):
        raise RuntimeError(said.decode()[-2000:])
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Used(wall, usage.ru_utime, usage.ru_maxrss / unit)


def in_turn(
    ours: Callable[[], Used], theirs: Callable[[], Used], times: int
) -> list[tuple[Used, Used]]:
    """Run A B, B A, A B, …; the machine's moods then fall on both."""
    pairs = []
    for turn in range(times):
        if turn % 2:
            other = theirs()
            pairs.append((ours(), other))
        else:
            mine = ours()
            pairs.append((mine, theirs()))
    return pairs


def ratio(pairs: Sequence[tuple[Used, Used]], attribute: str) -> float:
    """Return the median of the ratios ours : theirs."""
    return statistics.median(getattr(a, attribute) / getattr(b, attribute) for a, b in pairs)


def spread(pairs: Sequence[tuple[Used, Used]], attribute: str) -> str:
    """Return the lowest and the highest of the ratios."""
    found = sorted(getattr(a, attribute) / getattr(b, attribute) for a, b in pairs)
    return f"{found[0]:.2f} to {found[-1]:.2f}"


def median(values: Sequence[Used], attribute: str) -> float:
    """Return the median of one figure."""
    return statistics.median(getattr(used, attribute) for used in values)
