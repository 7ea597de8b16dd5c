"""Metrics that are awaited: the judge's models, and many scores at once, traced and priced apart.

What a judge costs is no cost of the pipeline: its calls have the stage ``judge``, and no time of
theirs is in the latency of a run. A judge that fails is the reason why there is no score.
"""

from __future__ import annotations

import asyncio
import functools
import math
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pytest_rag.config import OpenAICompatible
from pytest_rag.costs.prices import JUDGE, price_calls
from pytest_rag.errors import ConfigError, MissingKeyError, message_of
from pytest_rag.extras import need
from pytest_rag.loop import in_thread
from pytest_rag.pipelines.awaiting import is_natively_async
from pytest_rag.pipelines.factory import key_missing, load_object
from pytest_rag.replay import scope
from pytest_rag.trace import Trace, install, trace, untraced
from pytest_rag.types import Score

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_rag.config import Config, JudgeSettings
    from pytest_rag.metrics.awaited import AsyncMetric
    from pytest_rag.replay import Tape
    from pytest_rag.types import Call, Case, Metric, Observation

__all__ = ["Bench", "Judged", "Models", "awaited", "unready"]

T = TypeVar("T")
_EXAMPLE = (
    "add to pyproject.toml: [tool.pytest-rag.judge] "
    'model = {openai_compatible = {base_url = "https://…/v1", model = "…", api_key_env = "…"}}'
)
_LONGEST = 300


def awaited(metrics: Iterable[tuple[Metric, Any]]) -> list[tuple[AsyncMetric, Any]]:
    """Return the metrics that are awaited, each with its argument."""
    return [(m, a) for m, a in metrics if getattr(m, "is_async", False)]  # type: ignore[misc]


def unready(metric: Metric, settings: JudgeSettings) -> str | None:
    """Return the sentence that says what to add where a metric's judge is not configured."""
    if "judge" in getattr(metric, "uses", ()) and settings.model is None:
        return f"{metric.name} needs a judge: {_EXAMPLE}"
    return None


# --- the models -------------------------------------------------------------------------------


