"""What a run opens to record or replay: tapes by evalset, sockets refused, keys filled in."""

from __future__ import annotations

import functools
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_rag.replay.cassette import cassette_path
from pytest_rag.replay.scope import Tape

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_rag.replay.scope import Source
    from pytest_rag.types import Mode

__all__ = ["Deck"]


class Deck:
    """Stands between pipelines and their models until it is closed.

    Args:
        mode: ``live`` lets everything pass.
        command: Returns what to type to record, of an evalset's path and a case's id.
        cache: Makes, when it is first needed, what answers in live mode out of earlier runs.

    Attributes:
        paths: The file of every evalset that has a tape, by name.
    """

    def __init__(
        self,
        mode: Mode,
        command: Callable[[str, str], str],
        cache: Callable[[], Source | None] | None = None,
    ) -> None:
        self.mode: Mode = mode
        self._cache = functools.cache(cache) if mode == "live" and cache is not None else None
        self._command = command
        self._since = time.time()
        self._undo = ExitStack()
        self._tapes: dict[Path, Tape] = {}
        self.paths: dict[str, Path] = {}
        self._built: dict[int, Any] = {}
        self._hooked = False
        if mode == "replay":
            from pytest_rag.replay import keys, sockets

            self._undo.callback(keys.take_out, keys.fill_in())
            self._undo.push(sockets.refusing())

    def tape(self, name: str, path: Path) -> Tape | None:
        """Return an evalset's way to its models; None where everything may pass.

        Args:
            name: Of the evalset.
            path: Its file.
        """
        if self.mode == "live" and (self._cache is None or self._cache() is None):
            return None
        self._hook()
        self.paths[name] = path
        where = cassette_path(path, name)
        if where not in self._tapes:
            self._tapes[where] = Tape(name=name, source=self._source(name, path, where))
        return self._tapes[where]

    def built(self, tape: Tape | None, target: object) -> None:
        """Note whose calls built a pipeline; another evalset that asks it gets them as well."""
        from pytest_rag.replay.sources import Recorder

        if tape is None:
            return
        first = self._built.setdefault(id(target), (target, tape))[1]
        if first is not tape:
            one, other = first.source, tape.source
            if isinstance(one, Recorder) and isinstance(other, Recorder):
                one.share(other)

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
        return [
            f"not cached: the calls of {name}, whose configuration cannot be told"
            for name in untold
        ]

    def let_go(self) -> None:
        """Close the journals, so that they can be merged."""
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

    def _source(self, name: str, path: Path, where: Path) -> Source:
        from pytest_rag.replay.sources import Player, Recorder

        known = None if self._cache is None else self._cache()
        if known is not None:
            return known
        if self.mode == "record":
            return Recorder(where, name)
        return Player(where, partial(self._command, _shown(path)))


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
