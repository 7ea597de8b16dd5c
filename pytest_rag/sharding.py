"""Which part of the cases this process runs, so that every shard agrees without talking."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from statistics import median
from typing import TYPE_CHECKING, Self

from pytest_rag.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_rag.records import Result

__all__ = ["Key", "Shard", "times_of"]

Key = tuple[str, str]
"""Evalset and case; of a Python test its file and the rest of its id."""

_FORM = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One part of several.

    Attributes:
        number: From 1.
        count: How many parts there are.
    """

    number: int
    count: int

    def __str__(self) -> str:
        """Return it as it is written: ``1/3``."""
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``i/n``.

        Raises:
            ConfigError: if it is no such pair, or i is greater than n.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None or int(found[1]) > int(found[2]):
            raise ConfigError(f"A shard is i/n with i from 1 to n, such as 1/3, not {text!r}.")
        return cls(number=int(found[1]), count=int(found[2]))

    def share(self, keys: Sequence[Key], times: Mapping[Key, float] | None = None) -> set[Key]:
        """Return the keys of this shard; the shards of all numbers hold each key once.

        The longest goes first, each to the shard that has least to do (Graham 1969); among equals
        a hash decides. Where no time is known this deals them out in turn.

        Args:
            keys: Of all shards, in any order, the same for each.
            times: Milliseconds by key, the same for each; one that is not in it takes the median.
        """
        known = times or {}
        usual = median(known.values()) if known else 1.0
        loads = [(0.0, 0, place) for place in range(self.count)]
        mine = set()
        for key in sorted(set(keys), key=lambda key: (-known.get(key, usual), _hash(key))):
            load, held, place = min(loads)
            loads[place] = (load + known.get(key, usual), held + 1, place)
            if place == self.number - 1:
                mine.add(key)
        return mine


def _hash(key: Key) -> bytes:
    return sha256("\0".join(key).encode("utf-8", "surrogatepass")).digest()


def times_of(results: Iterable[Result]) -> dict[Key, float]:
    """Return the recorded milliseconds of each case, its repeats summed up."""
    times: dict[Key, float] = {}
    for result in results:
        if result.latency_ms is not None:
            key = (result.evalset, result.case)
            times[key] = times.get(key, 0.0) + result.latency_ms
    return times
