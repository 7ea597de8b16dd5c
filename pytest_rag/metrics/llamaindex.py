"""LlamaIndex's evaluators as metrics, and LlamaIndex models for every judge.

The only module of the metrics that knows LlamaIndex; it is imported when a judge is asked.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import ConfigError, JudgeError, message_of
from pytest_rag.extras import require
from pytest_rag.metrics.answer import NO_ANSWER
from pytest_rag.metrics.gold import NOT_TOLD
from pytest_rag.registry import did_you_mean
from pytest_rag.types import Score

if TYPE_CHECKING:
    from pytest_rag.metrics.awaited import Judge
    from pytest_rag.types import Case, Observation

__all__ = [
    "EvaluatorMetric",
    "close",
    "embedding_model",
    "find",
    "language_model",
    "openai_embedding",
    "openai_llm",
]

PREFIX = "llamaindex."
_SHOWN = 120
_CONTEXT = 128_000


# --- models -----------------------------------------------------------------------------------


def openai_llm(model: str, base_url: str, key: str) -> Any:
    """Return a client of an OpenAI-compatible server's chat model, at temperature 0.

    Raises:
        MissingExtraError: if the extra ``openai`` is not installed.
    """
    served = require("llama_index.llms.openai_like", "openai")
    return served.OpenAILike(
        model=model,
        api_base=base_url,
        api_key=key,
        is_chat_model=True,
        context_window=_CONTEXT,
        temperature=0.0,
        max_retries=3,
    )


def openai_embedding(model: str, base_url: str, key: str) -> Any:
    """Return a client of an OpenAI-compatible server's embedding model.

    Raises:
        MissingExtraError: if the extra ``openai`` is not installed.
    """
    served = require("llama_index.embeddings.openai", "openai")
    return served.OpenAIEmbedding(model_name=model, api_base=base_url, api_key=key)


async def close(model: Any) -> None:
    """Close the connections of a model of OpenAI's kind; others keep none that we know of."""
    for name in ("_aclient", "_client"):
        ending = getattr(getattr(model, name, None), "close", None)
        ended = ending() if ending is not None else None
        if inspect.isawaitable(ended):
            await ended


def language_model(made: Any, named: object) -> Any:
    """Return a language model as it is.

    Raises:
        ConfigError: if it is none.
    """
    from llama_index.core.base.llms.base import BaseLLM

    return _of_kind(made, named, BaseLLM, "model")


def embedding_model(made: Any, named: object) -> Any:
    """Return an embedding model as it is.

    Raises:
        ConfigError: if it is none.
    """
    from llama_index.core.base.embeddings.base import BaseEmbedding

    return _of_kind(made, named, BaseEmbedding, "embeddings")


def _of_kind(made: Any, named: object, kind: type, key: str) -> Any:
    if not isinstance(made, kind):
        raise ConfigError(
            f"[tool.pytest-rag.judge] {key}: {named} gives {type(made).__name__}, which is no "
            f"LlamaIndex {kind.__name__}."
        )
    return made


# --- evaluators -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluator:
    """How one of LlamaIndex's evaluators is asked, and how its verdict is read."""

    cls: str
    needs: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset({"judge"})
    contexts: bool = False
    says_yes: bool = False
    low: float = 0.0
    high: float = 1.0
    takes: str | None = None


_ANSWERS = frozenset({"answers"})
_EVALUATORS = {
    "faithfulness": _Evaluator(cls="FaithfulnessEvaluator", contexts=True, says_yes=True),
    "relevancy": _Evaluator(cls="RelevancyEvaluator", contexts=True, says_yes=True),
    "correctness": _Evaluator(cls="CorrectnessEvaluator", needs=_ANSWERS, low=1.0, high=5.0),
    "semantic_similarity": _Evaluator(
        cls="SemanticSimilarityEvaluator", needs=_ANSWERS, uses=frozenset({"embeddings"}), low=-1.0
    ),
    "guideline": _Evaluator(
        cls="GuidelineEvaluator", needs=frozenset({"argument"}), takes="guidelines"
    ),
}


