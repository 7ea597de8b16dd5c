"""How often the gate is wrong, simulated: ``python tests/simulations/gate.py`` prints the table.

Every trial makes two runs of an evalset by the same system, or by one that became worse, and asks
three gates: ours, one that takes repeats for samples of their own, and one that fails on any fall
of the mean beyond a fixed tolerance.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from pytest_rag.baseline import Baseline, Measured
from pytest_rag.compare import compare
from pytest_rag.stats import sign_flip_test
from pytest_rag.types import GateLimit

ALPHA = 0.05
SHIFT = 0.05
_RUN = 0.15  # standard deviation of what differs from repeat to repeat
_SIDE = 0.1  # of what all repeats of a case in one run share, such as the index they asked
_ASKED = json.dumps({"fingerprint": "f", "gold": {}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is simulated.

    Attributes:
        scores: ``binary`` for passes and fails, ``continuous`` for scores from 0 to 1.
        cases: How many.
        repeats: Runs of a case, before and now.
        drop: How much worse the system became; 0 where it is the same.
        metrics: How many gated metrics there are; with a drop, one of them falls.
        level: The score that every run of every case is expected to have; None where cases differ
            in ease, and what a run of all of them shares makes them harder or easier.
    """

    scores: str
    cases: int
    repeats: tuple[int, int] = (1, 1)
    drop: float = 0.0
    metrics: int = 1
    level: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Share of trials in which each gate was red."""

    ours: float
    pooled: float
    fixed_1: float
    fixed_2: float


def runs(setting: Setting, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return base and head: for each metric the scores of all runs, shape ``(cases, repeats)``."""
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for metric in range(setting.metrics):
        # Some questions are hard and most are easy, before and now.
        ease = rng.beta(4, 1.5, (setting.cases, 1))
        for side, repeats in enumerate(setting.repeats):
            shape = (setting.cases, repeats)
            fall = setting.drop if side and not metric else 0.0
            level = np.clip(ease + rng.normal(0, _SIDE, ease.shape), 0, 1) - fall
            if setting.level is not None:
                level = np.full_like(ease, setting.level - fall)
            if setting.scores == "binary":
                drawn = (rng.random(shape) < level).astype(float)
            else:
                drawn = level + rng.normal(0, _RUN, shape)
            sides[side].append(drawn)
    return sides


def side(runs_of: list[np.ndarray]) -> Baseline:
    """Return what would be accepted of these runs."""
    cases, repeats = runs_of[0].shape
    means = {f"m{n}": np.round(of.mean(axis=1), 6) for n, of in enumerate(runs_of)}
    return Baseline(
        evalset="simulated",
        cases=[f"c{n:05}" for n in range(cases)],
        runs=np.full(cases, repeats),
        passed=np.full(cases, repeats),
        scores=means,
        asked=[_ASKED] * cases,
        limits=["{}"] * cases,
        seen=["{}"] * cases,
        versions=dict.fromkeys(means, "1"),
    )


def ours(base: list[np.ndarray], head: list[np.ndarray]) -> bool:
    """Tell whether our gate is red: through ``compare``, with no fall tolerated."""
    limits = [GateLimit(metric=f"m{n}", max_drop=0.0) for n in range(len(base))]
    return compare(side(base), Measured(baseline=side(head)), limits, alpha=ALPHA).bad


def pooled(base: list[np.ndarray], head: list[np.ndarray]) -> bool:
    """Tell whether a gate is red that takes every repeat for a case; each metric at alpha."""
    for before, now in zip(base, head, strict=True):
        repeats = min(before.shape[1], now.shape[1])
        differences = (now[:, :repeats] - before[:, :repeats]).reshape(-1)
        if differences.mean() < 0 and sign_flip_test(differences, resamples=999) <= ALPHA:
            return True
    return False


