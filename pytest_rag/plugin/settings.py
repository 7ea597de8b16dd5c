"""The command line's options, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was typed behind ``--rag-…``.

    Attributes:
        concurrency: Cases at a time, or None for the configured number.
        repeat: Runs of every case, or None for what the case says.
        out: Where the run record goes, or None.
        plan: Show what would be run, and run nothing.
    """

    concurrency: int | None
    repeat: int | None
    out: Path | None
    plan: bool

    @classmethod
    def of(cls, config: pytest.Config) -> Settings:
        """Read the options.

        Raises:
            pytest.UsageError: for a value that makes no sense.
        """
        out = config.getoption("--rag-out")
        plan = config.getoption("--rag-plan")
        if plan and config.getoption("numprocesses", None):
            raise pytest.UsageError(
                "--rag-plan runs nothing, so it needs no workers: leave out -n."
            )
        if out is not None:
            _check(config.invocation_params.dir / out)
        return cls(
            concurrency=_count(config, "--rag-concurrency"),
            repeat=_count(config, "--rag-repeat"),
            out=None if out is None else config.invocation_params.dir / out,
            plan=plan,
        )


def _check(out: Path) -> None:
    from pytest_rag.errors import RecordError
    from pytest_rag.writing import check_target

    try:
        check_target(out)
    except RecordError as error:
        raise pytest.UsageError(f"--rag-out: {error}") from None


def _count(config: pytest.Config, option: str) -> int | None:
    text = config.getoption(option)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise pytest.UsageError(f"{option} takes a whole number above 0, not {text!r}.")
    return int(text)
