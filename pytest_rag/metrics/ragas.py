"""ragas' metrics by name: those of its current interface, and of the older one.

``ragas.faithfulness`` is ``ragas.metrics.collections.Faithfulness``; what only the older interface
has is found there, and ``ragas.legacy.faithfulness`` asks for it by name. Every call of a model
goes through the configured judge.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import os
import re
import warnings
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import ConfigError, message_of
from pytest_rag.extras import require
from pytest_rag.metrics.answer import NO_ANSWER
from pytest_rag.metrics.gold import NOT_TOLD
from pytest_rag.registry import nearest
from pytest_rag.types import Score

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from pytest_rag.metrics.awaited import Judge
    from pytest_rag.types import Case, Observation

__all__ = ["PREFIX", "RagasMetric", "find", "load"]

PREFIX = "ragas."
_LEGACY = "legacy."
_WHERE = "Its names are those of the classes in ragas.metrics.collections, in small letters."
_LESS_IS_BETTER = frozenset({"noise_sensitivity"})
_Found = tuple[float | None, str | None]
"""A finite number or None, and a reason or None."""

_THINGS = {
    "InstanceRubrics": "a rubric",
    "MultiModalFaithfulness": "pictures",
    "MultiModalRelevance": "pictures",
}
_BUILT_WITH = {"llm": "judge", "embeddings": "embeddings"}

# What ragas calls the parts of a run.
_GIVEN: Mapping[str, Callable[[Case, Observation], Any]] = {
    "user_input": lambda case, _: case.query,
    "response": lambda _, seen: seen.answer,
    "reference": lambda case, _: next(iter(case.answers), None),
    "retrieved_contexts": lambda _, seen: [node.text for node in seen.retrieved or ()],
    "retrieved_context_ids": lambda _, seen: [node.id for node in seen.retrieved or ()],
    "reference_context_ids": lambda case, _: [
        name for name, grade in case.relevant.items() if grade
    ],
}
_NEEDS = {"reference": "answers", "reference_context_ids": "relevant"}


@functools.cache
def load() -> ModuleType:
    """Import ragas with its telemetry switched off, and return it.

    Raises:
        MissingExtraError: if it is not installed.
    """
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what ragas itself imports
        module = require("ragas", "ragas")
        analytics: Any = importlib.import_module("ragas._analytics")
    # It keeps an id in the user's home, telemetry off or not. Below a file there is no folder.
    analytics.user_data_dir = lambda **_: str(module.__file__)
    return module


# --- what there is ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One of ragas' classes: how it is made and what it is asked with."""

    cls: type
    modern: bool
    asks: frozenset[str]
    uses: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RagasMetric:
    """One of ragas' metrics.

    Attributes:
        name: As people write it, with ``ragas.`` in front.
        kind: The class behind it.
        needs: What the case must carry.
        uses: Of ``judge`` and ``embeddings``: what must be configured.
        higher_is_better: False for those where less is better.
        is_async: True: foreign code runs beside the session's loop.
    """

    name: str
    kind: _Kind
    needs: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    higher_is_better: bool = True
    is_async: bool = True

    @property
    def version(self) -> str:
        """The version of ragas, whose prompts these are."""
        return f"ragas {installed_version('ragas')}"

    def score(self, case: Case, observation: Observation, argument: Any = None) -> Score:  # noqa: ARG002
        """Return no score: ragas is awaited."""
        return self._none("ragas is awaited, and nothing awaits here")

    async def ascore(
        self,
        case: Case,
        observation: Observation,
        argument: Any,  # noqa: ARG002
        judge: Judge,
    ) -> Score:
        """Compute the score of one run in a thread of its own: ragas may block.

        Raises:
            JudgeError: if the judge's answer is not what ragas asked for.
            Exception: whatever ragas or the judge's client raises.
        """
        lack = self._lack(case, observation)
        if lack is not None:
            return self._none(lack)
        value, reason = await judge.apart(partial(self._best, case, observation, judge))
        if value is not None:
            return Score(value=value, reason=reason, version=self.version)
        return self._none(
            f"ragas gave no number: {reason or 'it found nothing to judge, or no verdict'}"
        )

    async def _best(self, case: Case, observation: Observation, judge: Judge) -> _Found:
        """Return the score against the first reference answer; against all where that is free."""
        given = {name: _GIVEN[name](case, observation) for name in self.kind.asks}
        ask = _modern if self.kind.modern else _legacy
        if self.uses or "reference" not in given:
            return await ask(self.kind, given, judge)
        each = [await ask(self.kind, {**given, "reference": r}, judge) for r in case.answers]
        return max(each, key=lambda found: -math.inf if found[0] is None else found[0])

    def _lack(self, case: Case, observation: Observation) -> str | None:
        asks = self.kind.asks
        if "response" in asks and observation.answer is None:
            return NO_ANSWER
        if "response" in asks and not str(observation.answer).strip():
            return "the answer is empty"
        if "reference" in asks and not case.answers:
            return "the case has no `answer`"
        if asks & {"retrieved_contexts", "retrieved_context_ids"}:
            if observation.retrieved is None:
                return NOT_TOLD
            return None if observation.retrieved else "nothing was retrieved"
        return None

    def _none(self, reason: str) -> Score:
        return Score(value=None, reason=reason, version=self.version)


