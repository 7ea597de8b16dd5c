"""What a sweep is to do, checked: the words that all its parts share."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_rag.evalset.paramsfile import merged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_rag.sweep.model import Sampler
    from pytest_rag.sweep.space import Space
    from pytest_rag.types import Aggregate, EvalSet, GateLimit, PipelineSpec

__all__ = ["Objective", "Sweep", "current_values", "factory_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is made better.

    Attributes:
        name: As written: ``nDCG@10``, ``latency_ms.p95``.
        metric: The metric or budget.
        aggregate: How the values of the cases become one.
        sign: 1 where more is better, -1 where less is.
    """

    name: str
    metric: str
    aggregate: Aggregate = "mean"
    sign: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep as its file says.

    Attributes:
        name: The ``sweep`` key, or the file's stem.
        path: The file.
        evalset: With its pipeline and all its cases.
        space: The knobs.
        objectives: The first decides.
        limits: What a candidate must keep.
        sampler: How candidates are chosen.
        trials: How many at most, the current configuration among them.
        seed: Of everything drawn by chance.
        holdout: Part of the cases that the search never sees.
        prune: Chance that a candidate as good as the best is stopped early; None: none is.
        alpha: Chance that the verdict calls better what is not.
        max_cost: US dollars that the whole may cost, or None.
    """

    name: str
    path: Path
    evalset: EvalSet
    space: Space
    objectives: tuple[Objective, ...]
    limits: tuple[GateLimit, ...] = ()
    sampler: Sampler = "tpe"
    trials: int = 60
    seed: int = 0
    holdout: float = 0.4
    prune: float | None = 0.05
    alpha: float = 0.05
    max_cost: float | None = None

    @property
    def primary(self) -> Objective:
        """What decides between candidates."""
        return self.objectives[0]

    @property
    def pipeline(self) -> PipelineSpec:
        """Of the evalset, which has one."""
        assert self.evalset.pipeline is not None  # noqa: S101 - checked by `load`
        return self.evalset.pipeline

    def with_params(self, values: Mapping[str, Any]) -> PipelineSpec:
        """Return the pipeline with these parameters over its own."""
        return replace(self.pipeline, params=merged(self.pipeline.params, values))


def current_values(sweep: Sweep) -> dict[str, Any]:
    """Return what is known of the knobs' values in the current configuration.

    They are those written in the evalset, or else the defaults of the factory.
    """
    defaults = _defaults(sweep)
    found: dict[str, Any] = {}
    for knob in sweep.space.knobs:
        known, value = _at(sweep.pipeline.params, knob.name)
        if not known:
            known, value = knob.name in defaults, defaults.get(knob.name)
        if known:
            found[knob.name] = value
    return sweep.space.used(found)


def _at(params: Mapping[str, Any], name: str) -> tuple[bool, Any]:
    if name in params:
        return True, params[name]
    head, _, rest = name.partition(".")
    inner = params.get(head)
    return _at(inner, rest) if rest and isinstance(inner, dict) else (False, None)


def _defaults(sweep: Sweep) -> dict[str, Any]:
    from dataclasses import MISSING, fields

    from pytest_rag.pipelines.params import LocalParams

    if sweep.pipeline.factory is None:
        told = {f.name: f.default for f in fields(LocalParams)}
        return {name: value for name, value in told.items() if value is not MISSING}
    factory = factory_of(sweep)
    try:
        parameters = inspect.signature(factory).parameters.values() if callable(factory) else ()
    except (TypeError, ValueError):
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def factory_of(sweep: Sweep) -> Any:
    """Return the factory itself; None for the local pipeline, or where it cannot be imported."""
    from pytest_rag.config import find_root
    from pytest_rag.pipelines.factory import load_object

    folder = sweep.evalset.path.parent
    try:
        return load_object(str(sweep.pipeline.factory), (folder, find_root(folder)))
    except Exception:  # noqa: BLE001 - the first candidate tells it with its place
        return None
