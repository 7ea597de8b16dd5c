"""Who answers a call: the recorder keeps what models say, the player repeats it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pytest_rag.errors import CassetteError
from pytest_rag.redact import redact
from pytest_rag.replay.answers import Answer
from pytest_rag.replay.cassette import Cassette, Entry
from pytest_rag.replay.journal import Journal, left_parts
from pytest_rag.replay.nearest import no_answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_rag.replay.requests import Request
    from pytest_rag.replay.scope import Take
    from pytest_rag.types import Origin

__all__ = ["Player", "Recorder", "is_embedding"]


def is_embedding(request: Request) -> bool:
    """Tell whether a request is the same whoever asks, and its answer a vector."""
    return request.kind in ("embed_query", "embed_text")


class Recorder:
    """Lets every call through and keeps its answer.

    Args:
        cassette: Where it goes in the end.
        name: Of the evalset.
    """

    origin: Origin = "live"
    strict = False
    passes = False

    def __init__(self, cassette: Path, name: str) -> None:
        self.journal = Journal(cassette, name)
        self._while_building: list[Entry] = []

    def find(self, request: Request, take: Take, nth: int) -> Answer | None:
        """Know nothing."""

    def keep(self, request: Request, take: Take, nth: int, answer: Answer) -> None:
        """Write the call to the journal."""
        alike = is_embedding(request)
        entry = Entry(
            key=request.key,
            case="" if alike else take.case,
            repeat=0 if alike else take.repeat,
            nth=0 if alike else nth,
            kind=request.kind,
            model=request.model,
            request=request.body,
            # A vector is text in which a secret would be chance.
            response=answer.response if alike else redact(dict(answer.response)),
            usage=dict(answer.usage),
            latency_ms=answer.latency_ms,
        )
        self.journal.add(entry)
        if not take.case:
            self._while_building.append(entry)

    def ended(self, take: Take, *, whole: bool) -> None:
        """Write to the journal how a run ended."""
        self.journal.note("done" if whole else "failed", (take.case, take.repeat))

    def share(self, other: Recorder) -> None:
        """Keep what was recorded while a pipeline was built, for another evalset that asks it."""
        for entry in self._while_building:
            other.journal.add(entry)


class Player:
    """Answers from the cassette, and refuses what it does not hold.

    Args:
        path: The cassette.
        command: Returns what to type to record a case.
    """

    origin: Origin = "cassette"
    strict = True
    passes = False

    def __init__(self, path: Path, command: Callable[[str], str]) -> None:
        self._path = path
        self._command = command
        self._opened: Cassette | None = None

    def find(self, request: Request, take: Take, nth: int) -> Answer | None:
        """Return the recorded answer.

        Raises:
            CassetteError: if there is none; shows the nearest request and the command to record.
        """
        cassette = self._cassette()
        found = (
            cassette.any(request.key)
            if is_embedding(request)
            else cassette.find(request.key, (take.case, take.repeat, nth))
        )
        if found is not None:
            known = {"latency_ms": found.latency_ms, "usage": found.usage}
            return Answer(response=found.response, **cast("dict[str, Any]", known))
        if request.kind.endswith("structured"):  # it may be made of calls that are there
            return None
        place = (take.case, take.repeat, nth)
        text = no_answer(cassette, request, place, self._command(take.case))
        raise take.fail(CassetteError(text))

    def keep(self, request: Request, take: Take, nth: int, answer: Answer) -> None:
        """Keep nothing."""

    def ended(self, take: Take, *, whole: bool) -> None:
        """Keep nothing."""

    def _cassette(self) -> Cassette:
        if self._opened is None:
            self._opened = Cassette(self._path, left_parts(self._path))
        return self._opened