def fixed(base: list[np.ndarray], head: list[np.ndarray], tolerance: float) -> bool:
    """Tell whether a gate is red that fails where any mean falls by more than a tolerance."""
    falls = (before.mean() - now.mean() for before, now in zip(base, head, strict=True))
    return any(fall > tolerance for fall in falls)


def simulate(setting: Setting, trials: int, *, others: bool = True) -> Shares:
    """Return how often each gate is red.

    Args:
        setting: What is simulated.
        trials: How many pairs of runs; trial i of a setting is the same every time.
        others: Whether the pooled gate is asked too, which takes longest.
    """
    seed = json.dumps([setting.scores, setting.cases, *setting.repeats, setting.drop])
    found = np.zeros(4)
    for trial in range(trials):
        rng = np.random.default_rng([trial, setting.metrics, *seed.encode()])
        base, head = runs(setting, rng)
        found += [
            ours(base, head),
            others and pooled(base, head),
            fixed(base, head, 0.01),
            fixed(base, head, 0.02),
        ]
    share = (found / trials).tolist()
    return Shares(ours=share[0], pooled=share[1], fixed_1=share[2], fixed_2=share[3])


SAME = tuple(
    Setting(scores=scores, cases=cases, repeats=(repeats, repeats))
    for scores in ("binary", "continuous")
    for repeats in (1, 5)
    for cases in (20, 100, 400)
)
SEVERAL = tuple(Setting(scores="continuous", cases=n, metrics=6) for n in (20, 100))
UNEVEN = tuple(
    Setting(scores=scores, cases=cases, repeats=repeats)
    for scores in ("binary", "continuous")
    for repeats in ((1, 5), (5, 1))
    for cases in (20, 100, 400)
)
# Nearly all pass, or nearly none: a single run may well show no other outcome at all.
LOPSIDED = tuple(
    Setting(scores="binary", cases=cases, repeats=repeats, level=level)
    for repeats, levels in (((1, 5), (0.9, 0.99)), ((5, 1), (0.1, 0.01)))
    for level in levels
    for cases in (20, 100)
)
WORSE = (
    Setting(scores="continuous", cases=200, drop=SHIFT),
    Setting(scores="continuous", cases=200, repeats=(5, 5), drop=SHIFT),
    Setting(scores="continuous", cases=200, drop=SHIFT, metrics=6),
    Setting(scores="binary", cases=200, repeats=(5, 5), drop=SHIFT),
    Setting(scores="continuous", cases=400, repeats=(5, 5), drop=0.02),
    Setting(scores="continuous", cases=200, repeats=(1, 5), drop=SHIFT),
    Setting(scores="continuous", cases=200, repeats=(5, 1), drop=SHIFT),
    Setting(scores="binary", cases=200, repeats=(1, 5), drop=0.1),
    Setting(scores="binary", cases=200, repeats=(5, 1), drop=0.1),
)


def label(setting: Setting) -> str:
    """Return a setting in words."""
    before, now = setting.repeats
    repeats = f"{now}" if before == now else f"{before} → {now}"
    metrics = f", {setting.metrics} metrics" if setting.metrics > 1 else ""
    level = f", {setting.level:g} expected" if setting.level is not None else ""
    return f"{setting.scores}{metrics}{level} | {setting.cases} | {repeats}"


def table(settings: tuple[Setting, ...], trials: int) -> None:
    """Print one table as Markdown; two settings at a time."""
    print(
        "| scores | cases | repeats | true drop | ours | pooled repeats | fixed 0.01 | fixed 0.02 |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(2) as pool:
        found = pool.map(simulate, settings, [trials] * len(settings))
        for setting, share in zip(settings, found, strict=True):
            shares = (share.ours, share.pooled, share.fixed_1, share.fixed_2)
            cells = " | ".join(f"{100 * each:.1f} %" for each in shares)
            print(f"| {label(setting)} | {setting.drop:g} | {cells} |", flush=True)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    table(SAME + SEVERAL + UNEVEN + LOPSIDED + WORSE, count)
