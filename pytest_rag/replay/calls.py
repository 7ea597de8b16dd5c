"""One call of a model on its way: answered from what is known, or asked for and kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse
from llama_index_instrumentation.span import active_span_id

from pytest_rag.errors import CassetteError
from pytest_rag.replay import answers, requests, scope
from pytest_rag.replay.again import ANSWER
from pytest_rag.replay.answers import Answer
from pytest_rag.replay.ceiling import is_on_a_loop
from pytest_rag.replay.values import pack, plain, unpack
from pytest_rag.trace.hub import HUB, not_asked
from pytest_rag.trace.marks import MARK, Mark

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from pytest_rag.replay.claims import Claims
    from pytest_rag.replay.requests import Kind, Request
    from pytest_rag.replay.scope import Take
    from pytest_rag.replay.values import Vector

__all__ = ["Batch", "Spoken", "open_batch", "open_spoken", "open_structured"]


@dataclass(slots=True, kw_only=True)
class Spoken:
    """A call of a language model.

    Attributes:
        take: The run it belongs to.
        request: What is asked.
        nth: Which of several identical requests of the run it is.
        answer: What is known already, or None.
        asked: The messages of one that is asked for an object.
        mark: What its trace is told of it.
    """

    take: Take
    request: Request
    nth: int
    answer: Answer | None
    asked: Any = None
    mark: Mark = field(default_factory=Mark)
    _start: float = field(default_factory=time.perf_counter)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Let the model be asked inside; what it calls in turn is part of this call."""
        token = MARK.set(self.mark)
        try:
            with scope.calling():
                yield
        finally:
            MARK.reset(token)

    @contextmanager
    def answering(self, answer: Answer) -> Iterator[None]:
        """Let LlamaIndex's events be sent inside as for the call that was live."""
        origin = self.take.tape.source.origin
        self.mark = Mark(origin=origin, latency_ms=answer.latency_ms, recorded=True)
        token = ANSWER.set(answer)
        try:
            with self.live():
                yield
        finally:
            ANSWER.reset(token)

    def keep(self, response: Any) -> None:
        """Keep what the model said; what is no response of LlamaIndex's cannot be kept."""
        latency_ms = self._ended()
        if isinstance(response, ChatResponse | CompletionResponse):
            self._keep(answers.of_response(response, latency_ms))

    def keep_pieces(self, pieces: answers.Pieces) -> None:
        """Keep a stream as far as it was read."""
        self._keep(pieces.answer(self._ended()))

    def keep_objects(self, told: Mapping[str, Any]) -> None:
        """Keep the object that the model was asked for, or its stages, by name."""
        self._keep(Answer(response=plain(told), latency_ms=self._ended(), usage={}))

    def _ended(self) -> float:
        start = self.mark.started or self._start
        self.mark.latency_ms = round((time.perf_counter() - start) * 1000, 3)
        return self.mark.latency_ms

    def _keep(self, answer: Answer | None) -> None:
        if answer is not None:
            self.take.tape.source.keep(self.request, self.take, self.nth, answer)


def open_spoken(kind: Kind, llm: Any, asked: Any, options: Mapping[str, Any]) -> Spoken | None:
    """Return the call of a language model, or None where it is none of ours.

    Raises:
        CassetteError: if it must be answered from a cassette that has no answer.
    """
    take = scope.recorded()
    if take is None or scope.is_inside_call() or requests.passes(llm):
        return None
    asked = asked if isinstance(asked, str) else list(asked)
    return _opened(take, requests.of_llm(kind, llm, asked, options, judge=take.judge))


def open_structured(
    kind: Kind,
    llm: Any,
    asked: tuple[type, Any],
    options: Mapping[str, Any] | None,
    given: Mapping[str, Any],
) -> Spoken | None:
    """Return the call for an object of a class, or None where it is none of ours."""
    take = scope.recorded()
    if take is None or scope.is_inside_call() or requests.passes(llm):
        return None
    output, prompt = asked
    messages = prompt.format_messages(llm=llm, **given)
    more = {**(options or {}), "output": output}
    call = _opened(take, requests.of_llm(kind, llm, messages, more, judge=take.judge))
    call.asked = messages
    return call


def _opened(take: Take, request: Request) -> Spoken:
    nth = take.count(request.key)
    answer = take.tape.source.find(request, take, nth)
    return Spoken(take=take, request=request, nth=nth, answer=answer)


