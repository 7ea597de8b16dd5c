"""The gate is seldom wrong: simulated runs, the whole table is in docs/gating.md."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).resolve().parents[1] / "simulations/gate.py"
_SPEC = importlib.util.spec_from_file_location("simulated_gate", _SCRIPT)
assert _SPEC is not None
assert _SPEC.loader is not None
gate = sys.modules["simulated_gate"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(gate)

Setting = gate.Setting
AT_MOST = gate.ALPHA + 0.015
FEW = [each for each in gate.SAME if each.cases == 20]
TEXT = {"ids": gate.label}


@pytest.mark.parametrize("setting", FEW, **TEXT)
def test_an_unchanged_system_seldom_turns_red(setting) -> None:
    """Twenty cases, a thousand trials: no more false alarms than asked for."""
    assert gate.simulate(setting, 1000, others=False).ours <= AT_MOST


@pytest.mark.parametrize("setting", [s for s in gate.LOPSIDED if s.cases == 20], **TEXT)
def test_other_repeats_than_before_raise_no_alarms(setting) -> None:
    """One run before and five now, of cases that nearly all pass: few failures prove no fall."""
    assert gate.simulate(setting, 50, others=False).ours <= AT_MOST


def test_fixed_tolerances_cry_wolf() -> None:
    """With a hundred noisy cases a fixed tolerance fails four builds or more where we fail one."""
    found = gate.simulate(Setting(scores="binary", cases=100), 250)
    assert found.ours <= AT_MOST
    assert found.fixed_2 > 4 * AT_MOST
    assert found.fixed_1 > found.fixed_2


def test_repeats_that_count_as_samples_cry_wolf() -> None:
    """What repeats of a case share is no evidence; a gate that pools them takes it for some."""
    found = gate.simulate(Setting(scores="continuous", cases=20, repeats=(5, 5)), 250)
    assert found.pooled > 2 * gate.ALPHA
    assert found.pooled > 1.5 * found.ours


def test_several_metrics_share_one_alpha() -> None:
    """Six gated metrics raise no more false alarms than one."""
    assert gate.simulate(Setting(scores="continuous", cases=20, metrics=6), 120).ours <= AT_MOST


def test_a_real_drop_is_found() -> None:
    """A fall of 0.05 over two hundred continuous scores is found four times of five."""
    assert gate.simulate(gate.WORSE[0], 100, others=False).ours >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("setting", [s for s in gate.SAME if s.cases > 20], **TEXT)
def test_an_unchanged_system_seldom_turns_red_with_more_cases(setting) -> None:
    """A hundred and four hundred cases, a thousand trials each."""
    assert gate.simulate(setting, 1000, others=False).ours <= AT_MOST


@pytest.mark.slow
@pytest.mark.parametrize("setting", [*gate.UNEVEN, *gate.LOPSIDED], **TEXT)
def test_other_repeats_than_before_seldom_turn_it_red(setting) -> None:
    """Whichever side ran more often, a thousand trials each."""
    assert gate.simulate(setting, 1000, others=False).ours <= AT_MOST


@pytest.mark.slow
@pytest.mark.parametrize("setting", gate.WORSE[:2], **TEXT)
def test_a_real_drop_is_found_a_thousand_times(setting) -> None:
    """A fall of 0.05 over two hundred continuous scores is found four times of five."""
    assert gate.simulate(setting, 1000, others=False).ours >= 0.8
