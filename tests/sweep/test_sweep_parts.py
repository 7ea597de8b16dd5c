"""The parts of a sweep by themselves: split, stopping, importance, space, the file's edit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from pytest_rag import evalset as evalsets
from pytest_rag.errors import EvalSetError, UsageError
from pytest_rag.evalset.paramsfile import merged
from pytest_rag.records import Result
from pytest_rag.sweep import apply, load, params_file, sweep_schema
from pytest_rag.sweep.importance import explained
from pytest_rag.sweep.plan import Objective
from pytest_rag.sweep.race import is_beaten, looks
from pytest_rag.sweep.space import Knob, Space
from pytest_rag.sweep.split import split
from pytest_rag.types import Case

ROOT = Path(__file__).resolve().parents[2]


def cases(n, *tags):
    """Return cases with these tags in turn."""
    return [Case(id=f"c{i}", query="?", tags=(tags[i % len(tags)],)) for i in range(n)]


def test_every_kind_has_its_share_in_both_parts():
    """Of 30, 30 and 30 cases of a kind a third is held out of each, and it depends on the seed."""
    of = cases(90, "hr", "it", "law")
    parts = split(of, holdout=1 / 3, seed=3)
    kinds = [Counter(case.tags[0] for case in part) for part in parts]
    assert set(kinds[1].values()) <= {9, 10, 11}
    assert sorted(case.id for part in parts for case in part) == sorted(case.id for case in of)
    assert parts == split(of, holdout=1 / 3, seed=3)
    assert parts.heldout != split(of, holdout=1 / 3, seed=4).heldout


def test_too_few_cases_are_refused():
    """A part of fewer than five decides nothing; it says what would do."""
    with pytest.raises(UsageError, match=r"needs 10 cases or more, .* here are 9. Write more"):
        split(cases(9, "a"), holdout=0.4, seed=0)
    with pytest.raises(UsageError, match=r"'holdout: 0.01' leaves .* 'holdout: 0.5'"):
        split(cases(60, "a"), holdout=0.01, seed=0)
    for n in (10, 11):
        assert min(map(len, split(cases(n, "a"), holdout=0.5, seed=n))) >= 5


def test_looks_grow():
    """12, 19, 31, … and all; a small set is looked at once."""
    assert looks(180) == [12, 19, 31, 49, 79, 126, 180]
    assert looks(12) == [12]
    assert looks(60) == [12, 19, 31, 60]


# --- stopping -----------------------------------------------------------------------------------


class _Sweep:
    """What stopping asks of a sweep."""

    prune = 0.05
    objectives = (Objective(name="m", metric="m"),)
    primary = objectives[0]


def results(values):
    """Return a result a value."""
    return [
        Result(evalset="e", case=f"c{i}", outcome="passed", query="?", scores={"m": {"value": v}})
        for i, v in enumerate(values)
    ]


def test_what_is_as_good_is_rarely_stopped():
    """Of 300 candidates as good as the best, at most 5 % and what chance adds are stopped."""
    rng = np.random.default_rng(7)
    at = looks(80)
    stopped = 0
    for _ in range(300):
        mine, theirs = rng.random((2, 80)).round(2)
        rival = results(theirs)
        every = results(mine)
        stopped += any(is_beaten(_Sweep, every[:n], [rival], len(at) - 1) for n in at[:-1])
    assert stopped / 300 <= 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5


def test_what_is_much_worse_is_stopped_at_once():
    """Twelve falls of twelve are enough; twelve that did not fall are not."""
    good, bad = results([1.0] * 40), results([0.0] * 40)
    assert is_beaten(_Sweep, bad[:12], [good], 4)
    assert not is_beaten(_Sweep, good[:12], [bad], 4)
    assert not is_beaten(_Sweep, good[:12], [good], 4)


# --- importance ---------------------------------------------------------------------------------


def test_the_share_that_groups_explain():
    """By hand: of (1, 3) and (5, 7) 16 of 20 lie between, less 2 that chance gives: 0.7."""
    values = [1.0, 3.0, 5.0, 7.0]
    assert explained([[1.0, 3.0], [5.0, 7.0]], values) == pytest.approx((16 - 2) / 20)
    assert explained([[1.0, 7.0], [3.0, 5.0]], values) == 0.0
    assert explained([values], values) == 0.0
    assert explained([[1.0], [1.0]], [1.0, 1.0]) == 0.0


# --- the space ----------------------------------------------------------------------------------

SPACE = Space(
    (
        Knob(name="kind", choices=("a", "b")),
        Knob(name="weight", low=0.1, high=0.5, step=0.2, when={"kind": ("b",)}),
        Knob(name="k", low=1, high=3, step=1),
    )
)


def test_a_grid_has_each_point_once():
    """Three with `a`, nine with `b`, whose weight is then in use."""
    points = list(SPACE.grid())
    assert len(points) == 12
    assert {"kind": "a", "k": 1} in points
    assert {"kind": "b", "weight": 0.3, "k": 3} in points


def test_a_knob_out_of_use_is_no_part_of_a_point():
    """And a point without one that is in use is none."""
    assert SPACE.used({"kind": "a", "weight": 0.1, "k": 2}) == {"kind": "a", "k": 2}
    assert SPACE.holds({"kind": "a", "k": 2})
    assert not SPACE.holds({"kind": "b", "k": 2})
    assert not SPACE.holds({"kind": "b", "weight": 0.2, "k": 2})
    assert not SPACE.holds({"kind": "a", "k": True})


def test_neighbours_move_one_knob():
    """The farther end of a range, the next choice; what came out of use is left out."""
    moved = list(SPACE.neighbours({"kind": "b", "weight": 0.1, "k": 2}))
    assert {"kind": "a", "k": 2} in moved
    assert {"kind": "b", "weight": 0.5, "k": 2} in moved
    assert [point for point in moved if point["k"] != 2] == [{"kind": "b", "weight": 0.1, "k": 1}]


# --- parameters in a file -----------------------------------------------------------------------

CASE = "cases: [{id: a, query: b}]\n"
ENGINE = "engine:build"
EDITS = {
    "a word": (f"pipeline: {ENGINE}  # ours\n", f"pipeline: {{factory: {ENGINE}, @}}  # ours\n"),
    "quoted": (
        f'pipeline: "{ENGINE}"\n',
        f'pipeline: {{factory: "{ENGINE}", @}}\n',
    ),
    "flow": (
        f"pipeline: {{factory: {ENGINE}, params: {{k: 1}}}}\n",
        f"pipeline: {{@, factory: {ENGINE}, params: {{k: 1}}}}\n",
    ),
    "block": (
        f"pipeline:\n  # ours\n  factory: {ENGINE}\n  params:\n    k: 1 # one\n",
        f"pipeline:\n  # ours\n  @\n  factory: {ENGINE}\n  params:\n    k: 1 # one\n",
    ),
    "windows": (
        f"pipeline:\r\n  factory: {ENGINE}\r\n",
        f"pipeline:\r\n  @\r\n  factory: {ENGINE}\r\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), EDITS.values(), ids=EDITS)
def test_the_evalset_names_the_file_and_is_else_as_it_was(tmp_path, before, after):
    """Comments, quotes and line ends stay, whichever way the pipeline is written."""
    path = tmp_path / "e.rag.yaml"
    path.write_bytes((before + CASE).encode())
    file = tmp_path / "e.sweep.yaml"
    file.write_text("evalset: e.rag.yaml\nobjectives: RR\nparams: {k: [1, 2]}\n")
    sweep = load(file)
    apply(sweep, {"k": 2})
    now = path.read_bytes().decode()
    assert now == after.replace("@", "params_from: e.params.json") + CASE
    found = evalsets.load(path)
    assert found.pipeline.params["k"] == 2
    again = load(file)
    apply(again, {"k": 1})
    assert path.read_bytes().decode() == now
    assert evalsets.load(path).pipeline.params["k"] == 1
    assert params_file(again) == tmp_path / "e.params.json"


def test_a_missing_file_of_parameters_is_told_with_its_place(tmp_path):
    """And so is one that is no JSON object."""
    path = tmp_path / "e.rag.yaml"
    path.write_text(f"pipeline: {{factory: '{ENGINE}', params_from: p.json}}\n{CASE}")
    with pytest.raises(EvalSetError, match=r"rag.yaml:1:50: There is no file .*p.json"):
        evalsets.load(path)
    (tmp_path / "p.json").write_text("[1]")
    with pytest.raises(EvalSetError, match="must hold a JSON object"):
        evalsets.load(path)


def test_a_name_with_dots_goes_into_its_mapping():
    """Unless there is a parameter of the very name."""
    base = {"retriever": {"top_k": 5, "kind": "bm25"}, "a.b": 1}
    now = merged(base, {"retriever.top_k": 9, "a.b": 2, "c.d": 3})
    assert now == {"retriever": {"top_k": 9, "kind": "bm25"}, "a.b": 2, "c.d": 3}
    assert base["retriever"]["top_k"] == 5


# --- the format ---------------------------------------------------------------------------------

WRONG = {
    "no step in a grid": ("sampler: grid\nparams: {top_k: {min: 0.5, max: 2.5}}", "needs a 'step'"),
    "a range upside down": ("params: {top_k: {min: 5, max: 2}}", "min 5 is not below max 2"),
    "a value twice": ("params: {top_k: [5, 5]}", "names 5 twice"),
    "no such value": ("params: {retriever: [bm25, densee]}", "Did you mean 'dense'?"),
    "no such parameter": ("params: {topk: [5]}", "Did you mean 'top_k'?"),
    "an unknown condition": ("params: {top_k: {choices: [5], when: {retr: a}}}", "no key of"),
    "one objective for nsga2": ("sampler: nsga2\nparams: {top_k: [5]}", "several objectives"),
    "an unknown limit": ("limits: {nDGC@10: 0.5}\nparams: {top_k: [5]}", "Did you mean 'nDCG@10'"),
    "log from 0": ("params: {top_k: {min: 0, max: 9, log: true}}", "must be above 0"),
    "prune of 1": ("prune: 1\nparams: {top_k: [5]}", "must lie between 0 and 0.5, or be false"),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said(tmp_path, text, said):
    """With its place in the file."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a.md").write_text("five")
    (tmp_path / "e.rag.yaml").write_text(f"pipeline: {{local: {{corpus: c}}}}\n{CASE}")
    file = tmp_path / "e.sweep.yaml"
    file.write_text(f"evalset: e.rag.yaml\nobjectives: RR\n{text}\n")
    with pytest.raises(EvalSetError) as error:
        load(file)
    assert said in str(error.value)
    assert "e.sweep.yaml:" in str(error.value)


def test_the_example_follows_the_schema():
    """What the loader takes, the editor takes."""
    example = ROOT / "evalsets" / "handbook.sweep.yaml"
    jsonschema.validate(yaml.safe_load(example.read_text()), sweep_schema())
    sweep = load(example)
    assert sweep.name == "handbook"
    assert sweep.space.size() > 100
