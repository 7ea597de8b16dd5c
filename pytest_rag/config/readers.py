"""Each key of ``[tool.pytest-rag]``, read strictly."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pytest_rag.config.model import (
    DEFAULT_LEDGER,
    Alerts,
    JudgeSettings,
    OpenAICompatible,
    Price,
)
from pytest_rag.errors import ConfigError, MissingExtraError
from pytest_rag.rates import RateLimit
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["READERS"]

_IMPORT_PATH = re.compile(r"[\w.]+:[\w.]+")


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


def _positive_int(key: str, value: object, *, least: int = 1) -> int:
    """Return a whole number above zero, or from ``least`` on.

    Raises:
        ConfigError: for anything else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _wrong(key, value, "a whole number " + ("above 0" if least else "of at least 0"))
    return value


def _metrics(key: str, value: object) -> tuple[str, ...]:
    from pytest_rag import metrics

    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _wrong(key, value, "a list of metric names")
    try:
        return tuple(metrics.get(name).name for name in value)
    except MissingExtraError as error:
        raise ConfigError(f"[tool.pytest-rag] {key}: {error}.") from error


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


def _ledger(key: str, value: object) -> str | None:
    if isinstance(value, bool):
        return DEFAULT_LEDGER if value else None
    if not isinstance(value, str) or not value:
        raise _wrong(key, value, "a path, or false")
    return value


def _timezone(key: str, value: object) -> str:  # noqa: ARG001 - as all readers
    from pytest_rag.zones import zone_of

    zone_of(str(value))
    return str(value)


def _alerts(key: str, value: object) -> Alerts:
    if not isinstance(value, dict):
        raise _wrong(key, value, "a table such as {day_usd = 5, month_usd = 100}")
    names = {f.name for f in fields(Alerts)}
    for name, given in value.items():
        if name not in names:
            raise ConfigError(f"Unknown key {name!r} in {key}.{did_you_mean(name, names)}")
        _ALERTS.get(name, _threshold)(f"{key}.{name}", given)
    return Alerts(**{**value, "command": tuple(value.get("command", ()))})


def _threshold(key: str, value: object) -> None:
    if not _is_amount(value) or not value:
        raise _wrong(key, value, "a number above 0")


def _webhook(key: str, value: object) -> None:
    """Check where messages go; what stands there is a secret and in no error."""
    starts = ("http://", "https://", "env:")
    if not isinstance(value, str) or not value.startswith(starts) or value in starts:
        raise ConfigError(f"[tool.pytest-rag] {key} must be https://…, or env:NAME of a variable.")


def _command(key: str, value: object) -> None:
    texts = isinstance(value, list) and all(isinstance(word, str) for word in value)
    if not texts or not value:
        raise _wrong(key, value, 'a list of texts such as ["notify", "--stdin"]')


_ALERTS: dict[str, Callable[[str, Any], None]] = {"webhook": _webhook, "command": _command}


def _judge(key: str, value: object) -> JudgeSettings:
    if not isinstance(value, dict):
        raise _wrong(key, value, 'a table with model = "package.module:factory"')
    readers: dict[str, Callable[[str, Any], Any]] = {
        "model": _model,
        "embeddings": _embeddings,
        "timeout_s": _seconds,
    }
    for name in value:
        if name not in readers:
            where = f"Unknown key {name!r} in [tool.pytest-rag.{key}]."
            raise ConfigError(f"{where}{did_you_mean(name, readers)}")
    return JudgeSettings(**{n: readers[n](f"{key}.{n}", given) for n, given in value.items()})


def _generate(key: str, value: object) -> str | OpenAICompatible:
    if not isinstance(value, dict) or "model" not in value:
        raise _wrong(key, _keyless(value), 'a table with model = "package.module:factory"')
    for name in value:
        if name != "model":
            where = f"Unknown key {name!r} in [tool.pytest-rag.{key}]."
            raise ConfigError(f"{where}{did_you_mean(name, ('model',))}")
    return _model(f"{key}.model", value["model"])


def _embeddings(key: str, value: object) -> str | OpenAICompatible:
    return "local" if value == "local" else _model(key, value)


def _model(key: str, value: object) -> str | OpenAICompatible:
    if isinstance(value, str) and _IMPORT_PATH.fullmatch(value):
        return value
    if not isinstance(value, dict) or value.keys() != {"openai_compatible"}:
        raise _wrong(key, _keyless(value), '"package.module:name", or {openai_compatible = {…}}')
    given, key = value["openai_compatible"], f"{key}.openai_compatible"
    wanted = ("base_url", "model", "api_key_env")
    if not isinstance(given, dict) or not given.keys() >= {"base_url", "model"}:
        raise _wrong(key, _keyless(given), '{base_url = "…", model = "…", api_key_env = "…"}')
    for name, text in given.items():
        if name not in wanted:
            raise ConfigError(f"Unknown key {name!r} in {key}.{did_you_mean(name, wanted)}")
        _text(f"{key}.{name}", text)
    return OpenAICompatible(**given)


def _keyless(value: object) -> object:
    """Return a value as an error may show it: somebody may have written a key into the table."""
    return dict.fromkeys(value, "…") if isinstance(value, dict) else value


def _seconds(key: str, value: object) -> float:
    if not _is_amount(value) or not value:
        raise _wrong(key, value, "a number of seconds above 0")
    return float(value)  # type: ignore[arg-type]


def _limits(key: str, value: object) -> dict[str, RateLimit]:
    if not isinstance(value, dict):
        raise _wrong(key, value, 'a table such as {"gpt-4o-mini" = {rpm = 500, tpm = 200000}}')
    return {model: _rate(f"{key}.{model}", limit) for model, limit in value.items()}


def _rate(key: str, value: object) -> RateLimit:
    if not isinstance(value, dict) or not value:
        raise _wrong(key, value, "{rpm = …, tpm = …, concurrency = …}, one of them or more")
    for name, amount in value.items():
        if name not in RateLimit.__slots__:
            hint = did_you_mean(name, RateLimit.__slots__)
            raise ConfigError(f"Unknown key {name!r} in {key}.{hint}")
        _positive_int(f"{key}.{name}", amount)
    return RateLimit(**value)


def _is_amount(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0  # type: ignore[arg-type, operator]


READERS: dict[str, Callable[[str, Any], Any]] = {
    "document_key": _text,
    "concurrency": _positive_int,
    "metrics": _metrics,
    "prices": _prices,
    "cache": _cache,
    "ledger": _ledger,
    "timezone": _timezone,
    "alerts": _alerts,
    "judge": _judge,
    "generate": _generate,
    "limits": _limits,
    "retries": functools.partial(_positive_int, least=0),
    "max_output_tokens": _positive_int,
}
