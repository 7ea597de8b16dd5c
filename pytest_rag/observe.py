"""One question to the pipeline, under trace → Observation."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_rag.costs.prices import price_calls, tokens_of
from pytest_rag.errors import PipelineError, message_of
from pytest_rag.loop import in_thread
from pytest_rag.pipelines import reply as replies
from pytest_rag.replay.scope import taking
from pytest_rag.trace import trace
from pytest_rag.trace.cpu import metered
from pytest_rag.types import Observation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_rag.config import Config
    from pytest_rag.loop import LoopThread
    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.trace import Trace
    from pytest_rag.types import Call

__all__ = ["Attempt", "Raw", "ask", "ask_here", "bill", "read", "timed_out"]


@dataclass(slots=True)
class Attempt:
    """What is known of a run so far, also when it breaks.

    Attributes:
        queued: When it was asked for, on the performance counter; 0 where it did not wait.
        started: When the pipeline was called; 0 before.
        trace: What was seen until now; None before the pipeline was called.
        case: Id of the case that asks.
        repeat: 0 for its first run.
        timeout_s: After which it is given up.
    """

    queued: float = 0.0
    started: float = 0.0
    trace: Trace | None = None
    case: str = ""
    repeat: int = 0
    timeout_s: float = math.inf

    def begin(self, seen: Trace) -> None:
        """Note that the pipeline is called now."""
        self.trace = seen
        seen.begin()
        self.started = time.perf_counter()

    def is_overdue(self) -> bool:
        """Tell whether the pipeline has taken longer than it may."""
        return bool(self.started) and time.perf_counter() - self.started >= self.timeout_s

    @property
    def wait_ms(self) -> float:
        """Milliseconds between asking and calling."""
        return max(0.0, self.started - self.queued) * 1000 if self.queued else 0.0


@dataclass(frozen=True, slots=True)
class Raw:
    """What a pipeline returned, with the trace of it; not yet read."""

    pipeline: Pipeline
    query: str
    returned: Any
    trace: Trace
    wait_ms: float


def timed_out(seconds: float) -> str:
    """Return the sentence for a pipeline that took too long."""
    return f"The pipeline gave no answer within timeout_s: {seconds:g}."


async def ask(
    pipeline: Pipeline, query: str, filters: Mapping[str, Any], attempt: Attempt | None = None
) -> Raw:
    """Ask the pipeline one question under trace, and do nothing else on the event loop.

    Args:
        pipeline: The system under test.
        query: The question.
        filters: Metadata filters for the retriever.
        attempt: Filled as the run goes on, for whoever must tell of one that breaks.

    Raises:
        Exception: whatever the pipeline raises, or `TraceError`.
    """
    attempt = attempt or Attempt()
    try:
        with _watched(pipeline, attempt) as seen:
            attempt.begin(seen)
            if pipeline.is_async:
                returned = await metered(replies.finish_async(pipeline.ask(query, filters)))
            else:
                returned = await in_thread(partial(_call, pipeline, query, filters, attempt, seen))
                if replies.unfinished(returned):
                    seen.go_on()
                    returned = await metered(replies.finish_async(returned))
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        raise _tamed(error) from error
    return Raw(pipeline, query, returned, seen, attempt.wait_ms)


def ask_here(
    pipeline: Pipeline, query: str, filters: Mapping[str, Any], attempt: Attempt, loop: LoopThread
) -> Raw:
    """Ask a synchronous pipeline one question in this thread, under trace.

    Args:
        pipeline: The system under test.
        query: The question.
        filters: Metadata filters for the retriever.
        attempt: Filled as the run goes on.
        loop: Where what it returns is awaited, should that be needed.

    Raises:
        Exception: whatever the pipeline raises, or `TraceError`.
    """
    with _watched(pipeline, attempt) as seen:
        returned = _call(pipeline, query, filters, attempt, seen)
        if replies.unfinished(returned):
            seen.go_on()
            returned = _finished(returned, attempt, loop)
    return Raw(pipeline, query, returned, seen, attempt.wait_ms)


def _finished(returned: Any, attempt: Attempt, loop: LoopThread) -> Any:
    left = attempt.timeout_s - (time.perf_counter() - attempt.started)
    try:
        return loop.finish(metered(replies.finish_async(returned)), timeout_s=left)
    except TimeoutError as error:
        if attempt.is_overdue():
            raise PipelineError(timed_out(attempt.timeout_s)) from error
        raise


@contextmanager
def _watched(pipeline: Pipeline, attempt: Attempt) -> Iterator[Trace]:
    """Trace what runs inside, its calls those of the attempt's case."""
    with (
        trace(expect_spans=pipeline.traced) as seen,
        taking(
            pipeline.tape,
            attempt.case,
            attempt.repeat,
            seen,
            timeout_s=attempt.timeout_s,
            corpus=pipeline.corpus or pipeline.fingerprint,
        ),
    ):
        yield seen


def _call(
    pipeline: Pipeline, query: str, filters: Mapping[str, Any], attempt: Attempt, seen: Trace
) -> Any:
    """Call a synchronous pipeline; its clock stops in its own thread, whatever the loop does."""
    attempt.begin(seen)
    try:
        return replies.finish(pipeline.ask(query, filters))
    except Exception:
        raise
    except BaseException as error:
        raise _tamed(error) from error
    finally:
        seen.end()


def _tamed(error: BaseException) -> PipelineError:
    """Return an error of one case for what would have ended everything, or nothing at all."""
    name, text = type(error).__name__, message_of(error)
    said = f"{name}({'' if text == name else text})"
    return PipelineError(f"The pipeline raised {said}, which would have ended everything.")


def read(raw: Raw, config: Config) -> Observation:
    """Read what a pipeline returned: answer, documents, tokens and cost.

    Raises:
        PipelineError: if it returned something that is no answer.
    """
    seen = raw.trace
    said = replies.read(raw.returned, raw.pipeline.document_key, seen.found)
    calls = [*seen.calls, *([said.call] if said.call is not None else [])]
    opaque = not calls and not raw.pipeline.traced and not seen.span_ids()
    return Observation(
        query=raw.query,
        answer=said.answer,
        retrieved=said.retrieved,
        timing=seen.timing(wait_ms=raw.wait_ms),
        documents=raw.pipeline.documents,
        steps=replies.steps(seen.found, raw.pipeline.document_key),
        **bill(calls, config, opaque=opaque),
    )


def bill(calls: Sequence[Call], config: Config, *, opaque: bool) -> dict[str, Any]:
    """Return what calls used and cost; of an opaque pipeline nothing is known."""
    if opaque:
        reason = "the pipeline is no LlamaIndex object and returned no 'usage'"
        return {"cost_reason": reason}
    priced = price_calls(calls, config.prices)
    spoken = [call for call in priced.calls if call.stage == "llm"]
    return {
        "calls": priced.calls,
        "cost_usd": priced.cost_usd,
        "cost_reason": priced.reason,
        "judge_cost_usd": priced.judge_cost_usd,
        "input_tokens": tokens_of(call.input_tokens for call in spoken),
        "output_tokens": tokens_of(call.output_tokens for call in spoken),
    }