class Models:
    """The judge's language model and embeddings, built when they are first used.

    Args:
        settings: ``[tool.pytest-rag.judge]``.
        root: The folder factories are looked for in.

    Attributes:
        loop: The event loop the models are used on, whoever asks.
    """

    def __init__(self, settings: JudgeSettings, root: Path) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._settings = settings
        self._root = root

    def made(self, *, embeds: bool = False) -> Self:
        """Return itself once its language model is there.

        Args:
            embeds: Whether the embeddings must be there too.

        Raises:
            ConfigError: if none is configured, or what is named is none.
            MissingKeyError: if its key is not set.
            MissingExtraError: if the local embeddings are not installed.
        """
        _ = self.llm
        if embeds:
            _ = self.embeddings
        return self

    @property
    def model(self) -> str:
        """The language model's name; empty where none is configured."""
        named = self._settings.model
        if named is None or isinstance(named, OpenAICompatible):
            return "" if named is None else named.model
        return str(self.llm.metadata.model_name)

    def named(self, uses: Collection[str]) -> str:
        """Return the names of the models a metric uses; empty where one cannot be told.

        Args:
            uses: Of ``judge`` and ``embeddings``.
        """
        try:
            names = [self.model] if "judge" in uses else []
            if "embeddings" in uses:
                names.append(self._embeddings_name())
        except Exception:  # noqa: BLE001 - what it is shows when the model is asked
            return ""
        return " + ".join(names)

    def _embeddings_name(self) -> str:
        named = self._settings.embeddings
        return named.model if isinstance(named, OpenAICompatible) else self.embeddings.model_name

    @functools.cached_property
    def llm(self) -> Any:
        """The LlamaIndex language model.

        Raises:
            ConfigError: if none is configured, or what is named is none.
            MissingKeyError: if its key is not set.
        """
        from pytest_rag.metrics import llamaindex

        if self._settings.model is None:
            raise ConfigError(f"There is no judge: {_EXAMPLE}")
        made = self._made(self._settings.model, llamaindex.openai_llm)
        return llamaindex.language_model(made, self._settings.model)

    @functools.cached_property
    def embeddings(self) -> Any:
        """The LlamaIndex embedding model.

        Raises:
            ConfigError: if what is named is none.
            MissingExtraError: if the local ones are not installed.
            MissingKeyError: if its key is not set.
        """
        from pytest_rag.metrics import llamaindex

        if self._settings.embeddings == "local":
            need("wordllama", "demo")
            from pytest_rag.pipelines.embedding import WordLlamaEmbedding

            return WordLlamaEmbedding()
        made = self._made(self._settings.embeddings, llamaindex.openai_embedding)
        return llamaindex.embedding_model(made, self._settings.embeddings)

    @functools.cached_property
    def awaits(self) -> bool:
        """Whether the language model awaits; one that only blocks is asked in a thread."""
        return is_natively_async(self.llm)

    async def ask(self, prompt: str) -> str:
        """Return what the language model answers."""
        return await self._on_loop(partial(self._ask, prompt))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector a text."""
        return await self._on_loop(partial(self._embed, texts))

    def embed_now(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector a text, to a thread of `apart` that cannot await."""
        assert self.loop is not None  # noqa: S101 - set before anything runs apart
        return asyncio.run_coroutine_threadsafe(self._embed(texts), self.loop).result()

    async def apart(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await foreign code in a thread with a loop of its own, where it may block."""
        loops: list[asyncio.AbstractEventLoop] = []

        async def noted() -> T:
            loops.append(asyncio.get_running_loop())
            return await main()

        try:
            return await in_thread(lambda: asyncio.run(noted()))
        except asyncio.CancelledError:
            for loop in loops:
                with suppress(RuntimeError):  # it has just ended
                    loop.call_soon_threadsafe(_cancel_all, loop)
            raise

    async def close(self) -> None:
        """Close the connections of what was built here."""
        from pytest_rag.metrics import llamaindex

        for model in (vars(self).get("llm"), vars(self).get("embeddings")):
            if model is not None:
                await llamaindex.close(model)

    async def _on_loop(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self.loop is None or asyncio.get_running_loop() is self.loop:
            return await ask()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ask(), self.loop))

    async def _ask(self, prompt: str) -> str:
        if self.awaits:
            response = await self.llm.acomplete(prompt)
        else:
            response = await in_thread(partial(self.llm.complete, prompt))
        return str(response.text)

    async def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        found: list[list[float]] = await self.embeddings.aget_text_embedding_batch(list(texts))
        return found

    def _made(self, named: str | OpenAICompatible, build: Callable[..., Any]) -> Any:
        with untraced():
            if isinstance(named, OpenAICompatible):
                return build(named.model, named.base_url, _key(named))
            found = load_object(named, (self._root,))
            called = callable(found) and not hasattr(found, "metadata")
            return found() if called else found


def _key(named: OpenAICompatible) -> str:
    """Return the key out of the environment; a server that wants none gets a word."""
    if named.api_key_env is None:
        return "none"
    key = os.environ.get(named.api_key_env)
    take = scope.current()
    if not key and take is not None and take.tape.source.strict:
        return "none"
    if not key:
        raise MissingKeyError(f"{named.api_key_env} is not set")
    return key


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


# --- the scores -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the awaited metrics of one run found.

    Attributes:
        scores: By metric name.
        calls: Of models, in the stage ``judge``, priced.
        cost_usd: Of these calls; None where the cost of one is unknown.
    """

    scores: dict[str, Score]
    calls: tuple[Call, ...] = ()
    cost_usd: float | None = 0.0

    def seen(self, observation: Observation) -> Observation:
        """Return the observation with the judges' calls behind the pipeline's own."""
        known, mine = observation.judge_cost_usd, self.cost_usd
        return replace(
            observation,
            calls=(*observation.calls, *self.calls),
            judge_cost_usd=None if known is None or mine is None else known + mine,
        )


class Bench:
    """Computes awaited metrics on the event loop that it is asked on.

    Args:
        config: Of the project.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._models: Models | None = None

    async def judge(
        self,
        metrics: Sequence[tuple[AsyncMetric, Any]],
        case: Case,
        seen: Observation,
        *,
        tape: Tape | None = None,
        repeat: int = 0,
    ) -> Judged:
        """Compute metrics of one run at the same time; none of them raises.

        Args:
            metrics: Each with its argument.
            case: That was run.
            seen: What it showed.
            tape: The way of the evalset to its models, which the judges go too.
            repeat: 0 for the first run of the case.
        """
        models = self._models_here()
        taken = partial(self._taken, tape, case.id, repeat)
        scoring = (self._score(metric, arg, case, seen, models, taken) for metric, arg in metrics)
        found = await asyncio.gather(*scoring)
        bill = price_calls([call for _, calls in found for call in calls], self._config.prices)
        return Judged(
            scores={m.name: score for (m, _), (score, _) in zip(metrics, found, strict=True)},
            calls=tuple(replace(call, stage=JUDGE) for call in bill.calls),
            cost_usd=bill.cost_usd,
        )

    async def close(self) -> None:
        """Close the connections of the models; to be awaited on their loop."""
        if self._models is not None and self._models.loop is asyncio.get_running_loop():
            await self._models.close()

    def _models_here(self) -> Models:
        """Return the models of the running loop: their clients are bound to it."""
        loop = asyncio.get_running_loop()
        if self._models is None or self._models.loop is not loop:
            self._models = Models(self._config.judge, self._config.root)
            self._models.loop = loop
        return self._models

    def _taken(
        self, tape: Tape | None, case: str, repeat: int, metric: Metric, seen: Trace
    ) -> AbstractContextManager[None]:
        """Let a judge's calls be recorded, replayed and paced like the pipeline's, and apart."""
        limit = self._config.judge.timeout_s
        return scope.taking(tape, case, repeat, seen, timeout_s=limit, judge=metric.name)

    async def _score(
        self,
        metric: AsyncMetric,
        argument: Any,
        case: Case,
        seen: Observation,
        models: Models,
        taken: Callable[[Metric, Trace], AbstractContextManager[None]],
    ) -> tuple[Score, list[Call]]:
        opened = Trace()
        limit = asyncio.timeout(self._config.judge.timeout_s)
        try:
            reason = unready(metric, self._config.judge)
            if reason is not None:
                return _signed(_none(metric, reason), metric, models), []
            if metric.uses:
                install()
            with trace(expect_spans=False) as opened, taken(metric, opened):
                async with limit:
                    score = _finite(metric, await metric.ascore(case, seen, argument, models))
        except Exception as error:  # noqa: BLE001 - a judge's failure is the score's reason
            score = _none(metric, self._reason(error, expired=limit.expired()))
        return _signed(score, metric, models), opened.calls

    def _reason(self, error: BaseException, *, expired: bool) -> str:
        if expired:
            return f"the judge gave no score within its timeout_s: {self._config.judge.timeout_s:g}"
        missing = key_missing(error)
        if missing is not None:
            return f"the judge has no key: {missing}"
        text = " ".join(message_of(error).split())
        said = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
        return f"the judge failed: {type(error).__name__}: {said}"


def _none(metric: Metric, reason: str) -> Score:
    return Score(value=None, reason=reason, version=metric.version)


def _signed(score: Score, metric: AsyncMetric, models: Models) -> Score:
    """Return a score whose version names the models it comes of: others' are another metric's."""
    names = models.named(metric.uses)
    version = f"{score.version} {names}" if names else score.version
    judge = names if "judge" in metric.uses else None
    return replace(score, version=version, judge=judge)


def _finite(metric: Metric, score: Score) -> Score:
    if score.value is None or math.isfinite(score.value):
        return score
    return replace(score, value=None, reason=f"{metric.name} gave {score.value}")
