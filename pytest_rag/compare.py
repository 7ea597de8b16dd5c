"""What was accepted and what was measured → a verdict for every gated metric, with its evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pytest_rag import changes as case_changes
from pytest_rag import stats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy import float64
    from numpy.typing import NDArray

    from pytest_rag.baseline import Baseline, Measured
    from pytest_rag.changes import CaseChange
    from pytest_rag.types import GateLimit

    Floats = NDArray[float64]

__all__ = ["Comparison", "MetricVerdict", "Verdict", "compare"]

Verdict = Literal["regressed", "possible", "unchanged", "improved", "undecided", "not comparable"]

_TOLERANCE = 1.5e-6  # two scores that are stored with six digits
_PASSED = "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricVerdict:
    """What the pairs say of one gated metric.

    Attributes:
        metric: Its name.
        verdict: One of six words.
        max_drop: The fall that is tolerated.
        base: Mean of the paired cases before, or None.
        head: Mean of the same cases now, or None.
        change: How much better it became; below 0 is worse, whatever the metric's direction.
        pairs: Cases with a value on both sides, and the same question and gold.
        worse: How many of them fell.
        better: How many of them rose.
        p: Holm-adjusted chance of such a fall where nothing changed; None in the deterministic
            lane.
        detects: The smallest drop that these pairs show 80 % of the time; 0 in the deterministic
            lane, None where it cannot be told.
        needed: Cases that would decide, where the verdict is ``undecided``.
        reason: Why it is not comparable, or refused; None where there is nothing to add.
        refused: Whether the limit cannot be held at all, which is red: a value is missing, or
            ``max_drop`` lies under the noise of unchanged code.
    """

    metric: str
    verdict: Verdict
    max_drop: float
    base: float | None = None
    head: float | None = None
    change: float | None = None
    pairs: int = 0
    worse: int = 0
    better: int = 0
    p: float | None = None
    detects: float | None = None
    needed: int | None = None
    reason: str | None = None
    refused: bool = False

    @property
    def bad(self) -> bool:
        """Whether it turns the build red."""
        return self.verdict == "regressed" or self.refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An evalset held against what was accepted of it.

    Attributes:
        evalset: Its name.
        bar: What it was held against, in words: a path, or a commit.
        deterministic: Whether both sides answer the same every time, so that no test is needed.
        metrics: A verdict for each gated metric, in the order of the gate.
        changes: Cases that moved: hard breaks first, then by the size of the fall; the first 200.
        moved: How many cases moved.
        broke: Cases that passed every run before and fail every run now.
        unlabelled: Cases whose gold is no longer in the index: the label broke, not the ranker.
        unmeasured: Accepted cases that broke in this run.
        removed: Accepted cases that the evalset no longer declares.
        added: Cases measured that were never accepted.
        edited: Cases whose question, reference or gold changed; they are in no pair.
        weakened: Limits that became weaker or went away, in words.
        notes: What else a reviewer must know, in whole sentences.
    """

    evalset: str
    bar: str
    deterministic: bool
    metrics: tuple[MetricVerdict, ...] = ()
    changes: tuple[CaseChange, ...] = ()
    moved: int = 0
    broke: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    weakened: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def bad(self) -> bool:
        """Whether the build must be red."""
        lost = self.broke or self.unlabelled or self.unmeasured
        return bool(lost) or any(each.bad for each in self.metrics)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return what makes it red, a few words each."""
        lost = (
            ("failing that passed before", self.broke),
            ("whose gold left the index", self.unlabelled),
            ("that could not be measured", self.unmeasured),
        )
        cases = (f"{len(ids)} case{'s' * (len(ids) > 1)} {why}" for why, ids in lost if ids)
        metrics = (
            f"{each.metric} {each.verdict if not each.refused else 'cannot be held'}"
            for each in self.metrics
            if each.bad
        )
        return (*metrics, *cases)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON, for the record."""
        return {**asdict(self), "regressed": self.bad}


