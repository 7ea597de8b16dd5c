"""``[tool.pytest-rag]`` in pyproject.toml; the only reader of configuration."""

from __future__ import annotations

import functools
import math
import re
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import ConfigError, MissingExtraError
from pytest_rag.registry import did_you_mean
from pytest_rag.types import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_rag.types import Mode

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
DEFAULT_LEDGER = ".pytest_rag/ledger.sqlite"
DEFAULT_METRICS = ("nDCG@10", "R@5", "P@5", "RR", "token_f1", "groundedness", "refusal")
_IMPORT_PATH = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs, in US dollars for a million tokens.

    Attributes:
        input: Of input tokens.
        cached_input: Of input tokens the provider had cached; as ``input`` where None.
        cache_write: Of input tokens it put into its cache; as ``input`` where None.
        output: Of output tokens.
        reasoning: Of the output tokens that were thought and not said; as ``output`` where None.
    """

    input: float = 0.0
    cached_input: float | None = None
    cache_write: float | None = None
    output: float = 0.0
    reasoning: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """When somebody is told of costs, and how.

    Attributes:
        run_usd: US dollars of one run from which on it is told.
        day_usd: Of a day.
        month_usd: Of a month.
        jump: How many times the daily mean of the week before a day may cost.
        webhook: Where a message is posted, or ``env:NAME`` of the variable that holds it.
        command: Program and arguments that get the message on their standard input.
    """

    run_usd: float | None = None
    day_usd: float | None = None
    month_usd: float | None = None
    jump: float | None = None
    webhook: str | None = field(default=None, repr=False)
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAICompatible:
    """A model behind an HTTP interface such as OpenAI's.

    Attributes:
        base_url: As ``https://api.openai.com/v1``.
        model: As the server calls it.
        api_key_env: The environment variable that holds the key; None where none is needed.
    """

    base_url: str
    model: str
    api_key_env: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """The models that judge answers.

    Attributes:
        model: Import path of a LlamaIndex language model or of what makes one, or where one is
            served; None where there is no judge.
        embeddings: The same of an embedding model, or ``local`` for the embedded one.
        timeout_s: Seconds after which a score is given up.
    """

    model: str | OpenAICompatible | None = None
    embeddings: str | OpenAICompatible = "local"
    timeout_s: float = 120.0


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
        limits: Of rate, by model name or a pattern such as ``gpt-4*``.
        retries: Of a call; None as many as its own client would make, 0 leaves them to that.
        max_output_tokens: What a model without a limit answers at most, under a ceiling.
        mode: Whether models are asked, asked and recorded, or replayed; None as evalsets say.
        cache: ``off``, or the name or URL of a cache.
        ledger: Where calls that cost money are kept, from the root; None for nowhere.
        timezone: Name of the zone in which days and months begin; None for this machine's.
        alerts: When somebody is told of costs, and how.
        judge: The models that judge answers.
    """

    root: Path = field(default_factory=Path.cwd)
    document_key: str | None = None
    concurrency: int = 8
    metrics: tuple[str, ...] = DEFAULT_METRICS
    prices: Mapping[str, Price] = field(default_factory=dict)
    limits: Mapping[str, RateLimit] = field(default_factory=dict)
    retries: int | None = None
    max_output_tokens: int = 4096
    mode: Mode | None = None
    cache: str = "off"
    ledger: str | None = DEFAULT_LEDGER
    timezone: str | None = None
    alerts: Alerts = field(default_factory=Alerts)
    judge: JudgeSettings = field(default_factory=JudgeSettings)

    @property
    def ledger_path(self) -> Path | None:
        """The ledger's file, or None where there is none."""
        return None if self.ledger is None else self.root / self.ledger

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


def positive_int(key: str, value: object, *, least: int = 1) -> int:
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
        positive_int(f"{key}.{name}", amount)
    return RateLimit(**value)


def _is_amount(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0  # type: ignore[arg-type, operator]


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "document_key": _text,
    "concurrency": positive_int,
    "metrics": _metrics,
    "prices": _prices,
    "cache": _cache,
    "ledger": _ledger,
    "timezone": _timezone,
    "alerts": _alerts,
    "judge": _judge,
    "limits": _limits,
    "retries": functools.partial(positive_int, least=0),
    "max_output_tokens": positive_int,
}