@dataclass(frozen=True, slots=True)
class EvaluatorMetric:
    """One of LlamaIndex's evaluators as a metric.

    Attributes:
        short: The name behind ``llamaindex.``.
    """

    short: str

    @property
    def name(self) -> str:
        """As people write it."""
        return f"{PREFIX}{self.short}"

    @property
    def version(self) -> str:
        """The version of LlamaIndex, whose prompts these are."""
        from importlib.metadata import version

        return f"llama-index-core {version('llama-index-core')}"

    @property
    def needs(self) -> frozenset[str]:
        """What a case must carry."""
        return self._kind.needs

    @property
    def uses(self) -> frozenset[str]:
        """What must be configured."""
        return self._kind.uses

    @property
    def higher_is_better(self) -> bool:
        """True for all of them."""
        return True

    @property
    def is_async(self) -> bool:
        """Every one of them is awaited."""
        return True

    @property
    def _kind(self) -> _Evaluator:
        return _EVALUATORS[self.short]

    def validate_argument(self, argument: Any) -> str | None:
        """Return what is wrong with the guideline of a check, or None."""
        texts = argument if isinstance(argument, list | tuple) else [argument]
        fits = texts and all(isinstance(text, str) and text.strip() for text in texts)
        return None if fits else f"{argument!r} is no guideline; write a sentence, or a list"

    def score(self, case: Case, observation: Observation, argument: Any = None) -> Score:  # noqa: ARG002
        """Return no score: a judge is awaited."""
        return self._none("a judge is awaited, and nothing awaits here")

    async def ascore(
        self, case: Case, observation: Observation, argument: Any, judge: Judge
    ) -> Score:
        """Compute the score of one run.

        Raises:
            JudgeError: if the judge's answer is none.
            Exception: whatever LlamaIndex or the judge's client raises.
        """
        lack = self._lack(case, observation)
        if lack is not None:
            return self._none(lack)
        evaluator = self._evaluator(argument, judge)
        evaluate = partial(
            evaluator.aevaluate,
            query=case.query,
            response=observation.answer,
            contexts=[node.text for node in observation.retrieved or ()],
            reference=next(iter(case.answers), None),
        )
        blocks = "judge" in self.uses and not judge.awaits
        try:
            result = await (judge.apart(evaluate) if blocks else evaluate())
        except ValueError as error:  # what LlamaIndex's parsers raise
            said = _short(" ".join(message_of(error).split()))
            raise JudgeError(f"its answer is not what it was asked for: {said}") from error
        value = self._value(result)
        version = self._version_of(argument)
        return Score(value=value, reason=_feedback(result), version=version)

    def _version_of(self, argument: Any) -> str:
        """Return the version with what else the judge was told: its guideline."""
        if self._kind.takes is None:
            return self.version
        return f"{self.version} {hashlib.sha256(_lines(argument).encode()).hexdigest()[:8]}"

    def _lack(self, case: Case, observation: Observation) -> str | None:
        if observation.answer is None:
            return NO_ANSWER
        if not observation.answer.strip():
            return "the answer is empty"
        if "answers" in self.needs and not case.answers:
            return "the case has no `answer`"
        if self._kind.contexts and observation.retrieved is None:
            return NOT_TOLD
        if self._kind.contexts and not observation.retrieved:
            return "nothing was retrieved"
        return None

    def _evaluator(self, argument: Any, judge: Judge) -> Any:
        from llama_index.core import evaluation

        kind = self._kind
        if "embeddings" in kind.uses:
            return getattr(evaluation, kind.cls)(embed_model=judge.embeddings)
        more: dict[str, Any] = {} if kind.takes is None else {kind.takes: _lines(argument)}
        if kind.high > 1:
            more["parser_function"] = _score_and_reason
        return getattr(evaluation, kind.cls)(llm=judge.llm, **more)

    def _value(self, result: Any) -> float:
        """Return the evaluator's score; LlamaIndex calls an answer that is no verdict a 0."""
        said = str(result.feedback or "")
        kind = self._kind
        if kind.says_yes and not re.search(r"\b(?:yes|no)\b", said, re.IGNORECASE):
            raise JudgeError(f"its answer is neither yes nor no: {_short(said)!r}")
        if result.invalid_result or result.score is None:
            raise JudgeError(f"its answer holds no score: {_short(said)!r}")
        if not kind.low <= result.score <= kind.high:
            raise JudgeError(f"its score {result.score:g} is not in {kind.low:g} … {kind.high:g}")
        return float(result.score)

    def _none(self, reason: str) -> Score:
        return Score(value=None, reason=reason, version=self.version)


def find(name: str) -> EvaluatorMetric:
    """Return the metric of a name that begins with ``llamaindex.``.

    Raises:
        ConfigError: if LlamaIndex has no such evaluator; names the nearest.
    """
    short = name.removeprefix(PREFIX)
    if short not in _EVALUATORS:
        names = [f"{PREFIX}{each}" for each in _EVALUATORS]
        raise ConfigError(f"Unknown metric {name!r}.{did_you_mean(name, names)}")
    return EvaluatorMetric(short)


def _score_and_reason(said: str) -> tuple[float | None, str]:
    """Read a score and what follows; LlamaIndex's own reader breaks on a score alone."""
    found = re.match(r"[\s*#]*(?:score\W*)?(\d+(?:\.\d+)?)(?![\d.])", said, re.IGNORECASE)
    return (None, said) if found is None else (float(found[1]), said[found.end() :].strip(" *\n"))


def _lines(argument: Any) -> str:
    return argument if isinstance(argument, str) else "\n".join(argument)


def _feedback(result: Any) -> str | None:
    said = " ".join(str(result.feedback or "").split())
    return None if len(said) <= len("yes") else _short(said)


def _short(said: str) -> str:
    return said if len(said) <= _SHOWN else f"{said[: _SHOWN - 1]}…"
