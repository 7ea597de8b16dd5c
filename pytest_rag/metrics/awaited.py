"""Metrics that are awaited while a run goes on, and the judge that they may ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pytest_rag.types import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pytest_rag.types import Case, Observation, Score

__all__ = ["AsyncMetric", "Embeds", "Judge", "Speaks"]


class Speaks(Protocol):
    """A language model."""

    async def ask(self, prompt: str) -> str:
        """Return what it answers."""
        ...


class Embeds(Protocol):
    """An embedding model."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector a text."""
        ...

    def embed_now(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector a text, to code apart that cannot await."""
        ...


class Judge(Speaks, Embeds, Protocol):
    """The models that judge answers, as ``[tool.pytest-rag.judge]`` names them.

    Attributes:
        model: The language model's name.
    """

    @property
    def model(self) -> str:
        """The language model's name."""
        ...

    @property
    def llm(self) -> Any:
        """The LlamaIndex language model."""
        ...

    @property
    def embeddings(self) -> Any:
        """The LlamaIndex embedding model."""
        ...

    @property
    def awaits(self) -> bool:
        """Whether the language model awaits, or blocks."""
        ...

    async def apart(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Await foreign code that may block, in a thread with a loop of its own."""
        ...


class AsyncMetric(Metric, Protocol):
    """A metric that is awaited while the run goes on, as one that asks a model is.

    Attributes:
        uses: Of ``judge`` and ``embeddings``: what must be configured.
        is_async: False where it turns out to be computed at once.
    """

    @property
    def uses(self) -> frozenset[str]:
        """What must be configured."""
        ...

    @property
    def is_async(self) -> bool:
        """Whether `ascore` is the one to call."""
        ...

    async def ascore(
        self, case: Case, observation: Observation, argument: Any, judge: Judge
    ) -> Score:
        """Compute the score; what it raises becomes the reason why there is none."""
        ...