def compare(
    base: Baseline,
    head: Measured,
    gate: Sequence[GateLimit],
    *,
    alpha: float = 0.05,
    declared: Sequence[str] | None = None,
    bar: str = "the baseline",
    before: Mapping[str, Floats] | None = None,
) -> Comparison:
    """Compare what a run measured with what was accepted.

    Args:
        base: What was accepted.
        head: What the run measured.
        gate: Limits on the whole; those with ``max_drop`` are compared.
        alpha: Chance of a false alarm over all metrics together.
        declared: Every case of the evalset, so that one that was not run is not called removed;
            None where that is not known, and nothing is.
        bar: What ``base`` is, in words.
        before: Milliseconds by stage of the base's cases, where they are known.
    """
    now = head.baseline
    shared = _Shared.of(base, now)
    gated = [limit for limit in gate if limit.max_drop is not None]
    pairs = [_pair(limit, shared, head) for limit in gated]
    deterministic = base.deterministic and now.deterministic
    moved = case_changes.find(shared.both, base, head, [p.column for p in pairs], before)
    accepted, measured = set(base.cases), set(now.cases)
    known = accepted if declared is None else set(declared)
    return Comparison(
        evalset=now.evalset,
        bar=bar,
        deterministic=deterministic,
        metrics=tuple(_decide(pairs, alpha, deterministic=deterministic)),
        changes=tuple(moved.first),
        moved=moved.count,
        broke=moved.broke,
        unlabelled=shared.unlabelled,
        unmeasured=tuple(case for case in head.errors if case in accepted),
        removed=tuple(sorted(accepted - known - measured)),
        added=tuple(sorted(measured - accepted)),
        edited=shared.edited,
        weakened=tuple(case_changes.weakened(base, now, shared.both)),
        notes=tuple(case_changes.notes(base, now)),
    )


# --- which cases may be compared ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """Places of the cases both sides have, and of those whose scores may be compared."""

    base: Baseline
    head: Baseline
    both: list[tuple[int, int]]
    pairs: NDArray[Any]  # shape (pairs, 2)
    edited: tuple[str, ...]
    unlabelled: tuple[str, ...]

    @classmethod
    def of(cls, base: Baseline, head: Baseline) -> _Shared:
        """Pair the cases by id; leave out those that ask or want something else now."""
        import numpy as np

        places = {case: place for place, case in enumerate(base.cases)}
        both = [(places[case], now) for now, case in enumerate(head.cases) if case in places]
        edited, unlabelled, pairs = [], [], []
        for was, now in both:
            if base.asked[was] != head.asked[now]:
                edited.append(head.cases[now])
            elif _lost_label(base.seen[was], head.seen[now]):
                unlabelled.append(head.cases[now])
            else:
                pairs.append((was, now))
        return cls(
            base=base,
            head=head,
            both=both,
            pairs=np.array(pairs, dtype=np.intp).reshape(-1, 2),
            edited=tuple(edited),
            unlabelled=tuple(unlabelled),
        )


