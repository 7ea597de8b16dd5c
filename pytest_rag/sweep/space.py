"""The knobs of a sweep: what values each takes, and when it is in use."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from optuna.trial import Trial

__all__ = ["Knob", "Space", "key_of", "label"]

_MOST = 20_000  # points that are counted


def label(value: Any) -> str:
    """Return a value as people read it, one text for each value that JSON tells apart."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=repr)


def key_of(values: Mapping[str, Any]) -> str:
    """Return what tells one choice of values from all others."""
    return label(dict(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A parameter and the values it may take: a list of them, or a range.

    Attributes:
        name: Of the parameter.
        choices: The values, or None for a range.
        low: The lowest value of a range.
        high: The highest.
        step: Between neighbouring values of a range; None where any value will do.
        log: Whether a range is searched by its logarithm.
        when: By another knob's name, the values of it with which this one is in use.
    """

    name: str
    choices: tuple[Any, ...] | None = None
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether a range holds whole numbers alone."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def is_used(self, values: Mapping[str, Any]) -> bool:
        """Tell whether the knob is in use beside these values of those before it."""
        return all(
            name in values and label(values[name]) in map(label, allowed)
            for name, allowed in self.when.items()
        )

    def holds(self, value: Any) -> bool:
        """Tell whether a value is one that the knob takes."""
        if self.choices is not None:
            return label(value) in map(label, self.choices)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0
        return abs(steps - round(steps)) < 1e-9 and not (self.whole and value != int(value))

    def values(self) -> list[Any] | None:
        """Return every value, or None where they cannot be counted."""
        if self.choices is not None:
            return list(self.choices)
        if self.step is None:
            return None
        count = int((self.high - self.low) / self.step + 1e-9) + 1
        found = (self.low + self.step * number for number in range(count))
        return list(found if self.whole else (round(value, 10) for value in found))

    def other(self, value: Any) -> Any:
        """Return a value far from this one: the farther end of a range, or the next choice."""
        if self.choices is None:
            ends = (self.low, self.high if self.step is None else (self.values() or [0])[-1])
            return max(ends, key=lambda end: abs(end - value))
        labels = [label(choice) for choice in self.choices]
        return self.choices[(labels.index(label(value)) + 1) % len(labels)]

    def suggest(self, trial: Trial) -> Any:
        """Let a sampler choose a value."""
        if self.choices is not None:
            labels = [label(choice) for choice in self.choices]
            return self.choices[labels.index(str(trial.suggest_categorical(self.name, labels)))]
        if self.whole:
            step = 1 if self.log else int(self.step or 1)
            return trial.suggest_int(
                self.name, int(self.low), int(self.high), step=step, log=self.log
            )
        step_of = None if self.log else self.step
        found = trial.suggest_float(self.name, self.low, self.high, step=step_of, log=self.log)
        return round(found, 10)

    def told(self, value: Any) -> Any:
        """Return a value as a sampler knows it."""
        return value if self.choices is None else label(value)


@dataclass(frozen=True, slots=True)
class Space:
    """All knobs, each behind those that its ``when`` names."""

    knobs: tuple[Knob, ...]

    def used(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the knobs that are in use."""
        found: dict[str, Any] = {}
        for knob in self.knobs:
            if knob.name in values and knob.is_used(found):
                found[knob.name] = values[knob.name]
        return found

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Let a sampler choose values of the knobs that are in use."""
        found: dict[str, Any] = {}
        for knob in self.knobs:
            if knob.is_used(found):
                found[knob.name] = knob.suggest(trial)
        return found

    def told(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values as a sampler knows them."""
        return {
            knob.name: knob.told(values[knob.name]) for knob in self.knobs if knob.name in values
        }

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Tell whether these are values that a sampler could choose."""
        used = self.used(values)
        needed = [knob for knob in self.knobs if knob.is_used(used)]
        return all(k.name in values and k.holds(values[k.name]) for k in needed)

    def size(self) -> int | None:
        """Return how many points there are; None where a range has no step, or they are many."""
        grid = self.grid()
        found = _MOST if grid is None else sum(1 for _ in itertools.islice(grid, _MOST))
        return None if found == _MOST else found

    def grid(self) -> Iterator[dict[str, Any]] | None:
        """Return every point, each once; None where a range has no step."""
        columns = [knob.values() for knob in self.knobs]
        listed = [column for column in columns if column is not None]
        return self._points(listed) if len(listed) == len(columns) else None

    def _points(self, columns: Sequence[Sequence[Any]]) -> Iterator[dict[str, Any]]:
        seen = set()
        names = [knob.name for knob in self.knobs]
        for point in itertools.product(*columns):
            used = self.used(dict(zip(names, point, strict=True)))
            if (key := key_of(used)) not in seen:
                seen.add(key)
                yield used

    def neighbours(self, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield, for each knob in use, the values with that one alone moved far."""
        for knob in self.knobs:
            if knob.name in values:
                moved = self.used({**values, knob.name: knob.other(values[knob.name])})
                if self.holds(moved):
                    yield moved
