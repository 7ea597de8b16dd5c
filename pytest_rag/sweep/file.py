"""``*.sweep.yaml`` → `Sweep`: strict, every problem with its line and the nearest right word."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_rag import evalset as evalsets
from pytest_rag.errors import ConfigError, EvalSetError
from pytest_rag.evalset.limits import named, read_gate
from pytest_rag.evalset.model import validated
from pytest_rag.evalset.problems import Problems, Source, show
from pytest_rag.evalset.yamlpos import as_text, compose, decode, plain
from pytest_rag.registry import did_you_mean
from pytest_rag.sweep.model import BELOW, KnobModel, SweepModel
from pytest_rag.sweep.plan import Objective, Sweep, factory_of
from pytest_rag.sweep.space import Knob, Space

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_rag.types import EvalSet

__all__ = ["load"]

_SUFFIXES = (".sweep.yaml", ".sweep.yml", ".yaml", ".yml")
_FIRST = "Write 'evalset', 'params' and 'objectives'."


def load(path: Path) -> Sweep:
    """Load a sweep and the evalset that it names.

    Raises:
        EvalSetError: with every problem of the files.
    """
    problems = Problems(path)
    data = evalsets.contents(path, problems)
    text = None if data is None else decode(data, problems)
    root = None if text is None else compose(text, problems, empty=_FIRST)
    if root is not None and not isinstance(root.value, dict):
        problems.at(root, f"A sweep is a mapping. {_FIRST}")
        root = None
    if root is None:
        problems.throw()
    source = Source(problems, root)
    entries: Any = root.value
    raw = {key: _value(key, node, problems) for key, (_, node) in entries.items()}
    model: SweepModel | None = validated(SweepModel, raw, source, BELOW)
    sweep = None if model is None else _sweep(model, source)
    if sweep is None or problems.found:
        problems.throw()
    return sweep


def _value(key: str, node: Any, problems: Problems) -> Any:
    return (as_text if key in {"sweep", "evalset"} else plain)(node, problems)


def _sweep(model: SweepModel, source: Source) -> Sweep | None:
    path = source.problems.path
    evalset = _evalset(path.parent / model.evalset, source)
    space = _space(model, source)
    if evalset is None:
        return None
    limits, _ = read_gate(model.limits, source, evalset.rubrics, under="limits")
    name = path.name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    sweep = Sweep(
        name=model.sweep or name,
        path=path,
        evalset=evalset,
        space=space,
        objectives=_objectives(model, evalset, source),
        limits=limits,
        sampler=model.sampler,
        trials=model.trials,
        seed=model.seed,
        holdout=model.holdout,
        prune=None if model.prune is False else model.prune,
        alpha=model.alpha,
        max_cost=model.max_cost,
    )
    _check(sweep, source)
    return sweep


def _evalset(path: Path, source: Source) -> EvalSet | None:
    if not path.exists():
        source.report(f"There is no file {path}.", ("evalset",))
        return None
    try:
        found = replace(evalsets.load(path), path=path.resolve())
    except EvalSetError as error:
        source.problems.found.extend(error.problems)
        return None
    if found.pipeline is None:
        hint = "Add `pipeline: package.module:factory` to it."
        source.report(
            f"{path} names no pipeline, whose parameters a sweep is of. {hint}", ("evalset",)
        )
        return None
    return found


def _objectives(model: SweepModel, evalset: EvalSet, source: Source) -> tuple[Objective, ...]:
    listed = [model.objectives] if isinstance(model.objectives, str) else model.objectives
    found: list[Objective] = []
    for number, name in enumerate(listed):
        loc = ("objectives",) if isinstance(model.objectives, str) else ("objectives", number)
        try:
            meant = named(name, evalset.rubrics)
        except ConfigError as error:
            source.report(str(error), loc)
            continue
        sign = -1 if meant.less_is_better else 1
        made = Objective(name=name, metric=meant.metric, aggregate=meant.aggregate, sign=sign)
        if any((o.metric, o.aggregate) == (made.metric, made.aggregate) for o in found):
            source.report(f"Objective {show(name)} is named twice. Remove one.", loc)
        found.append(made)
    return tuple(found)


# --- knobs --------------------------------------------------------------------------------------


def _space(model: SweepModel, source: Source) -> Space:
    if not model.params:
        source.report("'params' names no parameter. Write at least one.", ("params",))
    knobs: list[Knob] = []
    for name, values in model.params.items():
        knob = _knob(name, values)
        _check_when(knob, knobs, [*model.params], source)
        knobs.append(knob)
    return Space(tuple(knobs))


def _knob(name: str, values: list[Any] | KnobModel) -> Knob:
    if isinstance(values, list):
        return Knob(name=name, choices=tuple(values))
    when = {key: tuple(v) if isinstance(v, list) else (v,) for key, v in values.when.items()}
    if values.choices is not None:
        return Knob(name=name, choices=tuple(values.choices), when=when)
    step = values.step
    whole = all(isinstance(n, int) for n in (values.min, values.max, 1 if step is None else step))
    low, high = (values.min, values.max) if whole else (float(values.min), float(values.max))
    step = 1 if step is None and whole and not values.log else step
    return Knob(name=name, low=low, high=high, step=step, log=values.log, when=when)


def _check_when(knob: Knob, before: list[Knob], names: list[str], source: Source) -> None:
    known = {each.name: each for each in before}
    for name, allowed in knob.when.items():
        loc = ("params", knob.name, "when", name)
        if name not in names:
            hint = did_you_mean(name, [each for each in names if each != knob.name])
            source.report(
                f"'when' names {show(name)}, which is no key of 'params'.{hint}", loc, key=True
            )
        elif name not in known:
            source.report(
                f"Move {show(name)} above {show(knob.name)}, which depends on it.", loc, key=True
            )
        else:
            for value in allowed:
                if not known[name].holds(value):
                    source.report(f"{show(name)} never is {show(value)}.", loc)


def _check(sweep: Sweep, source: Source) -> None:
    """Report what the pipeline does not take, and a grid without end."""
    for knob in sweep.space.knobs:
        wrong = _wrong(sweep, knob)
        if wrong is not None:
            source.report(wrong, ("params", knob.name), key=True)
        if sweep.sampler == "grid" and knob.values() is None:
            message = f"A grid needs a 'step' for {show(knob.name)}, or choices."
            source.report(message, ("params", knob.name), key=True)
    if sweep.sampler == "nsga2" and len(sweep.objectives) == 1:
        message = (
            "'nsga2' is for several objectives. Write sampler: tpe, or name another objective."
        )
        source.report(message, ("sampler",))


def _wrong(sweep: Sweep, knob: Knob) -> str | None:
    """Return why the pipeline has no such parameter, or takes no such value; None where it does."""
    if sweep.pipeline.factory is not None:
        return _unknown(sweep, knob.name)
    from pytest_rag.pipelines.params import LocalParams

    head, _, rest = knob.name.partition(".")
    ends = (knob.low, knob.high) if knob.choices is None else knob.choices
    try:
        LocalParams.knows(head, *(() if rest else ends))
    except ConfigError as error:
        return str(error)
    return None


def _unknown(sweep: Sweep, name: str) -> str | None:
    factory = factory_of(sweep)
    try:
        found = inspect.signature(factory).parameters if callable(factory) else None
    except (TypeError, ValueError):
        return None
    if found is None or any(p.kind is p.VAR_KEYWORD for p in found.values()):
        return None
    taken: Mapping[str, Any] = found
    if name in taken or name.partition(".")[0] in taken:
        return None
    return f"{sweep.pipeline.factory} takes no parameter {show(name)}.{did_you_mean(name, taken)}"
