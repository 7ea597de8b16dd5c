"""Where questions are answered from a cache, or once by the engine for all who ask."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import logging
import random
import threading
import time
from contextlib import contextmanager
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pytest_rag.cache.envelope import CorruptEntryError, unpack
from pytest_rag.errors import message_of
from pytest_rag.pipelines.answers import MARK, output_class, response_of
from pytest_rag.pipelines.cashier import Cashier, Terms
from pytest_rag.pipelines.flights import Flight, Flights, Landing, Lease
from pytest_rag.pipelines.questions import Question, is_plain, key_for, normalise
from pytest_rag.pipelines.semantic import SemanticIndex
from pytest_rag.pipelines.steps import Ask, Do, Pause, Step, Wait, drive, drive_async
from pytest_rag.pipelines.streams import Tee, aread_all, read_all, tee
from pytest_rag.redact import redact
from pytest_rag.trace import nested

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pytest_rag.cache import Cache, Key
    from pytest_rag.pipelines.answers import Form
    from pytest_rag.pipelines.counting import Tally
    from pytest_rag.pipelines.identity import Identity
    from pytest_rag.trace.nested import NestedTrace

__all__ = ["Desk"]

_PATIENCE = 6
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.1
_leading: ContextVar[frozenset[Key]] = ContextVar("pytest_rag_leading", default=frozenset())
_log = logging.getLogger("pytest_rag")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    body: dict[str, Any]
    response: Any
    size: int
    is_fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One question put to the engine."""

    asked: Question
    flight: Flight
    lease: Lease
    is_refresh: bool
    seen: NestedTrace = field(default_factory=nested)
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """See what the engine does, and know what it was asked while it asks others."""
        token = _leading.set(_leading.get() | {self.asked.key})
        try:
            with self.seen.inside():
                yield
        finally:
            _leading.reset(token)


