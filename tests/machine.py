"""What the tests need of the machine beside Python's packages."""

from __future__ import annotations

import gc
import os
import shutil
import warnings

import pytest


def needed(*names: str, install: str | None = None) -> str:
    """Return a program by the first of its names that is there.

    Where it is missing the test is skipped, with what to install; with PYTEST_RAG_EVERYTHING set,
    as `.ci/run` does, it fails.
    """
    found = next(filter(None, map(shutil.which, names)), None)
    if found is not None:
        return found
    install = install or f"apt-get install -y {names[0]}"
    said = f"{names[0]} is not installed; this test needs it: {install}"
    if os.environ.get("PYTEST_RAG_EVERYTHING"):
        pytest.fail(said, pytrace=False)
    pytest.skip(said)


def sweep() -> None:
    """Let clients of models go that nobody closed, before they disturb what comes next."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
