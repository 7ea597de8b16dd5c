"""Which case of which evalset a call of a model belongs to, and who answers it."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pytest_rag.errors import CassetteError
from pytest_rag.replay.keys import filled_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_rag.replay.answers import Answer
    from pytest_rag.replay.pacing import Pacer
    from pytest_rag.replay.requests import Request
    from pytest_rag.trace import Trace
    from pytest_rag.types import Origin

__all__ = [
    "Source",
    "Take",
    "Tape",
    "calling",
    "current",
    "is_inside_call",
    "listening",
    "own",
    "recorded",
    "taking",
]


class Source(Protocol):
    """Knows answers that were given once, and keeps new ones."""

    @property
    def origin(self) -> Origin:
        """What a call is that it answers."""
        ...

    @property
    def passes(self) -> bool:
        """Whether it knows nothing and keeps nothing."""
        ...

    @property
    def strict(self) -> bool:
        """Whether it alone may answer: no call may be live."""
        ...

    def find(self, request: Request, take: Take, nth: int) -> Answer | None:
        """Return the answer to the nth such request of a run, or None: then the model is asked.

        Raises:
            CassetteError: if there is none and the model must not be asked.
        """
        ...

    def keep(self, request: Request, take: Take, nth: int, answer: Answer) -> None:
        """Keep what a model answered to the nth request of its kind in a run."""
        ...

    def ended(self, take: Take, *, whole: bool) -> None:
        """Take note that a run ended; ``whole`` where nothing broke."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """An evalset's way to its models.

    Attributes:
        name: Of the evalset.
        source: Who answers.
        pacer: Returns what says when models may be asked; None where none is.
        paying: Opens what pays for calls while a pipeline is built.
    """

    name: str
    source: Source
    pacer: Callable[[], Pacer] | None = None
    paying: Callable[[], AbstractContextManager[object]] = nullcontext

    @contextmanager
    def building(self, seen: Trace) -> Iterator[None]:
        """Let calls made inside belong to no case: the pipeline is being built.

        Args:
            seen: What hears of them.

        Raises:
            CassetteError: if one could not be answered, or went past the tape where it must not.
        """
        with (
            filled_in() if self.source.strict else nullcontext(),
            self.paying(),
            _running(Take(tape=self)) as take,
        ):
            yield
        take.raise_failure()
        if self.source.strict and seen.unmarked:
            raise _escaped(seen)


@dataclass(slots=True, eq=False, kw_only=True)
class Take:
    """One run of one case, or the building of a pipeline.

    Attributes:
        tape: Of the evalset.
        case: Its id; empty while the pipeline is built.
        repeat: 0 for the first run of the case.
        failure: The first call that could not be answered.
        deadline: When the run is given up, on the performance counter.
        corpus: What tells the pipeline's documents from others, where it says so itself.
        judge: The metric whose judge asks; empty where the pipeline does.
        refused: The first connection that was refused, as a sentence.
    """

    tape: Tape
    case: str = ""
    repeat: int = 0
    deadline: float = math.inf
    corpus: str | None = None
    judge: str = ""
    failure: CassetteError | None = None
    refused: str | None = None
    _seen: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, key: str) -> int:
        """Return how many identical requests came before this one."""
        heard = _heard.get()
        if heard is not None:
            heard.append(key)
        with self._lock:
            self._seen[key] += 1
            return self._seen[key] - 1

    def fail(self, error: CassetteError) -> CassetteError:
        """Remember an error that a pipeline may swallow, and return it."""
        self.failure = self.failure or error
        return error

    def raise_failure(self, cause: BaseException | None = None) -> None:
        """Raise what a pipeline swallowed or wrapped in an error of its own.

        Raises:
            CassetteError: if a call could not be answered, or a connection was refused and the
                pipeline broke over it.
        """
        if self.failure is not None and cause is not self.failure:
            raise self.failure from None
        if self.refused is not None and cause is not None and not isinstance(cause, CassetteError):
            raise CassetteError(self.refused) from cause


_current: ContextVar[Take | None] = ContextVar("pytest_rag_take", default=None)
_inside: ContextVar[bool] = ContextVar("pytest_rag_inside_call", default=False)
_heard: ContextVar[list[str] | None] = ContextVar("pytest_rag_heard", default=None)
_active: set[Take] = set()


def current() -> Take | None:
    """Return the run a call made here belongs to, or None where it is none of ours.

    A thread without context belongs to the only run there is, or to the evalset of several. The
    main thread is pytest's own.
    """
    take = _current.get()
    if take is not None or not _active:
        return take
    if threading.current_thread() is threading.main_thread():
        return None
    active = list(_active)
    if len(active) == 1:
        return active[0]
    tapes = {id(take.tape): take.tape for take in active}
    return Take(tape=next(iter(tapes.values()))) if len(tapes) == 1 else None


def own() -> Take | None:
    """Return the run that a call made in this very context belongs to, or None."""
    return _current.get()


def recorded() -> Take | None:
    """Return the run a call made here belongs to if it is recorded or answered, else None."""
    take = current()
    return None if take is None or take.tape.source.passes else take


def is_inside_call() -> bool:
    """Tell whether a call around this one is being answered or recorded already."""
    return _inside.get()


@contextmanager
def calling() -> Iterator[None]:
    """Let calls made inside be parts of one that is known already."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Yield a list that will hold the keys of the calls made inside."""
    heard: list[str] = []
    around = _heard.get()
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)
        if around is not None:
            around += heard


@contextmanager
def _running(take: Take) -> Iterator[Take]:
    token = _current.set(take)
    _active.add(take)
    try:
        yield take
    except Exception as error:
        take.raise_failure(error)
        raise
    finally:
        _current.reset(token)
        _active.discard(take)


@contextmanager
def taking(
    tape: Tape | None,
    case: str,
    repeat: int,
    seen: Trace,
    *,
    timeout_s: float = math.inf,
    corpus: str | None = None,
    judge: str = "",
) -> Iterator[None]:
    """Let calls made inside belong to a run of a case.

    Args:
        tape: Of the pipeline's evalset, or None: then nothing is done.
        case: Its id.
        repeat: 0 for the first run.
        seen: The trace of the run.
        timeout_s: After which it is given up.
        corpus: What tells the pipeline's documents from others, where it says so itself.
        judge: The metric whose judge asks, or empty.

    Raises:
        CassetteError: at the end, if a call could not be answered, or went past the tape where
            it must not.
    """
    if tape is None:
        yield
        return
    deadline = time.perf_counter() + timeout_s
    take = Take(tape=tape, case=case, repeat=repeat, deadline=deadline, corpus=corpus, judge=judge)
    whole = False
    try:
        with _running(take):
            yield
        take.raise_failure()
        if tape.source.strict and seen.unmarked:
            raise _escaped(seen)
        whole = True
    finally:
        tape.source.ended(take, whole=whole)


def _escaped(seen: Trace) -> CassetteError:
    models = sorted({f"{call.model} ({call.stage})" for call in seen.unmarked})
    return CassetteError(
        f"A call of {', '.join(models)} was made live and not answered from the cassette: replay "
        "mode cannot stand for this result. Call the model through LlamaIndex's own entry points "
        "(chat, complete, get_query_embedding, …), or say on its class that it computes here: "
        "rag_record: ClassVar[bool] = False"
    )