@dataclass(slots=True, kw_only=True)
class Batch:
    """A call of an embedding model for some texts.

    Attributes:
        take: The run it belongs to.
        requests: One a text.
        vectors: Those that are known, None for the others.
        mark: What its trace is told of it.
    """

    take: Take
    requests: Sequence[Request]
    vectors: list[Vector | None]
    _claims: Claims | None = None
    _mine: list[str] = field(default_factory=list)
    _theirs: dict[int, Future[None]] = field(default_factory=dict)
    _is_told: bool = False
    _recorded_ms: float = 0.0
    _known: int = 0
    mark: Mark = field(default_factory=Mark)
    _start: float = field(default_factory=time.perf_counter)

    @property
    def missing(self) -> list[int]:
        """The places of texts that have to be embedded, and that nobody else has gone to embed."""
        unknown = (place for place, vector in enumerate(self.vectors) if vector is None)
        return [place for place in unknown if place not in self._theirs]

    @property
    def is_whole(self) -> bool:
        """Whether every vector is there."""
        return None not in self.vectors

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Claim what is unknown; what others have claimed by then is awaited."""
        self._claims = getattr(self.take.tape.source, "claims", None)
        try:
            self._claim()
            yield
        finally:
            self._release()

    def _claim(self) -> None:
        if self._claims is None:
            return
        mine = []
        for place in self.missing:
            key = self.requests[place].key
            if key in self._mine:  # the same text twice
                continue
            other = self._claims.claim(key)
            if other is not None:
                self._theirs[place] = other
                continue
            self._mine.append(key)
            mine.append(place)
        self._take_in(mine)  # another may have ended just before

    def _release(self) -> None:
        if self._claims is not None:
            self._claims.release(self._mine)
            self._mine.clear()

    def wait(self) -> None:
        """Wait in this thread until others have embedded their texts, and take in the vectors."""
        if not is_on_a_loop():  # which they may need to come to an end
            for other in self._theirs.values():
                other.result()
        self._look_again()

    async def await_others(self) -> None:
        """Wait likewise, and let the event loop go on."""
        for other in list(self._theirs.values()):
            await asyncio.wrap_future(other)
        self._look_again()

    def _look_again(self) -> None:
        """Take in what others have found; what they failed to embed is missing now."""
        places = list(self._theirs)
        self._theirs.clear()
        self._take_in(places)

    def _take_in(self, places: Sequence[int]) -> None:
        source, spent_ms = self.take.tape.source, 0.0
        for place in places:
            answer = source.find(self.requests[place], self.take, 0)
            if answer is not None:
                self.vectors[place] = unpack(str(answer.response))
                spent_ms += answer.latency_ms
        if self._is_told:
            note(Mark(origin=source.origin, latency_ms=spent_ms, recorded=True))
        elif places:
            self.known(self._recorded_ms + spent_ms)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Let the model be asked inside; what it calls in turn is part of this call."""
        token = MARK.set(self.mark)
        try:
            with scope.calling():
                yield
        finally:
            MARK.reset(token)

    def keep(self, vectors: Sequence[Vector]) -> None:
        """Take in and keep the vectors of what was missing."""
        missing = self.missing
        # What a text takes in a batch is its share, so that the shares add up.
        start = self.mark.started or self._start
        share = round((time.perf_counter() - start) * 1000 / len(missing), 6)
        for place, vector in zip(missing, vectors, strict=True):
            plainly = self.vectors[place] = _plain(vector)
            answer = Answer(response=pack(plainly), latency_ms=share, usage={})
            self.take.tape.source.keep(self.requests[place], self.take, 0, answer)
        self._release()
        self._is_told = True
        total = share * len(missing) + self._recorded_ms
        note(Mark(origin="live", latency_ms=total, recorded=self._known > 0))

    def known(self, recorded_ms: float) -> None:
        """Note how long the vectors that are known took when they were made."""
        self._recorded_ms = recorded_ms
        self._known = len(self.vectors) - self.vectors.count(None)
        if self.is_whole:
            origin = self.take.tape.source.origin
            note(Mark(origin=origin, latency_ms=recorded_ms, recorded=True))


def _plain(vector: Vector) -> Vector:
    """Return a vector in Python's own numbers, whatever the model counts in."""
    if isinstance(vector, Mapping):
        return {int(place): float(value) for place, value in vector.items()}
    return list(map(float, vector))


def note(mark: Mark) -> None:
    """Let the trace know who answered the call that is open in this context."""
    span_id = active_span_id.get()
    trace = HUB.of_span(span_id)
    if trace is not None and span_id is not None:
        trace.mark_call(span_id, mark)


def open_batch(kind: Kind, model: Any, texts: Sequence[str]) -> Batch | None:
    """Return the call of an embedding model, or None where it is none of ours.

    Raises:
        CassetteError: if it must be answered from a cassette that has no answer.
    """
    take = scope.recorded()
    if take is None or scope.is_inside_call() or requests.passes(model) or not texts:
        return None
    asked = [requests.of_embedding(kind, model, text) for text in texts]
    try:
        found = [take.tape.source.find(request, take, 0) for request in asked]
    except CassetteError:
        not_asked(Mark())
        raise
    vectors = [None if answer is None else unpack(str(answer.response)) for answer in found]
    batch = Batch(take=take, requests=asked, vectors=vectors)
    batch.known(sum(answer.latency_ms for answer in found if answer is not None))
    return batch
