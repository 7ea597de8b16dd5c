"""The settings of a project as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_rag.rates import RateLimit
    from pytest_rag.types import Mode

__all__ = [
    "DEFAULT_LEDGER",
    "DEFAULT_METRICS",
    "Alerts",
    "Config",
    "JudgeSettings",
    "OpenAICompatible",
    "Price",
]

DEFAULT_LEDGER = ".pytest_rag/ledger.sqlite"
DEFAULT_METRICS = ("nDCG@10", "R@5", "P@5", "RR", "token_f1", "groundedness", "refusal")


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
        max_output_tokens: What a model without a limit of its own may answer at most, under a
            ceiling; None for 4096 where it can be told so, and no call where it cannot.
        mode: Whether models are asked, asked and recorded, or replayed; None as evalsets say.
        cache: ``off``, or the name or URL of a cache.
        ledger: Where calls that cost money are kept, from the root; None for nowhere.
        timezone: Name of the zone in which days and months begin; None for this machine's.
        alerts: When somebody is told of costs, and how.
        judge: The models that judge answers.
        generate: The language model that proposes cases, as ``judge.model``; None for the judge's.
    """

    root: Path = field(default_factory=Path.cwd)
    document_key: str | None = None
    concurrency: int = 8
    metrics: tuple[str, ...] = DEFAULT_METRICS
    prices: Mapping[str, Price] = field(default_factory=dict)
    limits: Mapping[str, RateLimit] = field(default_factory=dict)
    retries: int | None = None
    max_output_tokens: int | None = None
    mode: Mode | None = None
    cache: str = "off"
    ledger: str | None = DEFAULT_LEDGER
    timezone: str | None = None
    alerts: Alerts = field(default_factory=Alerts)
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    generate: str | OpenAICompatible | None = None

    @property
    def writer(self) -> JudgeSettings:
        """The models that propose cases: the judge's, but for the language model if one is set."""
        return self.judge if self.generate is None else replace(self.judge, model=self.generate)

    @property
    def ledger_path(self) -> Path | None:
        """The ledger's file, or None where there is none."""
        return None if self.ledger is None else self.root / self.ledger

    def with_options(self, **options: Any) -> Config:
        """Return a copy in which every option that is not None has its way."""
        return replace(self, **{name: v for name, v in options.items() if v is not None})
