"""An evalset and a pipeline → the jobs to run; shared by the plugin and the command line."""

from __future__ import annotations

import inspect
import math
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_rag import metrics
from pytest_rag.checks import BUDGETS
from pytest_rag.costs.prices import price_calls
from pytest_rag.costs.purse import settled
from pytest_rag.costs.running import values_of
from pytest_rag.errors import ConfigError, MissingKeyError, PipelineError
from pytest_rag.gate import facts_of
from pytest_rag.judge import Job
from pytest_rag.judging import unready
from pytest_rag.pipelines.adapters import Pipeline, adapt
from pytest_rag.pipelines.factory import build, key_missing
from pytest_rag.pipelines.lending import lent
from pytest_rag.replay.ceiling import paid_by
from pytest_rag.trace import overheard, untraced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_rag.config import Config
    from pytest_rag.costs.budget import Budget
    from pytest_rag.loop import LoopThread
    from pytest_rag.pipelines.stages import StageCache
    from pytest_rag.replay import Deck
    from pytest_rag.replay.pacing import Pacer
    from pytest_rag.replay.scope import Tape
    from pytest_rag.types import Case, EvalSet, Metric, Mode, PipelineSpec

__all__ = [
    "build_pipeline",
    "building",
    "facts",
    "jobs_of",
    "mode_of",
    "need_judge",
    "no_pipeline",
    "paying",
    "stage_cache",
    "with_repeat",
]


def stage_cache(config: Config) -> StageCache | None:
    """Return what answers calls of models out of earlier runs; None where that is off.

    Raises:
        UsageError: if the cache cannot be used.
    """
    if config.cache == "off":
        return None
    from pytest_rag.cache import open_cache
    from pytest_rag.pipelines.stages import StageCache

    cache = open_cache(config.cache, config.root)
    cache.check()
    return StageCache(cache)


@contextmanager
def paying(budget: Budget, config: Config, pacer: Callable[[], Pacer]) -> Iterator[None]:
    """Let calls made while a pipeline is built count under the run's ceiling.

    Raises:
        BudgetError: if one was refused, whatever was made of that.
    """
    with settled(budget, config, pacer) as purse, paid_by(purse):
        try:
            yield
        except Exception:
            if purse is not None:
                purse.raise_refusal()
            raise
        if purse is not None:
            purse.raise_refusal()


@contextmanager
def building(tape: Tape, deck: Deck, config: Config, loop: LoopThread) -> Iterator[None]:
    """Let a pipeline be built inside; what it asks of models goes its evalset's way.

    What these calls cost is noted on the deck; those that are free are not. What LlamaIndex makes
    asynchronous of them runs on the session's loop.
    """
    with overheard() as seen:
        try:
            with tape.building(seen), lent(loop):
                yield
        finally:
            seen.give_up()
            calls = price_calls(seen.calls, config.prices).calls
            deck.note_bill(tape.name, [values_of(c) for c in calls if c.cost_usd != 0])


def jobs_of(evalset: EvalSet, case: Case, config: Config) -> list[Job]:
    """Return one job a repeat of a case, with every metric that the case can be given.

    Those are the metrics of its own checks, of the evalset's gate, and the configured ones.
    """
    chosen: dict[str, tuple[Metric, Any]] = {}
    for limit in case.checks:
        if limit.metric not in BUDGETS:
            chosen[limit.metric] = metrics.of_limit(limit)
    for name in (*_gated(evalset), *config.metrics):
        if name in chosen or name in evalset.rubrics:
            continue
        metric = metrics.get(name)
        if metrics.lacking(metric, case, None) is None:
            chosen[name] = (metric, None)
    plan = tuple(chosen.values())
    return [
        Job(evalset=evalset.name, case=case, metrics=plan, repeat=number, trust=evalset.trust)
        for number in range(case.repeat)
    ]


def _gated(evalset: EvalSet) -> list[str]:
    """Return the metrics that the gate names."""
    names = (limit.metric for limit in evalset.gate)
    return [name for name in names if name not in BUDGETS and name != "passed"]


def need_judge(evalset: EvalSet, config: Config) -> None:
    """Make sure that a judge is configured where a check, the gate or the project wants one.

    Raises:
        ConfigError: if there is none; says which lines to add.
    """
    limits = {limit.metric: limit for case in evalset.cases for limit in case.checks}
    written = [limit for name, limit in limits.items() if name not in BUDGETS]
    named = {*_gated(evalset), *config.metrics} - limits.keys()
    wanted = [*map(metrics.of_limit, written), *((metrics.get(name), None) for name in named)]
    reasons = (unready(metric, config.judge) for metric, _ in wanted)
    reason = next(filter(None, reasons), None)
    if reason is not None:
        raise ConfigError(f"{evalset.path}: {reason}")


