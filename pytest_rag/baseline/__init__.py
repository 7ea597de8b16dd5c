"""Accepted scores of an evalset, kept in git.

- ``model`` is what a baseline holds, with accept and prune,
- ``measured`` makes one of a run's results,
- ``file`` reads and writes it, one case a line,
- ``source`` finds the one that is the bar: a path, a commit, or the file in the tree.
"""

from __future__ import annotations

from pytest_rag.baseline.file import parse, path_of, read, text_of, write
from pytest_rag.baseline.measured import Measured, measure
from pytest_rag.baseline.model import Baseline, accept, prune

__all__ = [
    "Baseline",
    "Measured",
    "accept",
    "measure",
    "parse",
    "path_of",
    "prune",
    "read",
    "text_of",
    "write",
]
