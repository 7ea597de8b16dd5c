"""Where a comparison is easily wrong: zeros, one pair, rounding, ties, uneven repeats."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pytest_rag.baseline import Baseline, Measured
from pytest_rag.compare import compare
from pytest_rag.types import GateLimit


def side(scores, *, runs=1, deterministic=False, **more) -> Baseline:
    """Return a side with one metric, ``m``."""
    n = len(scores)
    return Baseline(
        evalset="e",
        cases=[f"c{i:06}" for i in range(n)],
        runs=np.full(n, runs),
        passed=np.full(n, runs),
        scores={"m": np.round(np.array(scores, dtype=float), 6)},
        asked=['{"fingerprint": "f", "gold": {}}'] * n,
        limits=["{}"] * n,
        seen=more.pop("seen", ["{}"] * n),
        versions={"m": "1"},
        deterministic=deterministic,
        **more,
    )


def only(before, now, *, max_drop=0.0, **more):
    """Return the verdict on ``m``, and the comparison."""
    limit = GateLimit(metric="m", max_drop=max_drop)
    found = compare(before, Measured(baseline=now), [limit], **more)
    return found.metrics[0], found


def test_nothing_differs() -> None:
    """Equal scores are unchanged, with no evidence of anything."""
    each, found = only(side([0.5] * 30), side([0.5] * 30))
    assert (each.verdict, each.p, each.worse, found.moved) == ("unchanged", 1.0, 0, 0)


@pytest.mark.parametrize(
    ("pairs", "verdict"), [(1, "undecided"), (4, "undecided"), (5, "regressed")]
)
def test_few_pairs_cannot_be_evidence(pairs: int, verdict: str) -> None:
    """Under five pairs no fall reaches alpha 0.05; it is told how many would."""
    each, _ = only(side([1.0] * pairs), side([0.4] * pairs))
    assert each.verdict == verdict
    assert (each.needed is None) == (verdict == "regressed")


def test_one_case_of_many_counts_where_nothing_is_left_to_chance() -> None:
    """A deterministic fall of one case in 100,000 is a fall, and no allowance hides it."""
    before = np.full(100_000, 0.9)
    now = before.copy()
    now[7] = 0.8
    both = [side(scores, deterministic=True) for scores in (before, now)]
    each, _ = only(*both)
    assert (each.verdict, each.worse) == ("regressed", 1)
    assert only(*both, max_drop=0.01)[0].verdict == "possible"


def test_a_fall_of_just_max_drop_is_tolerated() -> None:
    """Six digits of a third do not make a fall larger than the limit."""
    before, now = ([2 / 3] * 3, [1 / 3, 2 / 3, 2 / 3])
    both = [side(scores, deterministic=True) for scores in (before, now)]
    assert only(*both, max_drop=1 / 9)[0].verdict == "possible"


def test_rounding_breaks_no_tie() -> None:
    """Thirds fall and rise by one size, though six digits say 0.333333 and 0.333334."""
    falls, rises = [(2 / 3, 1 / 3)] * 7, [(1 / 3, 2 / 3), (2 / 3, 1)] * 1
    before, now = zip(*falls, *rises, strict=True)
    each, _ = only(side(before), side(now))
    whole, _ = only(side([1.0] * 7 + [0.0] * 2), side([0.0] * 7 + [1.0] * 2))
    assert each.p == pytest.approx(whole.p)  # 46 of 512 patterns
    assert each.p == pytest.approx(46 / 512)


def test_a_metric_that_is_no_longer_computed_passes_no_limit() -> None:
    """Values before and none now is red; in a part of the cases it is not."""
    gone = side([np.nan] * 6)
    each, found = only(side([0.5] * 6), gone)
    assert (each.verdict, each.refused, found.bad) == ("not comparable", True, True)
    part, _ = only(side([0.5] * 6), gone, declared=[*gone.cases, "another"])
    assert (part.verdict, part.refused) == ("not comparable", False)
    new, _ = only(gone, side([0.5] * 6))
    assert (new.verdict, new.refused) == ("not comparable", False)


def test_less_is_better_where_the_metric_says_so() -> None:
    """A rise of an error rate is a fall in quality."""
    gate = {"m.mean": {"max_drop": 0.0, "lower_is_better": True}}
    each, _ = only(side([0.1] * 8, gate=gate), side([0.4] * 8, gate=gate))
    assert (each.verdict, each.change) == ("regressed", pytest.approx(-0.3))


def test_uneven_repeats_are_told_and_tested_with_care() -> None:
    """One run before and five now: chance is lopsided, and the verdict says so."""
    before, now = [1.0] * 92 + [0.0] * 8, [0.8] * 80 + [1.0] * 20
    each, found = only(side(before), side(now, runs=5))
    alike, _ = only(side(before), side(now))
    assert each.p > alike.p
    assert any("5 times now" in note for note in found.notes)


def test_tokens_alone_move_no_case() -> None:
    """A language model's count of tokens differs every time; that is no change of a case."""
    seen = [[json.dumps({"tokens": {"input": n}})] * 6 for n in (10, 11)]
    _, found = only(side([0.5] * 6, seen=seen[0]), side([0.5] * 6, seen=seen[1]))
    assert (found.moved, found.changes) == (0, ())


def test_a_weaker_alpha_is_seen() -> None:
    """A smaller chance of a false alarm is a weaker gate."""
    before, now = ({"m.mean": {"max_drop": 0.0}, "alpha": a} for a in (0.05, 0.01))
    _, found = only(side([0.5] * 6, gate=before), side([0.5] * 6, gate=now), alpha=0.01)
    assert found.weakened == ("gate: alpha went from 0.05 to 0.01",)