def with_repeat(case: Case, repeat: int | None) -> Case:
    """Return the case run ``repeat`` times, the share that must pass kept; None changes nothing."""
    if repeat is None or repeat == case.repeat:
        return case
    share = case.min_pass / case.repeat
    return replace(case, repeat=repeat, min_pass=max(1, math.ceil(share * repeat - 1e-9)))


def build_pipeline(
    spec: PipelineSpec, evalset: EvalSet, config: Config, loop: LoopThread, deck: Deck | None = None
) -> Pipeline:
    """Build and adapt the pipeline an evalset names; an async factory runs on the session's loop.

    Args:
        spec: Of the pipeline.
        evalset: That names it.
        config: Of the project.
        loop: Of the session.
        deck: What stands between pipelines and their models, or None.

    Raises:
        MissingKeyError: if it needs a key that is not set.
        PipelineError: if it is not there or is no pipeline.
        Exception: whatever the factory raises.
    """
    tape = None if deck is None else deck.tape(evalset.name, evalset.path, evalset.mode)
    with untraced() if deck is None or tape is None else building(tape, deck, config, loop):
        target = build(spec, base=evalset.path.parent, root=config.root)
        if inspect.isawaitable(target):
            target = loop.submit(_await(target)).result()
    if deck is not None:
        deck.meet()
    try:
        return replace(adapt(target, config.document_key), tape=tape)
    except PipelineError as error:
        raise PipelineError(f"{spec.factory or 'local'}: {error}") from None


async def _await(target: Any) -> Any:
    try:
        return await target
    except Exception as error:
        reason = key_missing(error)
        if reason is not None:
            raise MissingKeyError(reason) from error
        raise


def no_pipeline() -> PipelineError:
    """Return the error of an evalset whose pipeline nobody names."""
    return PipelineError(
        "There is no pipeline. Add `pipeline: package.module:factory` to the evalset, or define a "
        "session-scoped fixture `rag_pipeline` in conftest.py that returns it."
    )


def facts(evalset: EvalSet, pipeline: Pipeline | None, config: Config) -> dict[str, Any]:
    """Return what a run record's header says of an evalset; its path is from the project's root.

    Args:
        evalset: As its file says, with all cases.
        pipeline: None where it could not be built.
        config: For the concurrency.
    """
    limit = None if pipeline is None else pipeline.concurrency
    path = evalset.path
    if path.is_relative_to(config.root):
        path = path.relative_to(config.root)
    return {
        "path": path.as_posix(),
        "cases": len(evalset.cases),
        "mode": mode_of(evalset, config),
        "concurrency": min(config.concurrency, limit or config.concurrency),
        "pipeline": None if pipeline is None else pipeline.name,
        "deterministic": _is_deterministic(evalset, pipeline, config),
        "fingerprint": _fingerprint(evalset, pipeline),
        "gate": facts_of(evalset.gate, evalset.alpha),
    }


def mode_of(evalset: EvalSet, config: Config) -> Mode:
    """Return how an evalset's models are asked: the command line has the first word."""
    return config.mode or evalset.mode


def _is_deterministic(evalset: EvalSet, pipeline: Pipeline | None, config: Config) -> bool | None:
    """Tell whether the same question always gets the same scores, as from a cassette it does."""
    if pipeline is None:
        return None
    if mode_of(evalset, config) == "replay":
        return True
    return pipeline.deterministic and not _judged_gate(evalset)


def _judged_gate(evalset: EvalSet) -> bool:
    """Tell whether the gate rests on a judge, whose opinion may change where nothing else does."""
    return any(
        name in evalset.rubrics or "judge" in getattr(metrics.get(name), "uses", ())
        for name in _gated(evalset)
    )


def _fingerprint(evalset: EvalSet, pipeline: Pipeline | None) -> dict[str, str | None]:
    """Return hashes of what a score depends on: cases, qrels, pipeline parameters, corpus."""
    return {
        "cases": _digest([(c.id, c.query, c.answers, c.answerable) for c in evalset.cases]),
        "qrels": _digest([(c.id, sorted(c.relevant.items())) for c in evalset.cases]),
        "pipeline": _digest(
            None
            if evalset.pipeline is None
            else (evalset.pipeline.factory, sorted(evalset.pipeline.params.items()))
        ),
        "corpus": None if pipeline is None else _corpus(pipeline),
    }


def _corpus(pipeline: Pipeline) -> str | None:
    told = pipeline.corpus or pipeline.fingerprint
    if told is not None:
        return told
    return None if pipeline.documents is None else _digest(sorted(pipeline.documents))


def _digest(value: object) -> str:
    import hashlib

    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
