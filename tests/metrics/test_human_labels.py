"""Files of answers that people judged: what is read in them, and what it is taken for."""

from __future__ import annotations

import json

import pytest

from pytest_rag.calibrating import human
from pytest_rag.calibrating.people import people_of


def people(tmp_path, *labels, good=()):
    """Return what is made of labels, each of an answer of its own."""
    path = tmp_path / "human.jsonl"
    rows = [
        {
            "question": f"q{n}",
            "answer": "a",
            **(each if isinstance(each, dict) else {"label": each}),
        }
        for n, each in enumerate(labels)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return people_of(human.read(path), good)


@pytest.mark.parametrize(
    ("labels", "values", "good"),
    [
        ([True, False], (1.0, 0.0), ("True",)),
        ([0, 1, 1.0], (0.0, 1.0, 1.0), ("1", "1.0")),
        (["1", "0"], (1.0, 0.0), ("1",)),
        ([1, 5], (0.0, 1.0), ("5",)),
        ([0, 0], (0.0, 0.0), ()),
        (["Yes", "no ", "YES"], (1.0, 0.0, 1.0), ("YES", "Yes")),
        (["pass", "fail"], (1.0, 0.0), ("pass",)),
        (["Supported", "Not supported", "Other"], (1.0, 0.0, 0.0), ("Supported",)),
        (["helpful", "unhelpful"], (1.0, 0.0), ("helpful",)),
    ],
)
def test_two_labels_are_yes_and_no(tmp_path, labels, values, good):
    """Numbers, words, and a word with its denial; what is neither is not good."""
    found = people(tmp_path, *labels)
    assert (found.kind, found.values, found.good) == ("binary", values, good)


def test_more_labels_are_grades_unless_somebody_says_which_are_good(tmp_path):
    """``--good`` makes a yes of some."""
    found = people(tmp_path, 1, 2, 3, 4.5)
    assert (found.kind, found.values) == ("graded", (1.0, 2.0, 3.0, 4.5))
    found = people(tmp_path, 1, 4, 5, good=["4", "5"])
    assert (found.kind, found.values) == ("binary", (0.0, 1.0, 1.0))
    found = people(tmp_path, "ok", "meh", good=["OK"])
    assert found.values == (1.0, 0.0)


def test_several_annotators_vote(tmp_path):
    """Where they are split the answer is left out; what was agreed on counts before them."""
    found = people(
        tmp_path,
        ["yes", "yes", "no"],
        ["yes", "no"],
        {"human": {"acceptable": "no", "annotators": ["yes", "no"]}},
        {"label": "yes", "annotators": ["yes", "yes"]},
        None,
    )
    assert found.values == (1.0, 0.0, 1.0)
    assert (found.split, found.unlabelled, found.pairs) == (1, 1, 4)
    assert found.among.value == pytest.approx(-1 / 3 + 1 / 3, abs=0.5)
    assert people(tmp_path, [1, 3], [2, 5], [3, 3]).values == (2.0, 3.5, 3.0)


def test_contexts_and_references_are_found_by_many_names(tmp_path):
    """Texts, or objects with a text and an id; keys of one's own by --map, dots inside."""
    path = tmp_path / "h.jsonl"
    row = {
        "user_input": "q", "response": "a", "label": 1, "reference": "r",
        "retrieved": [{"id": "a.md", "text": "t"}, "u"], "meta": {"deep": {"score": 0}},
    }  # fmt: skip
    path.write_text(json.dumps(row) + "\n")
    (found,) = human.read(path)
    assert (found.references, found.contexts) == (("r",), (("a.md", "t"), ("2", "u")))
    (found,) = human.read(path, {"label": "meta.deep.score", "answer": "reference"})
    assert (found.label, found.answer) == (0, "r")


def test_the_fingerprint_is_of_what_was_said(tmp_path):
    """Whatever the order of the rows."""
    one, other = people(tmp_path, 1, 0), people(tmp_path, 1, 1)
    assert one.fingerprint != other.fingerprint
    rows = tuple(reversed(one.rows))
    assert people_of(rows).fingerprint == one.fingerprint
