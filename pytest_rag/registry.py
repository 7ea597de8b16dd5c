"""Name → object for everything that can be extended, with "did you mean" for what is missing."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Generic, TypeVar

from pytest_rag.errors import ConfigError, message_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

__all__ = ["Registry", "did_you_mean", "nearest"]

T = TypeVar("T")


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice most like ``word``, or None where nothing is near.

    Case is ignored, so ``ndcg@10`` finds ``nDCG@10``.
    """
    folded = {choice.casefold(): choice for choice in choices}
    found = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?``, or the list of choices where nothing is near."""
    choices = sorted(choices)
    found = nearest(word, choices)
    if found is not None:
        return f" Did you mean {found!r}?"
    return f" Choose from: {', '.join(choices)}." if choices else ""


class Registry(Generic[T]):
    """Objects by name: those registered here, then those of an entry-point group.

    Entry points are read on the first miss only, so a name of our own costs no look-up.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._objects: dict[str, T] = {}
        self._entry_points_read = False

    def register(self, name: str, obj: T, *, over: T | None = None) -> T:
        """Make ``obj`` known as ``name`` and return it; a second object of a name is an error.

        Args:
            name: As people write it.
            obj: The object.
            over: The one it may take the place of, or None.

        Raises:
            ConfigError: if the name is taken by another object.
        """
        if over is not None and self._objects.get(name) is over:
            self._objects[name] = obj
        if self._objects.setdefault(name, obj) is not obj:
            raise ConfigError(f"{self.kind} {name!r} is registered twice.")
        return obj

    def known(self, name: str) -> T | None:
        """Return the object of that name if it was registered here; entry points are not read."""
        return self._objects.get(name)

    def find(self, name: str) -> T | None:
        """Return the object of that name, or None."""
        if name not in self._objects:
            self._read_entry_points()
        return self._objects.get(name)

    def get(self, name: str) -> T:
        """Return the object of that name.

        Raises:
            ConfigError: if there is none; names the nearest.
        """
        found = self.find(name)
        if found is None:
            raise ConfigError(f"Unknown {self.kind} {name!r}.{did_you_mean(name, self.names())}")
        return found

    def names(self) -> list[str]:
        """Return every known name, sorted."""
        self._read_entry_points()
        return sorted(self._objects)

    def _read_entry_points(self) -> None:
        if self._entry_points_read:
            return
        from importlib.metadata import entry_points

        self._entry_points_read = True
        for point in entry_points(group=self.group):
            self._objects.setdefault(point.name, self._loaded(point))

    def _loaded(self, point: EntryPoint) -> T:
        try:
            found: T = point.load()
        except Exception as error:
            owner = f" of {point.dist.name}" if point.dist is not None else ""
            raise ConfigError(
                f"{self.kind} {point.name!r}{owner} cannot be loaded from {point.value}: "
                f"{type(error).__name__}: {message_of(error)}"
            ) from error
        return found
