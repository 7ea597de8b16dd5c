"""Metrics that people write: a decorated function is one.

The function names what it wants as its parameters, and returns a number, a truth value, None, or a
:class:`~pytest_rag.types.Score`. An asynchronous one may ask the judge.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import ConfigError
from pytest_rag.metrics.answer import NO_ANSWER
from pytest_rag.metrics.gold import NOT_TOLD
from pytest_rag.registry import did_you_mean
from pytest_rag.types import Score

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pytest_rag.metrics.awaited import Judge
    from pytest_rag.types import Case, Observation

__all__ = ["FunctionMetric", "metric"]

_OF_CASE = ("reference", "relevant", "argument")
_OF_RUN: Mapping[str, Callable[[Observation], str | None]] = {
    "answer": lambda seen: NO_ANSWER if seen.answer is None else None,
    "retrieved": lambda seen: NOT_TOLD if seen.retrieved is None else None,
}
_NEEDS = (*_OF_RUN, *_OF_CASE)
_CARRIED = {"reference": "answers"}
_GIVES: Mapping[str, Callable[[Case, Observation, Any], Any]] = {
    "case": lambda case, _, __: case,
    "observation": lambda _, seen, __: seen,
    "argument": lambda _, __, argument: argument,
    "query": lambda case, _, __: case.query,
    "answer": lambda _, seen, __: seen.answer,
    "reference": lambda case, _, __: next(iter(case.answers), None),
    "references": lambda case, _, __: case.answers,
    "relevant": lambda case, _, __: case.relevant,
    "retrieved": lambda _, seen, __: seen.retrieved,
}
_PARAMETERS = (*_GIVES, "judge")
_TAKEN = frozenset({"passed", "cost_usd", "tokens", "input_tokens", "output_tokens", "calls"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionMetric:
    """A metric computed by a function.

    Attributes:
        name: As people write it.
        function: What computes it.
        parameters: What the function is given, by name.
        higher_is_better: Whether more is better.
        wants: Of ``answer`` and ``retrieved``: without them there is no score.
        needs: What the case must carry.
        uses: ``judge`` where the function has such a parameter.
        version: Of the definition.
    """

    name: str
    function: Callable[..., Any]
    parameters: tuple[str, ...]
    higher_is_better: bool = True
    wants: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    version: str = "1"

    @property
    def takes_argument(self) -> bool:
        """Whether a check may give the metric something to compare with."""
        return "argument" in self.parameters

    @property
    def is_async(self) -> bool:
        """Whether the function is awaited, on the session's event loop."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def origin(self) -> tuple[str, str]:
        """The file and name of the function: the same one, imported again, may replace it."""
        return self.function.__code__.co_filename, self.function.__qualname__

    def score(self, case: Case, observation: Observation, argument: Any = None) -> Score:
        """Compute the score of one run.

        Raises:
            Exception: whatever the function raises.
        """
        if self.is_async:
            return self._none("it is awaited, and nothing awaits here")
        lack = self._lack(observation)
        if lack is not None:
            return self._none(lack)
        return self._read(self.function(**self._given(case, observation, argument)))

    async def ascore(
        self, case: Case, observation: Observation, argument: Any, judge: Judge
    ) -> Score:
        """Compute the score of one run with an asynchronous function.

        Raises:
            Exception: whatever the function raises.
        """
        lack = self._lack(observation)
        if lack is not None:
            return self._none(lack)
        given = self._given(case, observation, argument)
        if "judge" in self.parameters:
            given["judge"] = judge
        return self._read(await self.function(**given))

    def _given(self, case: Case, observation: Observation, argument: Any) -> dict[str, Any]:
        names = (name for name in self.parameters if name in _GIVES)
        return {name: _GIVES[name](case, observation, argument) for name in names}

    def _lack(self, observation: Observation) -> str | None:
        found = (_OF_RUN[name](observation) for name in sorted(self.wants))
        return next(filter(None, found), None)

    def _read(self, returned: Any) -> Score:
        if isinstance(returned, Score):
            return returned
        if returned is None:
            return self._none("it returned None")
        if hasattr(returned, "item") and not getattr(returned, "shape", None):
            returned = returned.item()  # a NumPy scalar
        if not isinstance(returned, Real):
            return self._none(f"it returned {returned!r}, which is no number")
        value = float(returned)
        return self._score(value) if isfinite(value) else self._none(f"it returned {value}")

    def _score(self, value: float) -> Score:
        return Score(value=value, version=self.version)

    def _none(self, reason: str) -> Score:
        return Score(value=None, reason=reason, version=self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declared:
    name: str
    needs: frozenset[str]

    def check(self, function: Any) -> tuple[str, ...]:
        """Return the function's parameters.

        Raises:
            ConfigError: if name, needs or parameters make no sense.
        """
        if not re.fullmatch(r"[A-Za-z]\w*(?:[.@-]\w+)*", self.name):
            raise ConfigError(
                f"A metric cannot be called {self.name!r}: letters, digits and '_', a letter first."
            )
        if self.name in _TAKEN or self.name.endswith("_ms"):
            raise ConfigError(f"A metric cannot be called {self.name!r}: a budget is.")
        for need in sorted(self.needs - set(_NEEDS)):
            hint = did_you_mean(need, _NEEDS)
            raise ConfigError(f"Metric {self.name!r} needs {need!r}, which no case has.{hint}")
        if not inspect.isfunction(function):
            raise ConfigError(f"@metric({self.name!r}) stands above a function, not {function!r}.")
        return self._parameters(function)

    def _parameters(self, function: Callable[..., Any]) -> tuple[str, ...]:
        found = []
        for name, parameter in inspect.signature(function).parameters.items():
            if name in _PARAMETERS and parameter.kind is not parameter.POSITIONAL_ONLY:
                found.append(name)
            elif parameter.default is parameter.empty:
                hint = did_you_mean(name, _PARAMETERS)
                raise ConfigError(f"Metric {self.name!r} cannot be given {name!r}.{hint}")
        if "judge" in found and not inspect.iscoroutinefunction(function):
            raise ConfigError(f"Metric {self.name!r} asks the judge: write `async def`.")
        return tuple(found)


def metric(
    name: str,
    *,
    higher_is_better: bool = True,
    needs: Collection[str] = (),
    version: str = "1",
) -> Callable[[Callable[..., Any]], FunctionMetric]:
    """Make a function a metric that evalsets, gates and ``[tool.pytest-rag] metrics`` can name.

    ::

        @pytest_rag.metric("brevity", needs={"answer"})
        def brevity(answer):
            return len(answer.split()) <= 20

    Its parameters are any of ``case``, ``observation``, ``argument``, ``query``, ``answer``,
    ``reference``, ``references``, ``relevant``, ``retrieved``, and ``judge`` of an ``async def``.

    Args:
        name: As people write it.
        higher_is_better: False where less is better; a bare number in a check is then a ceiling.
        needs: Of ``answer`` and ``retrieved``, which the pipeline must have given, and
            ``reference``, ``relevant`` and ``argument``, which the case must carry.
        version: Raise it when the definition changes: scores are then not compared.

    Raises:
        ConfigError: if the name is taken, or a need or parameter is unknown; names the nearest.
    """
    declared = _Declared(name=name, needs=frozenset([needs] if isinstance(needs, str) else needs))

    def register(function: Callable[..., Any]) -> FunctionMetric:
        made = FunctionMetric(
            name=name,
            function=function,
            parameters=declared.check(function),
            higher_is_better=higher_is_better,
            wants=declared.needs & _OF_RUN.keys(),
            needs=frozenset(_CARRIED.get(n, n) for n in declared.needs if n in _OF_CASE),
            uses=frozenset({"judge"} & set(declared.check(function))),
            version=version,
        )
        _register(made)
        return made

    return register


def _register(made: FunctionMetric) -> None:
    from pytest_rag.metrics import METRICS, ranking

    known = METRICS.known(made.name)
    again = isinstance(known, FunctionMetric) and known.origin == made.origin
    if ranking.parse(made.name) is not None or made.name.split(".")[0] in ("ragas", "llamaindex"):
        raise ConfigError(f"metric {made.name!r} is there already: give yours another name.")
    METRICS.register(made.name, made, over=known if again else None)
