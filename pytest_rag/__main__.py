"""``python -m pytest_rag``: the command line."""

from __future__ import annotations

from pytest_rag.cli import main

if __name__ == "__main__":
    main()
