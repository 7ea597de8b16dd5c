"""One question to the pipeline, under trace → Observation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.costs.prices import price_calls
from pytest_rag.errors import PipelineError
from pytest_rag.loop import in_thread
from pytest_rag.pipelines import reply as replies
from pytest_rag.pipelines.nodes import from_node
from pytest_rag.trace import Trace, trace
from pytest_rag.trace.cpu import metered
from pytest_rag.types import Observation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_rag.config import Config
    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.types import Call

__all__ = ["Attempt", "bill", "observe"]


@dataclass(slots=True)
class Attempt:
    """What is known of a run so far, also when it breaks.

    Attributes:
        queued: When it was asked for, on the performance counter; 0 where it did not wait.
        started: When the pipeline was called; 0 before.
        trace: What was seen until now, or None before it was called.
    """

    queued: float = 0.0
    started: float = 0.0
    trace: Trace | None = None

    @property
    def wait_ms(self) -> float:
        """Milliseconds between asking and calling."""
        return max(0.0, self.started - self.queued) * 1000 if self.queued else 0.0


async def observe(
    pipeline: Pipeline,
    query: str,
    filters: Mapping[str, Any],
    config: Config,
    attempt: Attempt | None = None,
) -> Observation:
    """Ask the pipeline one question under trace.

    Args:
        pipeline: The system under test.
        query: The question.
        filters: Metadata filters for the retriever.
        config: For document ids and prices.
        attempt: Filled as the run goes on, for whoever must tell of one that breaks.

    Raises:
        Exception: whatever the pipeline raises, or `TraceError` or `PipelineError`.
    """
    attempt = attempt or Attempt()
    attempt.started = time.perf_counter()
    with trace(expect_spans=pipeline.traced) as seen:
        attempt.trace = seen
        raw = await _ask(pipeline, query, filters)
    said = replies.read(raw, config.document_key)
    retrieved = said.retrieved
    if retrieved is None and seen.nodes is not None:
        retrieved = tuple(from_node(node, config.document_key) for node in seen.nodes)
    calls = [*seen.calls, *([said.call] if said.call is not None else [])]
    opaque = not calls and not pipeline.traced and not seen.span_ids()
    return Observation(
        query=query,
        answer=said.answer,
        retrieved=retrieved,
        timing=seen.timing(wait_ms=attempt.wait_ms),
        documents=pipeline.documents,
        **bill(calls, config, opaque=opaque),
    )


async def _ask(pipeline: Pipeline, query: str, filters: Mapping[str, Any]) -> Any:
    try:
        if pipeline.is_async:
            return await metered(replies.finish_async(pipeline.ask(query, filters)))
        raw = await in_thread(lambda: replies.finish(pipeline.ask(query, filters)))
        return await metered(replies.finish_async(raw))
    except (SystemExit, KeyboardInterrupt) as error:
        raise PipelineError(
            f"The pipeline raised {error!r} and would have ended pytest."
        ) from error


def bill(calls: Sequence[Call], config: Config, *, opaque: bool) -> dict[str, Any]:
    """Return what calls used and cost; of an opaque pipeline that says nothing, nothing is known."""
    if opaque:
        reason = "the pipeline is no LlamaIndex object and returned no 'usage'"
        return {"cost_reason": reason}
    priced = price_calls(calls, config.prices)
    spoken = [call for call in priced.calls if call.stage == "llm"]
    return {
        "calls": priced.calls,
        "cost_usd": priced.cost_usd,
        "cost_reason": priced.reason,
        "input_tokens": _sum(call.input_tokens for call in spoken),
        "output_tokens": _sum(call.output_tokens for call in spoken),
    }


def _sum(counts: Iterable[int | None]) -> int | None:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total
