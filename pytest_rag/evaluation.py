"""An evalset and a pipeline → the jobs to run; shared by the plugin and the command line."""

from __future__ import annotations

import inspect
import math
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_rag import metrics
from pytest_rag.checks import BUDGETS
from pytest_rag.errors import MissingKeyError, PipelineError
from pytest_rag.gate import facts_of
from pytest_rag.judge import Job
from pytest_rag.pipelines.adapters import Pipeline, adapt
from pytest_rag.pipelines.factory import build, key_missing

if TYPE_CHECKING:
    from pytest_rag.config import Config
    from pytest_rag.loop import LoopThread
    from pytest_rag.pipelines.stages import StageCache
    from pytest_rag.replay import Deck
    from pytest_rag.types import Case, EvalSet, Metric, PipelineSpec

__all__ = [
    "build_pipeline",
    "facts",
    "jobs_of",
    "no_pipeline",
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


def jobs_of(evalset: EvalSet, case: Case, config: Config) -> list[Job]:
    """Return one job a repeat of a case, with every metric that the case can be given.

    Those are the metrics of its own checks, of the evalset's gate, and the configured ones.
    """
    chosen: dict[str, tuple[Metric, Any]] = {}
    for limit in case.checks:
        if limit.metric not in BUDGETS:
            chosen[limit.metric] = (metrics.get(limit.metric), limit.argument)
    gated = (limit.metric for limit in evalset.gate)
    for name in (*gated, *config.metrics):
        if name in chosen or name in BUDGETS or name == "passed":
            continue
        metric = metrics.get(name)
        if metrics.lacking(metric, case, None) is None:
            chosen[name] = (metric, None)
    plan = tuple(chosen.values())
    return [
        Job(evalset=evalset.name, case=case, metrics=plan, repeat=number)
        for number in range(case.repeat)
    ]


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
    tape = None if deck is None else deck.tape(evalset.name, evalset.path)
    with nullcontext() if tape is None else tape.building():
        target = build(spec, base=evalset.path.parent, root=config.root)
        if inspect.isawaitable(target):
            target = loop.submit(_await(target)).result()
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
        "mode": config.mode,
        "concurrency": min(config.concurrency, limit or config.concurrency),
        "pipeline": None if pipeline is None else pipeline.name,
        "deterministic": _is_deterministic(pipeline, config),
        "fingerprint": _fingerprint(evalset, pipeline),
        "gate": facts_of(evalset.gate, evalset.alpha),
    }


def _is_deterministic(pipeline: Pipeline | None, config: Config) -> bool | None:
    """Tell whether the same question always gets the same answer, as from a cassette it does."""
    if config.mode == "replay":
        return True
    return None if pipeline is None else pipeline.deterministic


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
