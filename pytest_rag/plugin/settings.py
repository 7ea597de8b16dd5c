"""The command line's options, checked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from pytest_rag.registry import did_you_mean
from pytest_rag.types import MODES

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_rag.baseline.source import Bars
    from pytest_rag.records import Run
    from pytest_rag.report.reporters import Wanted
    from pytest_rag.resume import Resumed
    from pytest_rag.sharding import Shard
    from pytest_rag.types import Mode
    from pytest_rag.verdict import Update

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was typed behind ``--rag-…``.

    Attributes:
        concurrency: Cases at a time, or None for the configured number.
        repeat: Runs of every case, or None for what the case says.
        out: Where the run record goes, or None.
        plan: Show what would be run, and run nothing.
        bars: Where the baselines are that results are held against.
        reports: What is to be written at the end, for people and programs.
        update: Accept what is measured: ``new`` cases, ``all``, or nothing.
        mode: Whether models are asked, asked and recorded, or replayed; None for what each
            evalset says.
        cache: Out of what calls are answered, or None for what is configured.
        resume: The run record whose results are taken over, or None.
        max_cost: US dollars that the run may cost, or None.
        shard: Which part of the cases this run is, or None.
        shard_times: The run by whose times the cases are split, or None.
    """

    concurrency: int | None
    repeat: int | None
    out: Path | None
    plan: bool
    bars: Bars
    update: Update | None
    mode: Mode | None
    cache: str | None
    resume: Resumed | None
    max_cost: float | None = None
    shard: Shard | None = None
    shard_times: Run | None = None
    reports: tuple[Wanted, ...] = ()

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
            bars=_bars(config),
            update=_update(config),
            mode=_mode(config.getoption("--rag-mode")),
            cache=_cache(config.getoption("--rag-cache")),
            resume=_resume(config),
            max_cost=_amount(config, "--rag-max-cost"),
            shard=_shard(config),
            shard_times=_shard_times(config),
            reports=_reports(config),
        )


def _bars(config: pytest.Config) -> Bars:
    from pytest_rag.baseline.source import Bars
    from pytest_rag.errors import BaselineError

    try:
        return Bars(config.getoption("--rag-baseline"), config.invocation_params.dir, os.environ)
    except BaselineError as error:
        raise pytest.UsageError(f"--rag-baseline: {error}") from None


def _reports(config: pytest.Config) -> tuple[Wanted, ...]:
    asked = config.getoption("--rag-report")
    if not asked:
        return ()
    from pytest_rag.errors import UsageError
    from pytest_rag.report.reporters import parse_all

    try:
        return parse_all(asked, config.invocation_params.dir)
    except UsageError as error:
        raise pytest.UsageError(f"--rag-report: {error}") from None


def _update(config: pytest.Config) -> Update | None:
    wanted = config.getoption("rag_update")
    if wanted is not None and config.getoption("--rag-baseline") == "none":
        raise pytest.UsageError("--rag-update accepts a baseline; leave out --rag-baseline=none.")
    return cast("Update | None", wanted)


def _shard(config: pytest.Config) -> Shard | None:
    from pytest_rag.errors import ConfigError
    from pytest_rag.sharding import Shard

    text = config.getoption("--rag-shard")
    if text is None:
        return None
    if config.getoption("rag_update") is not None:
        raise pytest.UsageError(
            "A shard writes no baseline: leave out --rag-update, and accept the whole with "
            "pytest-rag merge --update."
        )
    try:
        return Shard.parse(text)
    except ConfigError as error:
        raise pytest.UsageError(f"--rag-shard: {error}") from None


def _shard_times(config: pytest.Config) -> Run | None:
    from pytest_rag import records
    from pytest_rag.errors import RecordError

    text = config.getoption("--rag-shard-times")
    if text is None:
        return None
    try:
        return records.read(config.invocation_params.dir / text)
    except RecordError as error:
        raise pytest.UsageError(f"--rag-shard-times: {error}") from None


def _check(out: Path) -> None:
    from pytest_rag.errors import RecordError
    from pytest_rag.writing import check_target

    try:
        check_target(out)
    except RecordError as error:
        raise pytest.UsageError(f"--rag-out: {error}") from None


def _cache(text: str | None) -> str | None:
    if text is not None and text != "off":
        from pytest_rag.cache import check_url
        from pytest_rag.errors import UsageError

        try:
            check_url(text)
        except UsageError as error:
            raise pytest.UsageError(f"--rag-cache: {error}") from None
    return text


def _resume(config: pytest.Config) -> Resumed | None:
    text = config.getoption("--rag-resume")
    if text is None:
        return None
    from pytest_rag.errors import RecordError
    from pytest_rag.resume import Resumed

    try:
        return Resumed.of(config.invocation_params.dir / text)
    except RecordError as error:
        raise pytest.UsageError(f"--rag-resume: {error}") from None


def _mode(text: str | None) -> Mode | None:
    if text is None:
        return None
    found = next((mode for mode in MODES if mode == text), None)
    if found is None:
        hint = did_you_mean(text, MODES)
        raise pytest.UsageError(f"--rag-mode is live, record or replay, not {text!r}.{hint}")
    return found


def _count(config: pytest.Config, option: str) -> int | None:
    text = config.getoption(option)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise pytest.UsageError(f"{option} takes a whole number above 0, not {text!r}.")
    return int(text)


def _amount(config: pytest.Config, option: str) -> float | None:
    from pytest_rag.costs.money import amount_of

    text = config.getoption(option)
    if text is None:
        return None
    usd = amount_of(text)
    if usd is None:
        raise pytest.UsageError(f"{option} takes US dollars above 0, as in 0.50, not {text!r}.")
    return usd
