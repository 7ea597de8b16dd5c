"""The search: proposals in a fixed order, a few under way, each held against the best before."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_rag.sweep.measure import Candidate, Tried
from pytest_rag.sweep.race import is_beaten
from pytest_rag.sweep.space import key_of
from pytest_rag.sweep.standing import Standing, estimate, frontier, recommended, standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from optuna.trial import Trial

    from pytest_rag.records import Result
    from pytest_rag.sweep.plan import Sweep
    from pytest_rag.sweep.proposer import Proposer

__all__ = ["LAG", "Search"]

LAG = 4
"""A candidate is proposed knowing all before it but the last few, so that as many may be under
way, and the search is the same whether they are or not."""

_RIVALS = 5
_PROPOSALS = 20  # for each candidate, before a search gives up finding a new one


@dataclass(slots=True, kw_only=True)
class Search:
    """Looks for better values.

    Attributes:
        sweep: What is to be done.
        proposer: Says what to try next.
        measure: Starts the measuring of a candidate.
        tests: Looks at a candidate before the last.
        lag: How many of the candidates before it a proposal does not know.
        told: Called with every candidate once it is decided, and the best so far.
        found: Candidates in the order they were proposed.
        spent: Whether the ceiling ended the search.
    """

    sweep: Sweep
    proposer: Proposer
    measure: Callable[[Candidate, Callable[[Sequence[Result]], bool]], Future[Tried]]
    tests: int
    lag: int = LAG
    told: Callable[[Standing, Standing | None], object] = lambda *_: None
    found: list[Standing] = field(default_factory=list)
    spent: bool = False
    _futures: dict[str, Future[Tried]] = field(default_factory=dict)
    _decided: dict[str, Standing] = field(default_factory=dict)

    def run(self, current: Tried, values: Mapping[str, Any]) -> None:
        """Search from the current configuration.

        Args:
            current: What it came to.
            values: Of its knobs, all of which must be known for it to be a point of the space.
        """
        first = standing(self.sweep, current, current.results)
        self.found.append(first)
        self.told(first, self.best)
        if self.sweep.space.holds(values):
            self._decided[key_of(values)] = first
        waiting: deque[tuple[Trial, str]] = deque()
        for _ in range(_PROPOSALS * self.sweep.trials):
            if len(waiting) >= self.lag:
                self._take(*waiting.popleft())
            if self.spent or self._count >= self.sweep.trials:
                break
            asked = self.proposer.ask()
            if asked is None:
                break
            trial, proposed = asked
            key = key_of(proposed)
            if key not in self._decided and key not in self._futures:
                self._futures[key] = self._start(proposed)
            waiting.append((trial, key))
        while waiting:
            self._take(*waiting.popleft())

    @property
    def best(self) -> Standing | None:
        """The best candidate within the limits so far."""
        return recommended(self.found)

    @property
    def _count(self) -> int:
        return 1 + len(self._futures)

    def _start(self, values: Mapping[str, Any]) -> Future[Tried]:
        candidate = Candidate(
            number=self._count, values=dict(values), spec=self.sweep.with_params(values)
        )
        rivals = [each.tried.results for each in self._rivals()]

        def stops(results: Sequence[Result]) -> bool:
            return is_beaten(self.sweep, results, rivals, self.tests)

        return self.measure(candidate, stops)

    def _rivals(self) -> list[Standing]:
        if len(self.sweep.objectives) > 1:
            return frontier(self.sweep, self.found)[:_RIVALS]
        best = self.best
        return [] if best is None else [best]

    def _take(self, trial: Trial, key: str) -> None:
        """Wait for a candidate and tell the sampler of it."""
        if key not in self._decided:
            now = standing(self.sweep, self._futures[key].result(), self.found[0].tried.results)
            self._decided[key] = now
            self.found.append(now)
            self.spent = self.spent or now.tried.state == "not_run"
            self.told(now, self.best)
        found = self._decided[key]
        self.proposer.tell(trial, estimate(self.sweep, found, self.best), found.excess)
