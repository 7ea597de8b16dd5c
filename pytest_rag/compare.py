"""What was accepted and what was measured → a verdict for every gated metric, with its evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from pytest_rag import changes as case_changes
from pytest_rag import stats
from pytest_rag.changes import TOLERANCE
from pytest_rag.pairing import Shared, pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy import float64
    from numpy.typing import NDArray

    from pytest_rag.baseline import Baseline, Measured
    from pytest_rag.changes import CaseChange
    from pytest_rag.pairing import Pairs
    from pytest_rag.types import GateLimit

    Floats = NDArray[float64]

__all__ = ["Comparison", "MetricVerdict", "Verdict", "compare"]

Verdict = Literal["regressed", "possible", "unchanged", "improved", "undecided", "not comparable"]


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
        advisory: Why the verdict turns nothing red; None where it does.
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
    advisory: str | None = None

    @property
    def bad(self) -> bool:
        """Whether it turns the build red."""
        return (self.verdict == "regressed" or self.refused) and self.advisory is None


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
        flipped: The same, but in a single run on one side at least, which may be chance.
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
    flipped: tuple[str, ...] = ()
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
    advice: Mapping[str, str] | None = None,
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
        advice: By metric, why it decides nothing; the others share ``alpha`` among themselves.
    """
    now = head.baseline
    shared = Shared.of(base, now)
    gated = [limit for limit in gate if limit.max_drop is not None]
    whole = declared is None or set(declared) <= set(now.cases)
    pairs = [pair(limit, shared, head, whole=whole) for limit in gated]
    deterministic = base.deterministic and now.deterministic
    moved = case_changes.find(
        shared.both,
        base,
        head,
        [each.column for each in pairs],
        before,
        other={*shared.edited, *shared.unlabelled},
    )
    accepted, measured = set(base.cases), set(now.cases)
    known = accepted if declared is None else set(declared)
    return Comparison(
        evalset=now.evalset,
        bar=bar,
        deterministic=deterministic,
        metrics=_all_decided(pairs, alpha, advice or {}, deterministic=deterministic),
        changes=tuple(moved.first),
        moved=moved.count,
        broke=moved.broke,
        flipped=moved.flipped,
        unlabelled=shared.unlabelled,
        unmeasured=tuple(case for case in head.errors if case in accepted),
        removed=tuple(sorted(accepted - known - measured)),
        added=tuple(sorted(measured - accepted)),
        edited=shared.edited,
        weakened=tuple(case_changes.weakened(base, now, shared.both)),
        notes=(
            *case_changes.notes(base, now),
            *_repeats(pairs, shared, deterministic=deterministic),
        ),
    )


# --- the verdict --------------------------------------------------------------------------------


def _all_decided(
    pairs: Sequence[Pairs], alpha: float, advice: Mapping[str, str], *, deterministic: bool
) -> tuple[MetricVerdict, ...]:
    """Return a verdict for each metric; those that decide nothing take no alpha from the others."""
    found: dict[int, MetricVerdict] = {}
    for trusted in (True, False):
        some = [n for n, each in enumerate(pairs) if (each.limit.metric not in advice) is trusted]
        decided = _decide([pairs[n] for n in some], alpha, deterministic=deterministic)
        for n, each in zip(some, decided, strict=True):
            found[n] = replace(each, advisory=advice.get(each.metric))
    return tuple(found[n] for n in range(len(pairs)))


def _decide(
    pairs: Sequence[Pairs], alpha: float, *, deterministic: bool
) -> Iterator[MetricVerdict]:
    """Yield a verdict for each metric; the tests of all of them share ``alpha`` (Holm 1979)."""
    usable = [each for each in pairs if each.not_comparable is None]
    level = alpha / max(1, len(usable))  # Holm's first step
    tested = [] if deterministic else usable
    falls = iter(stats.holm([_p(each, each.column[1]) for each in tested]))
    rises = iter(stats.holm([_p(each, -each.column[1]) for each in tested]))
    for each in pairs:
        if each.not_comparable is not None:
            yield _verdict(each, "not comparable", {})
        elif deterministic:
            yield _exactly(each)
        else:
            yield _by_evidence(each, next(falls), next(rises), alpha, level)


def _p(pairs: Pairs, sign: float) -> float:
    """Return the p-value of a fall, or with the other sign of a rise; 1 where there is none.

    Where the sides ran a case a different number of times, chance is lopsided and signs are no
    coin's.
    """
    if pairs.alike:
        changes = sign * pairs.column[1] * pairs.changes
        # Where the mean did not fall p is ½ or more.
        return 1.0 if changes.sum() >= 0 else stats.sign_flip_test(changes, tie=TOLERANCE)
    values = (pairs.base, pairs.head)
    sides = [stats.Runs(means=of, counts=n) for of, n in zip(values, pairs.runs, strict=True)]
    base, head = sides if sign > 0 else reversed(sides)
    return stats.uneven_test(base, head, tie=TOLERANCE)


def _exactly(pairs: Pairs) -> MetricVerdict:
    """Judge a pipeline that answers the same every time: any change is real; its size decides."""
    change = float(pairs.changes.mean())
    verdict: Verdict = "unchanged"
    if -change > _allowed(pairs):
        verdict = "regressed"
    elif change < -pairs.slack:
        verdict = "possible"
    elif change > pairs.slack:
        verdict = "improved"
    return _verdict(pairs, verdict, {"detects": 0.0})


def _by_evidence(
    pairs: Pairs, fall: float, rise: float, alpha: float, level: float
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


def _allowed(pairs: Pairs) -> float:
    return (pairs.limit.max_drop or 0.0) + pairs.slack


def _verdict(pairs: Pairs, verdict: Verdict, found: dict[str, Any]) -> MetricVerdict:
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


def _repeats(pairs: Sequence[Pairs], shared: Shared, *, deterministic: bool) -> Iterator[str]:
    if deterministic or all(each.alike for each in pairs):
        return
    was, now = (
        side.runs[shared.pairs[:, place]].mean()
        for place, side in enumerate((shared.base, shared.head))
    )
    yield (
        f"A case ran {was:.3g} times before and {now:.3g} times now: chance is lopsided, and it "
        "takes more to tell a fall from it. Run as many repeats as the baseline has, or accept it "
        "anew."
    )
