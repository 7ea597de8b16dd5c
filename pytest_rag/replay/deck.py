"""What a run opens to record or replay: tapes by evalset, sockets refused, keys filled in."""

from __future__ import annotations

import functools
import os
import sys
import time
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_rag.replay.cassette import cassette_path
from pytest_rag.replay.passing import Passing
from pytest_rag.replay.scope import Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from pytest_rag.buildings import Bills
    from pytest_rag.rates import RateLimit
    from pytest_rag.replay.pacing import Pacer
    from pytest_rag.replay.scope import Source
    from pytest_rag.types import Mode

__all__ = ["Deck", "Pacing"]

Pacing = tuple["Mapping[str, RateLimit]", "int | None"]
"""Limits of rate by model, and how often a call is tried again."""


class Deck:
    """Stands between pipelines and their models until it is closed.

    Args:
        mode: ``live`` asks the models and keeps nothing; None goes by what each evalset says.
        command: Returns what to type to record, of an evalset's path and a case's id.
        pacing: Returns limits of rate by model and how often a call is tried again; asked when
            the first evalset comes.
        cache: Makes, when it is first needed, what answers in live mode out of earlier runs.
        paying: Opens what pays for calls while a pipeline is built, given what paces them; None
            where the run has no ceiling.

    Attributes:
        paths: The file of every evalset that has a tape, by name.
    """

    def __init__(
        self,
        mode: Mode | None,
        command: Callable[[str, str], str],
        pacing: Callable[[], Pacing],
        cache: Callable[[], Source | None] | None = None,
        paying: Callable[[Callable[[], Pacer]], AbstractContextManager[object]] | None = None,
    ) -> None:
        self.mode = mode
        self._cache = None
        if mode in (None, "live") and cache is not None:
            self._cache = functools.cache(cache)
        self._paying = paying
        self._command = command
        self._pacing = pacing
        self._pacer: Pacer | None = None
        self._since = time.time()
        self._undo = ExitStack()
        self._tapes: dict[Path, Tape] = {}
        self.paths: dict[str, Path] = {}
        self._built: dict[int, Any] = {}
        self._bills: Bills = []
        self._hooked = False
        self._refusing = mode == "replay"
        if mode == "replay":
            from pytest_rag.replay import keys, sockets

            self._undo.callback(keys.take_out, keys.fill_in())
            self._undo.push(sockets.refusing())

    def tape(self, name: str, path: Path, own: Mode = "live") -> Tape:
        """Return an evalset's way to its models.

        Args:
            name: Of the evalset.
            path: Its file.
            own: How it is run where the command line does not say.
        """
        mode = self.mode or own
        known = None if mode != "live" or self._cache is None else self._cache()
        if mode != "live" or known is not None or self._paying or self._pacing()[0]:
            self._hook()
        if mode != "live" or known is not None:
            self.paths[name] = path
        where = cassette_path(path, name)
        if where not in self._tapes:
            self._tapes[where] = self._made(mode, name, path, known)
        return self._tapes[where]

    def _made(self, mode: Mode, name: str, path: Path, known: Source | None) -> Tape:
        where = cassette_path(path, name)
        paying = nullcontext if self._paying is None else partial(self._paying, self._paced)
        if mode == "live":
            source = known or Passing()
            return Tape(name=name, source=source, pacer=self._paced, paying=paying)
        from pytest_rag.replay.sources import Player, Recorder

        if mode == "replay":
            self._refuse()
            return Tape(name=name, source=Player(where, partial(self._command, _shown(path))))
        return Tape(name=name, source=Recorder(where, name), pacer=self._paced, paying=paying)

    def _paced(self) -> Pacer:
        """Return what paces every call of the session."""
        if self._pacer is None:
            from pytest_rag.replay.pacing import Pacer

            limits, retries = self._pacing()
            workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
            self._pacer = Pacer(limits, retries, workers)
        return self._pacer

    def _refuse(self) -> None:
        """Keep evalsets that are replayed from the network, in a session that is not."""
        if not self._refusing:
            from pytest_rag.replay import sockets

            self._refusing = True
            self._undo.push(sockets.refusing(only_replayed=True))

    def built(self, tape: Tape, target: object) -> None:
        """Note whose calls built a pipeline; another evalset that asks it gets them as well."""
        self.meet()
        if self.mode != "record":
            return
        from pytest_rag.replay.sources import Recorder

        first = self._built.setdefault(id(target), (target, tape))[1]
        if first is not tape:
            one, other = first.source, tape.source
            if isinstance(one, Recorder) and isinstance(other, Recorder):
                one.share(other)

    def note_bill(self, name: str, calls: list[dict[str, Any]]) -> None:
        """Note what the building of an evalset's pipeline asked of models, as a record has it."""
        if calls:
            self._bills.append((name, calls))

    def take_bills(self) -> Bills:
        """Return what has been noted since somebody asked last."""
        bills, self._bills = self._bills, []
        return bills

    def meet(self) -> None:
        """Stand before LlamaIndex's models if there are any: a pipeline has been built."""
        if "llama_index.core" in sys.modules:
            self._hook()

    def save(self, name: str, path: Path, *, complete: bool) -> str | None:
        """Merge what was recorded into the cassette; return what to say of it, if anything.

        Args:
            name: Of the evalset.
            path: Its file.
            complete: Whether every case was run as often as it says.

        Raises:
            RecordError: if the cassette that was there cannot be read.
        """
        if self.mode != "record":
            return None
        from pytest_rag.replay.journal import merge

        self.let_go()
        where = cassette_path(path, name)
        calls = merge(where, name, since=self._since, complete=complete)
        many = f"{calls} call{'' if calls == 1 else 's'}"
        return None if calls is None else f"cassette: {where} ({many})"

    def notes(self) -> list[str]:
        """Return what the cache has to say at the end of a run."""
        known = None if self._cache is None or not self._tapes else self._cache()
        untold = sorted(getattr(known, "untold", ()))
        stages = getattr(getattr(known, "stages", None), "untold", {})
        return [
            *(f"not cached: the calls of {n}, whose configuration cannot be told" for n in untold),
            *(f"not cached: what {name} returns, {stages[name]}" for name in sorted(stages)),
        ]

    def let_go(self) -> None:
        """Close the journals, so that they can be merged."""
        if self.mode != "record":
            return
        from pytest_rag.replay.sources import Recorder

        for tape in self._tapes.values():
            if isinstance(tape.source, Recorder):
                tape.source.journal.close()

    def close(self) -> None:
        """Put everything back as it was."""
        self.let_go()
        self._undo.close()

    def _hook(self) -> None:
        """Stand before LlamaIndex's models, which are imported for it, once."""
        if not self._hooked:
            from pytest_rag.replay import hooks

            self._hooked = True
            hooks.install()
            self._undo.callback(hooks.uninstall)


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