class Desk:
    """Answers questions; what takes time is left to whoever goes through the steps."""

    def __init__(self, cache: Cache, terms: Terms, tally: Tally) -> None:
        self._cache = cache
        self._terms = terms
        self._tally = tally
        self._flights = Flights()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._has_warned = False
        model = terms.semantic
        self._similar = None if model is None else SemanticIndex(cache, model, terms.floor)
        self._cashier = Cashier(cache, terms, tally, self._similar)

    # --- the course of a question -------------------------------------------------------------

    def answer(
        self, identity: Identity, bundle: Any, *, is_async: bool
    ) -> Generator[Step, Any, Any]:
        """Answer a question.

        Raises:
            Exception: whatever the engine raises, for all who asked the same meanwhile.
        """
        blocks = self._cache.blocking or identity.is_slow
        key, found = yield Do(partial(self._first, identity, bundle, is_async), blocks)
        asked = Question(identity=identity, bundle=bundle, is_async=is_async, key=key)
        if found is not None and found.is_fresh:
            return self._serve(found, "hit")
        if found is not None:
            if self._flights.is_quiet(key):
                self._in_background(self._renew(asked), is_async=is_async)
            return self._serve(found, "stale")
        if self._similar is not None and is_plain(bundle):
            vector = yield from self._embed(asked)
            asked = dataclasses.replace(asked, vector=vector)
            found, similarity = yield Do(partial(self._near, asked), self._cache.blocking)
            if found is not None:
                return self._serve(found, "semantic", similarity=similarity)
        return (yield from self._fly(asked))

    def _fly(self, asked: Question) -> Generator[Step, Any, Any]:
        """Compute an answer, or wait for who does."""
        led = _leading.get()
        until = time.monotonic() + self._terms.lease_s * (1 if led else _PATIENCE)
        while asked.key not in led:
            flight, leads = self._flights.join(asked.key)
            if leads:
                return (yield from self._lead(asked, flight, until))
            landing = yield from self._wait(asked, flight, until)
            if landing is None or landing == Landing():
                break
            if landing.error is not None:
                self._tally.add(errors=1, misses=1)
                raise landing.error
            if landing.body is not None:
                return self._serve(self._made_of(landing.body, asked), "shared")
        return (yield from self._compute(asked, Flight(), self._lease(asked)))

    def _wait(
        self, asked: Question, flight: Flight, until: float
    ) -> Generator[Step, Any, Landing | None]:
        """Wait for a flight; None where that would be for ever, or has been for long."""
        if flight.is_mine() or (not asked.is_async and _runs_here()):
            return None
        while not flight.landed.done():
            left = until - time.monotonic()
            if left <= 0 or flight.is_stalled(self._terms.lease_s):
                return None
            yield Wait(flight, min(left, self._terms.lease_s / 4))
        return flight.landed.result()

    def _lead(self, asked: Question, flight: Flight, until: float) -> Generator[Step, Any, Any]:
        lease = self._lease(asked)
        try:
            found = yield from self._obtain(asked, lease, until)
            if found is None:
                return (yield from self._compute(asked, flight, lease))
        except BaseException as error:
            self._end(asked, flight, lease, error)
            raise
        self._flights.land(asked.key, flight, Landing(body=found.body))
        yield Do(lease.release, self._cache.blocking)
        return self._serve(found, "hit")

    def _obtain(
        self, asked: Question, lease: Lease, until: float
    ) -> Generator[Step, Any, _Found | None]:
        """Wait for the lease, or for what another process computes; None where neither came."""
        pause = _FIRST_PAUSE_S
        while True:
            taken, found = yield Do(partial(self._take, asked, lease), self._cache.blocking)
            if taken or found is not None or time.monotonic() > until:
                return found  # type: ignore[no-any-return]
            yield Pause(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come at once
            pause = min(pause * 1.7, _LONGEST_PAUSE_S)

    def _compute(
        self, asked: Question, flight: Flight, lease: Lease, *, counted: str = "misses"
    ) -> Generator[Step, Any, Any]:
        """Ask the engine."""
        engine = asked.identity.engine
        run = _Run(asked=asked, flight=flight, lease=lease, is_refresh=counted == "refreshes")
        lease.keep(lambda: not flight.is_stalled(self._terms.lease_s))
        self._tally.add(**{counted: 1})
        try:
            given = copy.copy(asked.bundle)  # a retriever may write an embedding into it
            ways = partial(engine.query, given), partial(engine.aquery, given)
            response = yield Ask(*ways, run.inside)
        except BaseException:
            self._tally.add(errors=1)
            self._cashier.bill(run.seen)
            raise
        if getattr(response, "response_gen", None) is not None:
            return self._streamed(run, response)
        yield Do(partial(self._finish, run, response), self._cache.blocking)
        return response

    def _finish(self, run: _Run, response: Any, form: Form = "text") -> None:
        """Keep a whole answer and end its flight."""
        bill = self._cashier.bill(run.seen)
        latency_ms = (time.perf_counter() - run.started) * 1000
        body = self._cashier.keep(run.asked, response, bill, latency_ms, form=form)
        if run.is_refresh:
            self._tally.add(saved_usd=-(bill.cost_usd or 0.0))
        self._flights.land(run.asked.key, run.flight, Landing(body=body))
        run.lease.release()

    def _streamed(self, run: _Run, response: Any) -> Any:
        """Keep a streamed answer when its last word has been read, and only then."""
        form: Form = "stream"
        if run.asked.is_async and not hasattr(response.response_gen, "__aiter__"):
            form = "read"

        def moved() -> None:
            run.flight.moved = time.monotonic()

        def ended(text: str | None, error: BaseException | None) -> None:
            if text is not None:
                self._finish(run, _whole(response, text), form)
                return
            self._cashier.bill(run.seen)
            self._tally.add(errors=int(isinstance(error, Exception)))
            self._end(run.asked, run.flight, run.lease, error)

        moved()
        run.flight.is_stream = True
        return tee(response, Tee(run.inside, moved, ended))

    def _renew(self, asked: Question) -> Generator[Step, Any, None]:
        """Make an answer anew while the old one is served."""
        flight, leads = self._flights.join(asked.key)
        if not leads:
            return
        lease = self._lease(asked)
        try:
            taken, found = yield Do(partial(self._take, asked, lease), self._cache.blocking)
            if not taken or found is not None:
                body = None if found is None else found.body
                self._flights.land(asked.key, flight, Landing(body=body, again=body is None))
                lease.release()
                return
            if self._similar is not None and is_plain(asked.bundle):
                vector = yield from self._embed(asked)
                asked = dataclasses.replace(asked, vector=vector)
            response = yield from self._compute(asked, flight, lease, counted="refreshes")
            yield Ask(partial(read_all, response), partial(aread_all, response), _nothing)
        except BaseException as error:
            self._flights.rest(asked.key, self._terms.lease_s)
            self._end(asked, flight, lease, error)
            if not isinstance(error, Exception):
                raise
            _log.warning("A stale answer could not be made anew: %s", redact(message_of(error)))

    def _embed(self, asked: Question) -> Generator[Step, Any, Any]:
        """Return the vector of a question; None, and one warning, where there is none."""
        seen, model = nested(), self._terms.semantic
        text = normalise(asked.bundle.query_str)
        try:
            return (
                yield Ask(
                    partial(model.get_query_embedding, text),
                    partial(model.aget_query_embedding, text),
                    seen.inside,
                )
            )
        except Exception as error:  # noqa: BLE001 - the question can be answered without
            if not self._has_warned:
                self._has_warned = True
                _log.warning("Similar questions are not found: %s", redact(message_of(error)))
            return None
        finally:
            self._cashier.bill(seen)

    # --- single steps -------------------------------------------------------------------------

    def _first(self, identity: Identity, bundle: Any, is_async: bool) -> tuple[Key, _Found | None]:
        """Look a question up; empty what is right no more."""
        self._tally.flush_if_due()
        key = key_for(identity, bundle)
        for namespace in identity.superseded():
            self._cache.clear(namespace)
            if self._similar is not None:
                self._similar.drop(namespace)
        found = self._look(Question(identity=identity, bundle=bundle, is_async=is_async, key=key))
        return key, found

    def _look(self, asked: Question) -> _Found | None:
        value = self._cache.get(asked.key)
        if value is None:
            return None
        try:
            return self._read(unpack(asked.key, value), asked, len(value))
        except CorruptEntryError:
            self._tally.add(corrupt=1)
            self._cache.delete(asked.key)
            return None

    def _read(self, body: dict[str, Any], asked: Question, size: int) -> _Found | None:
        found = self._made_of(body, asked, size)
        age = time.time() - body["made"]
        ttl, stale = self._terms.ttl, self._terms.stale
        if ttl is not None and age >= ttl + stale:
            return None
        return dataclasses.replace(found, is_fresh=ttl is None or age < ttl)

    def _made_of(self, body: dict[str, Any], asked: Question, size: int = 0) -> _Found:
        output = output_class(asked.identity.engine)
        response = response_of(body, {}, is_async=asked.is_async, output_cls=output)
        return _Found(body=body, response=response, size=size, is_fresh=True)

    def _near(self, asked: Question) -> tuple[_Found | None, float]:
        if asked.vector is None or self._similar is None:
            return None, 0.0
        near = self._similar.nearest(asked.key, asked.vector)
        if near is None:
            return None, 0.0
        found = self._look(dataclasses.replace(asked, key=near[0]))
        if found is None:
            self._similar.forget(near[0])
        return (found if found is not None and found.is_fresh else None), near[1]

    def _take(self, asked: Question, lease: Lease) -> tuple[bool, _Found | None]:
        taken = lease.take()
        found = self._look(asked)
        return taken, found if found is not None and found.is_fresh else None

    def _lease(self, asked: Question) -> Lease:
        return Lease(self._cache, asked.key, self._terms.lease_s)

    def _end(
        self, asked: Question, flight: Flight, lease: Lease, error: BaseException | None
    ) -> None:
        """End a flight that brought nothing."""
        known = error if isinstance(error, Exception) else None
        self._flights.land(asked.key, flight, Landing(error=known, again=known is None))
        lease.release()

    def _serve(
        self,
        found: _Found,
        how: Literal["hit", "stale", "semantic", "shared"],
        similarity: float | None = None,
    ) -> Any:
        """Count a hit and mark it."""
        names = {"hit": "hits", "stale": "stale_hits", "semantic": "semantic_hits"}
        cost = found.body["cost_usd"]
        self._tally.add(
            **{names.get(how, how): 1},
            bytes=found.size,
            saved_ms=found.body["latency_ms"],
            saved_usd=cost or 0.0,
            unpriced_hits=int(cost is None),
        )
        told = {} if similarity is None else {"similarity": round(similarity, 4)}
        found.response.metadata[MARK].update(cache=how, **told)
        return found.response

    def _in_background(self, course: Generator[Step, Any, None], *, is_async: bool) -> None:
        """Go through a course beside what runs here, and in nobody's trace."""
        if not is_async:
            threading.Thread(
                target=drive, args=(course,), name="pytest-rag refresh", daemon=True
            ).start()
            return
        task = asyncio.get_running_loop().create_task(drive_async(course), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


# --- helpers ----------------------------------------------------------------------------------


def _runs_here() -> bool:
    """Tell whether this thread runs an event loop, which must not be made to wait for itself."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _whole(response: Any, text: str) -> Any:
    from llama_index.core.base.response.schema import Response

    return Response(text, response.source_nodes, response.metadata)
