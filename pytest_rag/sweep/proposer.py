"""Optuna behind two verbs: ask for values, tell what they came to."""

from __future__ import annotations

import itertools
import random
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_rag.extras import require
from pytest_rag.sweep.space import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType

    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

    from pytest_rag.sweep.plan import Sweep

__all__ = ["Proposer"]

_POPULATION = (8, 50)
_POINTS = 100_000  # of a grid
_ALIKE = 3  # proposals in a row that were made before


class Proposer:
    """Proposes values of the knobs; the same sweep told the same proposes the same.

    Nothing is stored: whoever goes on with a sweep asks anew and tells what is on record.

    Args:
        sweep: With knobs, sampler and seed.
        current: Values of the current configuration, to begin with; empty where not all are known.

    Raises:
        MissingExtraError: if Optuna is not installed.
    """

    def __init__(self, sweep: Sweep, current: Mapping[str, Any]) -> None:
        self._optuna = require("optuna", "sweep")
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        self._sweep = sweep
        self._space = sweep.space
        self._seen: set[str] = set()
        self._alike = 0
        directions = ["maximize" if o.sign > 0 else "minimize" for o in sweep.objectives]
        with _quiet():
            self._study = self._optuna.create_study(
                sampler=_sampler(self._optuna, sweep), directions=directions
            )
        points = self._space.grid() if _countable(sweep) else None
        self._grid = list(itertools.islice(points or (), _POINTS))
        if sweep.sampler != "grid" or len(self._grid) > sweep.trials:
            random.Random(sweep.seed).shuffle(self._grid)  # noqa: S311 - no secret
        self._begin(current)

    def _begin(self, current: Mapping[str, Any]) -> None:
        """Enqueue the current values, and each knob moved alone where there is room for that."""
        if not self._space.holds(current):
            return
        self._enqueue(current)
        if self._sweep.sampler == "grid" or self._sweep.trials < 3 * len(self._space.knobs) + 1:
            return
        for values in self._space.neighbours(current):
            self._enqueue(values)

    def _enqueue(self, values: Mapping[str, Any]) -> None:
        self._study.enqueue_trial(self._space.told(values))

    @property
    def is_spent(self) -> bool:
        """Whether every point of the space has been proposed."""
        return bool(self._grid) and all(key_of(point) in self._seen for point in self._grid)

    def ask(self) -> tuple[Trial, dict[str, Any]] | None:
        """Return the next proposal, or None where there is none."""
        if self.is_spent:
            return None
        if self._sweep.sampler == "grid" or self._alike >= _ALIKE:
            fresh = next((p for p in self._grid if key_of(p) not in self._seen), None)
            if fresh is not None:
                self._enqueue(fresh)
        with _quiet():
            trial: Trial = self._study.ask()
            values = self._space.suggest(trial)
        key = key_of(values)
        self._alike = self._alike + 1 if key in self._seen else 0
        self._seen.add(key)
        return trial, values

    def tell(
        self,
        trial: Trial,
        values: Sequence[float] | None,
        broken: Mapping[str, float] | None = None,
    ) -> None:
        """Tell what a proposal came to.

        Args:
            trial: Of the proposal.
            values: Of the objectives, or None where it broke.
            broken: By limit, by how much it is broken; 0 or less where it is kept.
        """
        with _quiet():
            for name, excess in (broken or {}).items():
                trial.set_constraint(name, excess)
            if values is None:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, list(values))


def _countable(sweep: Sweep) -> bool:
    """Tell whether the points are few enough to be listed."""
    most = 1
    for knob in sweep.space.knobs:
        values = knob.values()
        if values is None:
            return False
        most *= len(values)
    return sweep.sampler == "grid" or most <= 10_000


def _sampler(optuna: ModuleType, sweep: Sweep) -> BaseSampler:
    found: BaseSampler
    if sweep.sampler == "tpe":
        found = optuna.samplers.TPESampler(
            seed=sweep.seed, n_startup_trials=max(5, min(10, sweep.trials // 4))
        )
    elif sweep.sampler == "nsga2":
        low, high = _POPULATION
        size = max(low, min(high, sweep.trials // 5))
        found = optuna.samplers.NSGAIISampler(seed=sweep.seed, population_size=size)
    else:
        found = optuna.samplers.RandomSampler(seed=sweep.seed)
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's notes on its own future to itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"optuna\..*")
        for category in (FutureWarning, UserWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        yield