def find(name: str) -> RagasMetric:
    """Return the metric of a name that begins with ``ragas.``.

    Raises:
        MissingExtraError: if ragas is not installed; says what to type.
        ConfigError: if ragas has none of that name, or one that a case cannot be given.
    """
    short = name.removeprefix(PREFIX)
    known = _known()
    cls = known.get(short)
    if cls is None:
        near = nearest(name, (f"{PREFIX}{each}" for each in known))
        hint = f" Did you mean {near!r}?" if near is not None else f" {_WHERE}"
        raise ConfigError(f"Unknown metric {name!r} of ragas {installed_version('ragas')}.{hint}")
    kind = _kind(name, cls)
    return RagasMetric(
        name=name,
        kind=kind,
        needs=frozenset(_NEEDS[each] for each in kind.asks if each in _NEEDS),
        uses=kind.uses,
        higher_is_better=short.removeprefix(_LEGACY) not in _LESS_IS_BETTER,
    )


@functools.cache
def _known() -> dict[str, type]:
    """Return ragas' classes by every name they go by; the current ones before the older."""
    load()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each older name warns that it is old
        from ragas import metrics
        from ragas.metrics import collections

        modern = [getattr(collections, name) for name in collections.__all__]
        older = [getattr(metrics, name) for name in getattr(metrics, "_DEPRECATED_METRICS", ())]
    found = {n: cls for cls in modern if _is_modern(cls) for n in _names_of(cls)}
    for each in older:
        cls = each if isinstance(each, type) else type(each)
        if hasattr(cls, "single_turn_ascore"):
            for name in _names_of(cls):
                found.setdefault(name, cls)
                found.setdefault(f"{_LEGACY}{name}", cls)
    return found


def _is_modern(cls: object) -> bool:
    from ragas.metrics.collections import BaseMetric

    return isinstance(cls, type) and issubclass(cls, BaseMetric) and cls is not BaseMetric


def _names_of(cls: type) -> set[str]:
    """Return the name a metric calls itself, and its class's in small letters."""
    default = inspect.signature(cls).parameters.get("name")
    own = default.default if default is not None else ""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__)
    return {words.lower(), *([own] if isinstance(own, str) and own else ())}


def _kind(name: str, cls: type) -> _Kind:
    modern = _is_modern(cls)
    built = inspect.signature(cls).parameters
    asks = _asks_modern(cls) if modern else _asks_legacy(cls)
    wanted = sorted(asks - _GIVEN.keys())
    missing = [
        each.name
        for each in built.values()
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
        if each.name not in _BUILT_WITH
    ]
    if cls.__name__ in _THINGS or wanted or missing:
        what = ", ".join(map(repr, (*wanted, *missing))) or _THINGS[cls.__name__]
        raise ConfigError(
            f"{name} asks for {what}, which a case does not have. Write a rubric instead."
        )
    uses = frozenset(_BUILT_WITH[each] for each in built if each in _BUILT_WITH)
    return _Kind(cls=cls, modern=modern, asks=asks, uses=uses)


def _asks_modern(cls: Any) -> frozenset[str]:
    found = set()
    for name, each in inspect.signature(cls.ascore).parameters.items():
        if "Message" in str(each.annotation):
            found.add("a conversation")
        elif name != "self" and (each.default is each.empty or name in ("user_input", "response")):
            found.add(name)
    return frozenset(found | ({"reference"} if cls.__name__.endswith("WithReference") else set()))


def _asks_legacy(cls: Any) -> frozenset[str]:
    fields = getattr(cls, "__dataclass_fields__", {})
    declared = fields.get("_required_columns")
    made: Mapping[Any, set[str]] = declared.default_factory() if declared is not None else {}
    columns = next((names for kind, names in made.items() if kind.name == "SINGLE_TURN"), set())
    return frozenset(n for n in columns if ":" not in n) or frozenset({"user_input", "response"})


# --- how it is asked --------------------------------------------------------------------------


async def _modern(kind: _Kind, given: Mapping[str, Any], judge: Judge) -> _Found:
    from pytest_rag.metrics.ragasmodels import embedding_of, model_of

    metric = _made(kind, {"llm": model_of, "embeddings": embedding_of}, judge)
    result = await metric.ascore(**given)
    return _read(metric, result.value, result.reason)


async def _legacy(kind: _Kind, given: Mapping[str, Any], judge: Judge) -> _Found:
    from ragas.dataset_schema import SingleTurnSample
    from ragas.run_config import RunConfig

    from pytest_rag.metrics.ragasmodels import legacy_embedding_of, legacy_model_of

    metric = _made(kind, {"llm": legacy_model_of, "embeddings": legacy_embedding_of}, judge)
    metric.init(RunConfig(max_retries=1))
    sample = SingleTurnSample(**given)
    # Its public method counts the call for ragas' makers, telemetry off or not.
    value = await metric._single_turn_ascore(sample, callbacks=[])  # noqa: SLF001
    return _read(metric, value, None)


def _made(kind: _Kind, parts: Mapping[str, Callable[[Judge], Any]], judge: Judge) -> Any:
    built = inspect.signature(kind.cls).parameters
    return kind.cls(**{name: make(judge) for name, make in parts.items() if name in built})


def _read(metric: Any, value: Any, reason: Any) -> _Found:
    """Return ragas' number; what failed where it says NaN, for it swallows some exceptions."""
    number = math.nan if value is None else float(value)
    if math.isfinite(number):
        return number, " ".join(reason.split()) if isinstance(reason, str) and reason else None
    problem = getattr(getattr(metric, "llm", None), "problem", None)
    return None, None if problem is None else f"{type(problem).__name__}: {message_of(problem)}"
