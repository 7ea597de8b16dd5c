"""What the plugin costs a project that does not use it."""

from __future__ import annotations

import json
import subprocess
import sys

from processes import in_turn, median, python, ratio

_PAIRS = 25
_NEW_MODULES = """
import json, sys
import pytest
before = set(sys.modules)
import pytest_rag.plugin
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_modules(row) -> None:
    """Importing the plugin loads next to nothing."""
    done = subprocess.run(
        [sys.executable, "-c", _NEW_MODULES], check=True, capture_output=True, text=True
    )
    new = json.loads(done.stdout)
    ours = [name for name in new if name.split(".")[0] == "pytest_rag"]
    row("start-up: our modules", str(len(ours)), "≤ 3", ", ".join(ours))
    others = [name for name in new if name not in ours]
    row("start-up: other modules", str(len(others)), "0", ", ".join(others))


def test_empty_run(row, tmp_path) -> None:
    """A run in an empty folder takes as long as without the plugin."""
    args = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    pairs = in_turn(
        lambda: python(*args, cwd=tmp_path),
        lambda: python(*args, "-p", "no:rag", cwd=tmp_path),
        _PAIRS,
    )
    plain = [without for _, without in pairs]
    how = f"of {median(plain, 'wall'):.2f} s without the plugin; {_PAIRS} pairs"
    row("empty pytest run: wall", f"{ratio(pairs, 'wall'):.3f}x", "≤ 1.03x", how)
    row("empty pytest run: user CPU", f"{ratio(pairs, 'user'):.3f}x", "≤ 1.03x")
