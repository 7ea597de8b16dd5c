"""The model that writes cases: paced, cached, priced, kept in the ledger, and under a ceiling."""

from __future__ import annotations

import asyncio
import functools
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from pytest_rag.costs.budget import open_budget
from pytest_rag.costs.ledger import billable, ledger_of
from pytest_rag.costs.prices import price_calls
from pytest_rag.costs.purse import settled
from pytest_rag.costs.running import RunCosts, values_of
from pytest_rag.errors import BudgetError, LedgerError, MissingKeyError, UsageError, message_of
from pytest_rag.evaluation import paying, stage_cache
from pytest_rag.judging import Models
from pytest_rag.loop import LoopThread
from pytest_rag.pipelines.factory import key_missing
from pytest_rag.replay import Deck, scope
from pytest_rag.replay.ceiling import paid_by
from pytest_rag.trace import Trace, trace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from pytest_rag.config import Config
    from pytest_rag.types import Call

__all__ = ["STAGE", "Books", "Said", "Scribe"]

T = TypeVar("T")
STAGE = "generate"
_GRACE_S = 2.0
_SHOWN = 200
_EXAMPLE = (
    "add to pyproject.toml: [tool.pytest-rag.generate] "
    'model = {openai_compatible = {base_url = "https://…/v1", model = "…", api_key_env = "…"}}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said(Generic[T]):
    """What came of asking once: a value, or why there is none.

    Attributes:
        value: As the model gave it; None where something broke.
        failure: What broke, in a clause; None where nothing did.
        refused: Whether it was not asked, for the sake of the ceiling.
    """

    value: T | None = None
    failure: str | None = None
    refused: bool = False


class Books:
    """What authoring costs: summed up, and written to the ledger apart from runs.

    Args:
        config: Of the project.
        name: What the calls are listed under.
    """

    def __init__(self, config: Config, name: str) -> None:
        self.costs = RunCosts()
        self.trouble: str | None = None
        self._ledger = ledger_of(config)
        self._run = uuid.uuid4().hex
        self._name = name
        self._number = 0

    def add(self, calls: Sequence[Call]) -> None:
        """Take in priced calls of one question."""
        paid = [call for call in map(values_of, calls) if billable(call)]
        self.costs.add(paid)
        self._number += 1
        if self._ledger is None or self.trouble is not None or not paid:
            return
        try:
            self._ledger.add_calls(self._run, self._name, self._number, paid, source="authoring")
        except LedgerError as error:
            self.trouble = str(error)

    def close(self) -> None:
        """Let go of the ledger."""
        if self._ledger is not None:
            self._ledger.close()


class Scribe:
    """Asks the model that is configured for generation, or else the judge's.

    Args:
        config: Of the project.
        name: Of the evalset that is written.
        path: Its file.
        limit_usd: The ceiling on all it asks, or None.
        embeds: Whether the embedding model will be asked too.

    Attributes:
        books: What it has cost.

    Raises:
        UsageError: if no model is configured, its key is not set, or its package is missing.
    """

    def __init__(
        self,
        config: Config,
        name: str,
        path: Path,
        limit_usd: float | None,
        *,
        embeds: bool = False,
    ) -> None:
        if config.writer.model is None:
            raise UsageError(f"There is no model that writes: {_EXAMPLE}")
        self.books = Books(config, name)
        self._config = config
        self._budget = None if limit_usd is None else open_budget(limit_usd, config)
        self._deck = Deck(
            "live",
            lambda _path, _case: "",
            lambda: (config.limits, config.retries),
            lambda: stage_cache(config),
            None if self._budget is None else partial(paying, self._budget, config),
        )
        self._loop = LoopThread()
        try:
            self._models = Models(config.writer, config.root).made(embeds=embeds)
            self.model = self._models.model
            self._tape = self._deck.tape(name, path)
        except MissingKeyError as error:
            self.close()
            raise UsageError(f"The model that writes has no key: {error}.") from error
        except BaseException:
            self.close()
            raise

    def ask(self, prompts: Sequence[tuple[str, str]]) -> list[Said[str]]:
        """Ask several prompts at the same time.

        Args:
            prompts: Each with a name of its own.

        Raises:
            KeyboardInterrupt: likewise; what is under way is given up.
        """
        future = self._loop.submit(self._all(prompts))
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def close(self) -> None:
        """Close connections, and let the models be as they were."""
        with suppress(Exception):
            self._loop.submit(self._models.close()).result(timeout=_GRACE_S)
        self._loop.close()
        self._deck.close()
        self.books.close()

    async def told(self, name: str, prompt: str) -> Said[str]:
        """Ask one prompt, to code that runs on a loop of its own.

        Args:
            name: Of the prompt.
            prompt: What is asked.
        """
        return await self._elsewhere(name, partial(self._models.ask, prompt))

    async def embedded(self, name: str, texts: Sequence[str]) -> Said[list[list[float]]]:
        """Ask the embedding model for a vector a text, to code that runs on a loop of its own."""
        return await self._elsewhere(name, partial(self._models.embed, texts))

    async def _elsewhere(self, name: str, ask: Callable[[], Awaitable[T]]) -> Said[T]:
        return await asyncio.wrap_future(self._loop.submit(self._one(name, ask)))

    async def _all(self, prompts: Sequence[tuple[str, str]]) -> list[Said[str]]:
        asked = (self._one(name, partial(self._models.ask, prompt)) for name, prompt in prompts)
        return await asyncio.gather(*asked)

    async def _one(self, name: str, ask: Callable[[], Awaitable[T]]) -> Said[T]:
        self._models.loop = asyncio.get_running_loop()
        opened, purse = Trace(), None
        limit = self._config.writer.timeout_s
        taken = functools.partial(scope.taking, self._tape, name, 0, timeout_s=limit, judge=STAGE)
        try:
            with (
                settled(self._budget, self._config, self._tape.pacer) as purse,
                trace(expect_spans=False) as opened,
                paid_by(purse),
                taken(opened),
            ):
                async with asyncio.timeout(limit):
                    said = await ask()
            if purse is not None:
                purse.raise_refusal()
            return Said(value=said)
        except Exception as error:  # noqa: BLE001 - one failure is one dropped proposal
            refusal = error if isinstance(error, BudgetError) else purse and purse.refused
            if refusal is not None:  # whatever the client made of it
                return Said(failure=str(refusal), refused=True)
            return Said(failure=_reason(error, limit))
        finally:
            priced = price_calls(opened.calls, self._config.prices).calls
            self.books.add([replace(call, stage=STAGE) for call in priced])


def _reason(error: Exception, limit: float) -> str:
    missing = key_missing(error)
    if missing is not None:
        return f"no key: {missing}"
    if isinstance(error, TimeoutError):
        return f"no answer within {limit:g} s"
    said = " ".join(message_of(error).split())
    short = said if len(said) <= _SHOWN else f"{said[: _SHOWN - 1]}…"
    return f"{type(error).__name__}: {short}"
