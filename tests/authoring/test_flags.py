"""Near-duplicates, leaks and unsupported answers, on known pairs and on public sets."""

from __future__ import annotations

import json
import random

import pytest

from pytest_rag.authoring import flags
from pytest_rag.authoring.flags import Corpus, Twins, flags_of, leak
from pytest_rag.types import Case

SAME = [
    ("What flows between the Bingen and Bonn?", "What flows between Bingen and Bonn?"),
    ("How many days carry over?", "How many days do carry over?"),
]
OTHER = [
    ("When was the first plastome sequenced?", "Who sequenced the first plastome?"),
    ("What was the allowance in 2023?", "What was the allowance in 2024?"),
    ("How is leave booked?", "Where is the harbour?"),
    ("Wann wurde das Büro gegründet?", "Wer hat das Büro gegründet?"),
]


@pytest.fixture(params=["vectors", "words"])
def twins(request, monkeypatch):
    """Both ways to compare questions."""
    if request.param == "words":
        monkeypatch.setattr(flags, "find_spec", lambda _name: None)
    return Twins()


def test_pairs_that_people_know(twins):
    """The same question in other words is found; another number or question word is not."""
    queries = [query for pair in (*SAME, *OTHER) for query in pair]
    assert [(i, j) for i, j, _ in twins.among(queries)] == [(0, 1), (2, 3)]
    for first, second in SAME:
        assert twins.of(first, [OTHER[2][0], second])[0] == 1
    for first, second in OTHER:
        assert twins.of(first, [second]) is None
    assert twins.among([]) == []
    assert twins.of("What?", []) is None


def test_the_method_is_told(twins):
    """A person sees how questions were compared."""
    assert ("word vectors" in twins.method) != ("no wordllama installed" in twins.method)


def test_the_index_of_words_misses_nothing(monkeypatch):
    """Prefix filtering finds exactly the pairs that comparing all with all finds."""
    monkeypatch.setattr(flags, "find_spec", lambda _name: None)
    draw = random.Random(3)
    words = [f"word{letter}" for letter in "abcdefghijklmnop"]
    queries = [" ".join(draw.sample(words, draw.randint(2, 9))) for _ in range(300)]
    sets = [set(flags.content_words(query)) for query in queries]
    wanted = {
        (i, j)
        for j in range(len(sets))
        for i in range(j)
        if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= flags.ALIKE_WORDS
    }
    assert {(i, j) for i, j, _ in Twins().among(queries)} == wanted
    assert len(wanted) > 20


@pytest.mark.parametrize(
    ("query", "answer", "leaks"),
    [
        ("Is the Eiffel tower in Paris?", "Paris", True),
        ("Which five days are free?", "Five days.", True),
        ("Is it red or green?", "Green.", False),
        ("How many are 15 and 5?", "1", False),
        ("Where is it?", "In Kotka.", False),
    ],
)
def test_a_question_that_holds_its_answer(query, answer, leaks):
    """Whole words count, and a choice is no leak."""
    assert (leak(query, [answer]) is not None) == leaks


class _Document:
    def __init__(self, text, title=""):
        self.text, self.metadata = text, {"title": title}


@pytest.mark.parametrize(
    ("name", "most_own", "least_other"),
    [("xquad_en", 3, 0.97), ("xquad_de", 3, 0.97), ("anthropic_docs", 2, 0.9)],
)
def test_answers_that_their_gold_holds(data_dir, name, most_own, least_other):
    """Hardly one right answer is flagged, and nearly every answer on a document drawn at random."""
    rows = [json.loads(x) for x in (data_dir / name / "documents.jsonl").read_text().splitlines()]
    corpus = Corpus({row["id"]: _Document(row["text"], row.get("title", "")) for row in rows})
    asked = [json.loads(x) for x in (data_dir / name / "queries.jsonl").read_text().splitlines()]
    draw, ids = random.Random(0), [row["id"] for row in rows]

    def flagged(gold_of):
        cases = [
            Case(id=row["id"], query="?", answers=(row["answer"],), relevant=gold_of(row))
            for row in asked
            if row["relevant"]
        ]
        low = [corpus.support(case) < flags.SUPPORTED for case in cases]
        return sum(low), len(low)

    assert flagged(lambda row: row["relevant"])[0] <= most_own
    hits, total = flagged(lambda row: {draw.choice(ids): 1})
    assert hits / total >= least_other


def test_a_large_set_is_looked_through(data_dir, twins):
    """Twins of 1,190 questions, all of whose exact repeats are found."""
    rows = (data_dir / "xquad_en" / "queries.jsonl").read_text().splitlines()
    cases = [Case(id=r["id"], query=r["question"]) for r in map(json.loads, rows)]
    first: dict[str, str] = {}
    again = {case.id for case in cases if first.setdefault(case.query, case.id) != case.id}
    found = {flag.case for flag in flags_of(cases, None, twins) if flag.kind == "duplicate"}
    assert again <= found
    assert len(found) < 30
