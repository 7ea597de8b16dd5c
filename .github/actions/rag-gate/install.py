"""Installs what the evaluation needs: the lines of RAG_INSTALL, and pytest-rag where they lack it.

A line is what pip takes: ``-e .[test]``, ``-r requirements.txt``, ``my-package>=2``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_HAS = "import sys; from importlib.util import find_spec; sys.exit(find_spec('pytest_rag') is None)"


def main() -> int:
    """Install, and return pip's exit status."""
    words = words_of(os.environ.get("RAG_INSTALL", ""))
    status = pip(words) if words else 0
    if status or is_there():
        return status
    root = Path(__file__).resolve().parents[3]
    if not (root / "pytest_rag" / "__init__.py").is_file():
        print("::error::pytest-rag is not installed. Add it to the input `install`.")
        return 2
    return pip([f"{root}[demo,report]"])


def words_of(text: str) -> list[str]:
    """Return lines as words for pip: an option and its value, or one requirement."""
    lines = (line.strip() for line in text.splitlines())
    return [
        word
        for line in lines
        if line and not line.startswith("#")
        for word in (line.split(None, 1) if line.startswith("-") else [line])
    ]


def is_there() -> bool:
    """Tell whether pytest-rag is installed, and not merely a folder here."""
    return subprocess.run([sys.executable, "-P", "-c", _HAS], check=False).returncode == 0


def pip(words: list[str]) -> int:
    """Install without a shell."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    return subprocess.run([*command, *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
