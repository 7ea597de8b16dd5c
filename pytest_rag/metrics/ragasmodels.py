"""The judge as ragas wants it: its four interfaces to models, made when ragas is there."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import JudgeError

if TYPE_CHECKING:
    from pytest_rag.metrics.awaited import Embeds, Speaks

__all__ = ["embedding_of", "legacy_embedding_of", "legacy_model_of", "model_of"]

_SHOWN = 160
_AGAIN = """

Your last answer could not be read: {problem}
Return only JSON that complies with this schema:
{schema}
"""


def model_of(judge: Speaks) -> Any:
    """Return the judge's language model for ragas' current interface."""
    return _model_class()(judge)


def embedding_of(judge: Embeds) -> Any:
    """Return the judge's embeddings for ragas' current interface."""
    return _embedding_class()(judge)


def legacy_model_of(judge: Speaks) -> Any:
    """Return the judge's language model for ragas' older interface."""
    return _legacy_model_class()(judge)


def legacy_embedding_of(judge: Embeds) -> Any:
    """Return the judge's embeddings for ragas' older interface."""
    return _legacy_embedding_class()(judge)


@functools.cache
def _model_class() -> type:
    from ragas.llms.base import InstructorBaseRagasLLM

    class JudgeModel(InstructorBaseRagasLLM):
        """Asks the judge for JSON; what cannot be read is asked for once more."""

        is_async = True

        def __init__(self, judge: Speaks) -> None:
            self.judge = judge
            self.problem: Exception | None = None

        def generate(self, prompt: str, response_model: Any) -> Any:
            raise NotImplementedError("ragas asks the judge asynchronously")

        async def agenerate(self, prompt: str, response_model: Any) -> Any:
            try:
                return await _structured(self.judge, prompt, response_model)
            except Exception as error:
                self.problem = error
                raise

    return JudgeModel


async def _structured(judge: Speaks, prompt: str, response_model: Any) -> Any:
    said = await judge.ask(prompt)
    try:
        return response_model.model_validate_json(_json_in(said))
    except ValueError as error:
        schema = json.dumps(response_model.model_json_schema())
        problem = " ".join(str(error).split())[:_SHOWN]
        said = await judge.ask(prompt + _AGAIN.format(problem=problem, schema=schema))
    try:
        return response_model.model_validate_json(_json_in(said))
    except ValueError as error:
        raise JudgeError(
            f"its answer is not the JSON it was asked for: {_short(said)!r}"
        ) from error


def _json_in(said: str) -> str:
    """Return what stands between the outermost brackets, without the fence models put around."""
    found = re.search(r"[{\[].*[}\]]", said, re.DOTALL)
    return found.group() if found else said


def _short(said: str) -> str:
    plain = " ".join(said.split())
    return plain if len(plain) <= _SHOWN else f"{plain[: _SHOWN - 1]}…"


@functools.cache
def _embedding_class() -> type:
    from ragas.embeddings.base import BaseRagasEmbedding

    class JudgeEmbedding(BaseRagasEmbedding):
        """Embeds with the judge's model."""

        is_async = True

        def __init__(self, judge: Embeds) -> None:
            super().__init__()
            self.judge = judge

        def embed_text(self, text: str, **_: Any) -> list[float]:
            return self.judge.embed_now([text])[0]

        async def aembed_text(self, text: str, **_: Any) -> list[float]:
            return (await self.judge.embed([text]))[0]

        async def aembed_texts(self, texts: list[str], **_: Any) -> list[list[float]]:
            return await self.judge.embed(texts)

    return JudgeEmbedding


@functools.cache
def _legacy_model_class() -> type:
    from langchain_core.outputs import Generation, LLMResult
    from ragas.llms.base import BaseRagasLLM

    class LegacyJudgeModel(BaseRagasLLM):
        """Asks the judge for text, as often as ragas wants answers."""

        def __init__(self, judge: Speaks) -> None:
            super().__init__()
            self.judge = judge
            self.problem: Exception | None = None

        def generate_text(self, prompt: Any, *_: Any, **__: Any) -> Any:
            raise NotImplementedError("ragas asks the judge asynchronously")

        async def agenerate_text(self, prompt: Any, n: int = 1, *_: Any, **__: Any) -> Any:
            try:
                said = [await self.judge.ask(prompt.to_string()) for _ in range(n)]
            except Exception as error:
                self.problem = error
                raise
            return LLMResult(generations=[[Generation(text=text) for text in said]])

        def is_finished(self, response: Any) -> bool:  # noqa: ARG002
            return True

    return LegacyJudgeModel


@functools.cache
def _legacy_embedding_class() -> type:
    from ragas.embeddings.base import BaseRagasEmbeddings
    from ragas.run_config import RunConfig

    class LegacyJudgeEmbedding(BaseRagasEmbeddings):
        """Embeds with the judge's model."""

        def __init__(self, judge: Embeds) -> None:
            super().__init__()
            self.judge = judge
            self.set_run_config(RunConfig(max_retries=1))

        def embed_query(self, text: str) -> list[float]:
            return self.judge.embed_now([text])[0]

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return self.judge.embed_now(texts)

        async def aembed_query(self, text: str) -> list[float]:
            return (await self.judge.embed([text]))[0]

        async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
            return await self.judge.embed(texts)

    return LegacyJudgeEmbedding
