"""One question to an evalset's pipeline, outside of any run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_rag.authoring.scribe import Books
from pytest_rag.errors import UsageError, explained
from pytest_rag.evaluation import build_pipeline, no_pipeline, stage_cache
from pytest_rag.loop import LoopThread
from pytest_rag.observe import Attempt, ask, read
from pytest_rag.pipelines.factory import key_missing
from pytest_rag.replay import Deck

if TYPE_CHECKING:
    from pytest_rag.config import Config
    from pytest_rag.types import EvalSet, Observation, Retrieved

__all__ = ["Seen", "ask_once", "distinct"]

_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a pipeline made of a question.

    Attributes:
        observation: Answer, nodes, time and cost.
        documents: Ids of every document of its index; None where it cannot tell.
    """

    observation: Observation
    documents: frozenset[str] | None


def ask_once(evalset: EvalSet, query: str, config: Config) -> Seen:
    """Ask an evalset's pipeline one question, live or out of the configured cache.

    Args:
        evalset: That names a pipeline.
        query: The question.
        config: Of the project.

    Raises:
        UsageError: if the pipeline cannot be built, or breaks.
    """
    if evalset.pipeline is None:
        raise UsageError(f"{evalset.path}: {no_pipeline()}")
    limits = (config.limits, config.retries)
    deck = Deck("live", lambda _path, _case: "", lambda: limits, lambda: stage_cache(config))
    loop, books = LoopThread(), Books(config, evalset.name)
    try:
        pipeline = build_pipeline(evalset.pipeline, evalset, config, loop, deck)
        asked = ask(pipeline, query, evalset.filters, Attempt(case="capture", timeout_s=_TIMEOUT_S))
        seen = read(loop.submit(asked).result(timeout=_TIMEOUT_S), config)
        books.add(seen.calls)
    except TimeoutError as error:
        raise UsageError(f"The pipeline gave no answer within {_TIMEOUT_S:g} s.") from error
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        missing = key_missing(error)
        said = f"has no key: {missing}" if missing else f"broke: {explained(error)}"
        raise UsageError(f"The pipeline {said}.") from error
    finally:
        loop.close()
        deck.close()
        books.close()
    return Seen(observation=seen, documents=pipeline.documents)


def distinct(seen: Observation) -> list[Retrieved]:
    """Return the best node of every retrieved document, in the pipeline's order."""
    found: dict[str, Retrieved] = {}
    for node in seen.retrieved or ():
        found.setdefault(node.id, node)
    return list(found.values())
