"""``[tool.pytest-rag]`` in pyproject.toml; the only reader of configuration."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from pytest_rag.config.model import (
    DEFAULT_LEDGER,
    DEFAULT_METRICS,
    Alerts,
    Config,
    JudgeSettings,
    OpenAICompatible,
    Price,
)
from pytest_rag.config.readers import READERS
from pytest_rag.errors import ConfigError
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DEFAULT_LEDGER",
    "DEFAULT_METRICS",
    "Alerts",
    "Config",
    "JudgeSettings",
    "OpenAICompatible",
    "Price",
    "find_root",
    "load",
]

_TABLE = re.compile(r"^\s*\[tool\.pytest-rag\b", re.MULTILINE)


def load(root: Path) -> Config:
    """Read the settings of the project at ``root``; all defaults where there are none.

    Raises:
        ConfigError: for an unknown key, with the nearest, or a value of the wrong kind.
    """
    path = root / "pyproject.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Config(root=root)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    table = document.get("tool", {}).get("pytest-rag", {})
    values = {_known(key): READERS[key](f"{key}", value) for key, value in table.items()}
    return _consistent(Config(root=root, **values))


def find_root(start: Path) -> Path:
    """Return the project's root: the nearest folder above ``start`` that says it is one.

    That is one whose pyproject.toml has ``[tool.pytest-rag]``, or else one with a pyproject.toml
    or a git repository, or else ``start`` itself.
    """
    folders = (start, *start.parents)
    marked = (folder for folder in folders if _has_table(folder / "pyproject.toml"))
    likely = (f for f in folders if (f / "pyproject.toml").is_file() or (f / ".git").exists())
    return next(marked, None) or next(likely, start)


def _has_table(path: Path) -> bool:
    try:
        return _TABLE.search(path.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False


def _consistent(config: Config) -> Config:
    alerts = config.alerts
    if config.ledger is None and not {alerts.day_usd, alerts.month_usd, alerts.jump} <= {None}:
        raise ConfigError(
            "[tool.pytest-rag.alerts] day_usd, month_usd and jump are told from the ledger: leave "
            "out `ledger = false`."
        )
    return config


def _known(key: str) -> str:
    if key not in READERS:
        raise ConfigError(f"Unknown key {key!r} in [tool.pytest-rag].{did_you_mean(key, READERS)}")
    return key