def _lost_label(was: str, now: str) -> bool:
    """Tell whether the index no longer holds a gold document that it held before."""
    if '"unindexed"' not in now:
        return False
    import json

    return bool(set(json.loads(now)["unindexed"]).difference(json.loads(was).get("unindexed", ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """The paired cases of one gated metric, before anything is decided."""

    limit: GateLimit
    column: tuple[str, float]  # the metric, and 1 where more is better, else -1
    base: Floats
    head: Floats
    noise: float
    not_comparable: str | None = None
    refused: str | None = None

    @property
    def changes(self) -> Floats:
        """How much better each case became, in the metric's own direction."""
        import numpy as np

        changes = self.column[1] * (self.head - self.base)
        return np.where(np.abs(changes) > _TOLERANCE, changes, 0.0)


def _pair(limit: GateLimit, shared: _Shared, head: Measured) -> _Pairs:
    import numpy as np

    name = limit.metric
    was = _column(shared.base, name)[shared.pairs[:, 0]]
    now = _column(shared.head, name)[shared.pairs[:, 1]]
    both = ~np.isnan(was) & ~np.isnan(now)
    versions = [side.versions.get(name) for side in (shared.base, shared.head)]
    lost = head.missing.get(name, frozenset())
    there = [shared.head.cases[place] for place in shared.pairs[~np.isnan(was), 1]]
    missing = [case for case in there if case in lost]
    reason = None
    if versions[0] != versions[1] and both.any():
        reason = f"its definition changed: version {versions[0]}, now {versions[1]}"
    elif not both.any():
        reason = "no case has a value on both sides"
    floor = shared.base.noise.get(name, 0.0)
    return _Pairs(
        limit=limit,
        column=(name, 1.0 if case_changes.more_is_better(name, shared.head.gate) else -1.0),
        base=was[both],
        head=now[both],
        noise=floor,
        not_comparable=reason,
        refused=_refusal(limit, missing, floor),
    )


def _refusal(limit: GateLimit, missing: Sequence[str], floor: float) -> str | None:
    """Return why a limit cannot be held at all, or None."""
    if missing:
        first = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        return f"{len(missing)} accepted cases have no value now: {first}"
    if floor > (limit.max_drop or 0.0) + _TOLERANCE:
        return (
            f"max_drop {limit.max_drop:g} lies under the noise of unchanged code, {floor:.3g}: "
            f"write max_drop: {floor:.2g} or more, or raise `repeat` and measure it anew with "
            "pytest-rag aa"
        )
    return None


def _column(side: Baseline, name: str) -> Floats:
    import numpy as np

    if name == _PASSED:
        return np.asarray(side.passed / np.maximum(side.runs, 1), dtype=np.float64)
    found = side.scores.get(name)
    return np.full(len(side), np.nan) if found is None else found


# --- the verdict --------------------------------------------------------------------------------


def _decide(
    pairs: Sequence[_Pairs], alpha: float, *, deterministic: bool
) -> Iterator[MetricVerdict]:
    """Yield a verdict for each metric; the tests of all of them share ``alpha`` (Holm 1979)."""
    usable = [each for each in pairs if each.not_comparable is None]
    level = alpha / max(1, len(usable))  # Holm's first step
    changes = [each.changes for each in usable]
    falls = iter([] if deterministic else stats.holm([_p(c) for c in changes]))
    rises = iter([] if deterministic else stats.holm([_p(-c) for c in changes]))
    for each in pairs:
        if each.not_comparable is not None:
            yield _verdict(each, "not comparable", {})
        elif deterministic:
            yield _exactly(each)
        else:
            yield _by_evidence(each, next(falls), next(rises), alpha, level)


def _p(changes: Floats) -> float:
    """Return the p-value of a fall; 1 where the mean did not fall, whose p is ½ or more."""
    return stats.sign_flip_test(changes) if changes.sum() < 0 else 1.0


def _exactly(pairs: _Pairs) -> MetricVerdict:
    """Judge a pipeline that answers the same every time: any change is real; its size decides."""
    change = float(pairs.changes.mean())
    verdict: Verdict = "unchanged"
    if -change > _allowed(pairs):
        verdict = "regressed"
    elif change < -_TOLERANCE:
        verdict = "possible"
    elif change > _TOLERANCE:
        verdict = "improved"
    return _verdict(pairs, verdict, {"detects": 0.0})


def _by_evidence(
    pairs: _Pairs, fall: float, rise: float, alpha: float, level: float
) -> MetricVerdict:
    """Judge by a one-sided sign-flip test, and by size."""
    changes = pairs.changes
    drop, spread = -float(changes.mean()), stats.spread(changes)
    verdict: Verdict = "unchanged"
    found: dict[str, Any] = {"p": fall}
    if spread:
        found["detects"] = stats.smallest_drop(spread, len(changes), alpha=level)
    if fall <= alpha:
        verdict = "regressed" if drop > _allowed(pairs) else "possible"
    elif rise <= alpha:
        verdict = "improved"
    elif drop > _allowed(pairs):
        verdict = "undecided"
        enough = stats.cases_needed(drop, spread, alpha=level) if spread else 0
        found["needed"] = max(enough, stats.fewest_cases(level), len(changes) + 1)
    return _verdict(pairs, verdict, found)


def _allowed(pairs: _Pairs) -> float:
    return (pairs.limit.max_drop or 0.0) + _TOLERANCE


def _verdict(pairs: _Pairs, verdict: Verdict, found: dict[str, Any]) -> MetricVerdict:
    if len(pairs.base) and verdict != "not comparable":
        changes = pairs.changes
        found = {
            **found,
            "base": float(pairs.base.mean()),
            "head": float(pairs.head.mean()),
            "change": float(changes.mean()),
            "pairs": len(changes),
            "worse": int((changes < 0).sum()),
            "better": int((changes > 0).sum()),
        }
    return MetricVerdict(
        metric=pairs.limit.metric,
        verdict=verdict,
        max_drop=pairs.limit.max_drop or 0.0,
        reason=pairs.refused or pairs.not_comparable,
        refused=pairs.refused is not None,
        **found,
    )
