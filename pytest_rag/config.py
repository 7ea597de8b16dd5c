"""``[tool.pytest-rag]`` in pyproject.toml; the only reader of configuration."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import ConfigError
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_rag.types import Mode

__all__ = ["DEFAULT_METRICS", "Config", "Price", "load"]

DEFAULT_METRICS = ("nDCG@10", "R@5", "P@5", "RR", "token_f1", "groundedness", "refusal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs, in US dollars for a million tokens.

    Attributes:
        input: Of input tokens.
        cached_input: Of input tokens the provider had cached; as ``input`` where None.
        output: Of output tokens.
    """

    input: float = 0.0
    cached_input: float | None = None
    output: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of a project.

    Attributes:
        root: The folder relative paths start from, and the last place factories are looked for.
        document_key: Metadata key that names a node's document, such as ``file_name``; None
            for LlamaIndex's own ``ref_doc_id``.
        concurrency: How many cases of an evalset run at a time.
        metrics: Computed for every case that carries what they need, beside those a limit names.
        prices: Overrides by model name.
        mode: Whether models are asked, asked and recorded, or replayed; of the command line.
        cache: ``off``, or the name or URL of a cache.
    """

    root: Path = field(default_factory=Path.cwd)
    document_key: str | None = None
    concurrency: int = 8
    metrics: tuple[str, ...] = DEFAULT_METRICS
    prices: Mapping[str, Price] = field(default_factory=dict)
    mode: Mode = "live"
    cache: str = "off"

    def with_options(self, **options: Any) -> Config:
        """Return a copy in which every option that is not None has its way."""
        return replace(self, **{name: v for name, v in options.items() if v is not None})


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
    values = {_known(key): _READERS[key](f"{key}", value) for key, value in table.items()}
    return Config(root=root, **values)


def _known(key: str) -> str:
    if key not in _READERS:
        raise ConfigError(f"Unknown key {key!r} in [tool.pytest-rag].{did_you_mean(key, _READERS)}")
    return key


def _wrong(key: str, value: object, wanted: str) -> ConfigError:
    return ConfigError(f"[tool.pytest-rag] {key} must be {wanted}, not {value!r}.")


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(key, value, "a text")
    return value


def _cache(key: str, value: object) -> str:
    from pytest_rag.cache import check_url

    text = _text(key, value)
    if text != "off":
        check_url(text)
    return text


def positive_int(key: str, value: object) -> int:
    """Return a whole number above zero.

    Raises:
        ConfigError: for anything else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _wrong(key, value, "a whole number above 0")
    return value


def _metrics(key: str, value: object) -> tuple[str, ...]:
    from pytest_rag import metrics

    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _wrong(key, value, "a list of metric names")
    return tuple(metrics.get(name).name for name in value)


def _prices(key: str, value: object) -> dict[str, Price]:
    if not isinstance(value, dict):
        raise _wrong(key, value, 'a table such as {"my-model" = {input = 0.5, output = 1.5}}')
    return {model: _price(f"{key}.{model}", price) for model, price in value.items()}


def _price(key: str, value: object) -> Price:
    if _is_amount(value) and value == 0:
        return Price()
    names = {f.name for f in fields(Price)}
    if not isinstance(value, dict) or not value:
        raise _wrong(key, value, "0, or {input = …, output = …} in USD for a million tokens")
    for name, amount in value.items():
        if name not in names:
            raise ConfigError(f"Unknown key {name!r} in {key}.{did_you_mean(name, names)}")
        if not _is_amount(amount):
            raise _wrong(f"{key}.{name}", amount, "a number of at least 0")
    return Price(**value)


def _is_amount(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0  # type: ignore[arg-type, operator]


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "document_key": _text,
    "concurrency": positive_int,
    "metrics": _metrics,
    "prices": _prices,
    "cache": _cache,
}
