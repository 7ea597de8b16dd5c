"""From retrieved nodes and gold as people write it to what ranking measures work on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rag.metrics import get, gold
from pytest_rag.metrics.ranking import order
from pytest_rag.types import Case, Observation, Retrieved, Timing


def node(document: str, score: float | None = None, **told) -> Retrieved:
    """Return a node of a document."""
    return Retrieved(id=document, node="n", score=score, **told)


def ranked(nodes, relevant, documents=None) -> list[str]:
    """Return the resolved ranking."""
    return list(gold.resolve(nodes, relevant, documents).ranking)


# --- order and duplicates ---------------------------------------------------------------------


def test_nodes_become_documents_without_duplicates() -> None:
    """A document stands where its best node stands."""
    nodes = [node("a", 0.2), node("b", 0.5), node("a", 0.9), node("b", 0.1)]
    assert ranked(nodes, {"a": 1}) == ["a", "b"]


def test_ties_go_to_the_greater_id() -> None:
    """Equal scores are ordered by id, descending, as trec_eval does."""
    assert ranked([node("a", 1.0), node("c", 1.0), node("b", 2.0)], {"a": 1}) == ["b", "c", "a"]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_without_a_score_the_given_order_stands(missing: float | None) -> None:
    """One node without a score, and the pipeline's order is all there is."""
    assert ranked([node("a", 0.1), node("b", missing), node("c", 0.9)], {"a": 1}) == ["a", "b", "c"]


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3).map(float)))
def test_plain_ids_are_ordered_like_a_run_file(scores: dict[str, float]) -> None:
    """With a node a document, resolving is nothing but trec_eval's order."""
    nodes = [node(document, score) for document, score in scores.items()]
    assert ranked(nodes, {"a": 1}) == order(scores.items())


# --- exact ids --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        "a#b",
        "notes[1].md",
        "what?.md",
        "two words.md",
        "https://x.org/faq#refunds",
        "*",
        "a#page=3",
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_an_exact_id_is_never_read_as_something_else(odd: str, known: bool) -> None:
    """Whatever characters an id holds, the document of that id is meant."""
    resolved = gold.resolve([node(odd), node("a")], {odd: 2}, {odd, "a"} if known else None)
    assert resolved == gold.Resolved(ranking=(odd, "a"), qrels={odd: 2})


# --- fragments --------------------------------------------------------------------------------

LEAVE = [
    node("leave.md", 0.9, sections=("intro",), pages=("1",), span=(0, 100)),
    node("leave.md", 0.8, sections=("carry-over",), pages=("3", "4"), span=(100, 300)),
    node("faq.md", 0.7, sections=("x",), pages=("ii",), span=(0, 50)),
]


@pytest.mark.parametrize(
    "written",
    [
        "leave.md#carry-over",
        "leave.md#page=3",
        "leave.md#page=4-6",
        "leave.md#char=120,340",
        "leave.md#char=299,300",
        "leave.md#char=250,",
        "leave.md#char=150",
    ],
)
def test_a_fragment_is_found_in_the_node_that_touches_it(written: str) -> None:
    """The matching node takes the gold's id; the other node of the document stands unjudged."""
    resolved = gold.resolve(LEAVE, {written: 1}, {"leave.md", "faq.md"})
    assert resolved == gold.Resolved(ranking=("leave.md", written, "faq.md"), qrels={written: 1})


@pytest.mark.parametrize(
    "written",
    [
        "leave.md#sick-leave",
        "leave.md#page=2",
        "leave.md#page=10-12",
        "leave.md#char=300,400",
        "leave.md#char=100,100",
        "leave.md#",
    ],
)
def test_a_fragment_that_no_node_touches_leaves_the_document_unjudged(written: str) -> None:
    """Retrieved in the wrong place: the document is in the ranking, the gold is not."""
    resolved = gold.resolve(LEAVE, {written: 1}, {"leave.md", "faq.md"})
    assert resolved == gold.Resolved(ranking=("leave.md", "faq.md"), qrels={written: 1})


def test_page_labels_need_not_be_numbers() -> None:
    """A roman page is matched by its label."""
    assert ranked(LEAVE, {"faq.md#page=ii": 1}) == ["leave.md", "faq.md#page=ii"]


def test_a_node_takes_all_it_matches_the_highest_grade_first() -> None:
    """Document and fragments are found together, each once."""
    relevant = {"leave.md": 1, "leave.md#carry-over": 2, "leave.md#page=3": 3}
    assert ranked(LEAVE[1:], relevant) == [
        "leave.md#page=3",
        "leave.md#carry-over",
        "leave.md",
        "faq.md",
    ]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("faq.md#x", "nodes of 'faq.md' carry no section metadata"),
        ("faq.md#page=2", "nodes of 'faq.md' carry no page labels"),
        ("faq.md#char=1,2", "nodes of 'faq.md' carry no character spans"),
    ],
)
def test_nodes_that_tell_nothing_give_no_score(written: str, reason: str) -> None:
    """Without the metadata nobody can say whether the fragment was found: None, never a guess."""
    case = Case(id="c", query="q", relevant={written: 1})
    nodes = (node("faq.md"), node("other.md", sections=("x",)))
    observed = Observation(query="q", answer="", retrieved=nodes, timing=Timing(latency_ms=1.0))
    score = get("R@5").score(case, observed)
    assert (score.value, score.reason) == (None, reason)


def test_a_document_that_was_not_retrieved_is_an_honest_0() -> None:
    """What was never retrieved needs no metadata to be missed."""
    case = Case(id="c", query="q", relevant={"faq.md#x": 1})
    observed = Observation(
        query="q", answer="", retrieved=(node("a"),), timing=Timing(latency_ms=1.0)
    )
    assert get("R@5").score(case, observed).value == 0.0


def test_a_span_that_is_none_is_said() -> None:
    """A misspelt span is a reason, not a section of that name."""
    with pytest.raises(gold.CannotTellError, match="'#char=a,b' is no span of characters"):
        gold.resolve(LEAVE, {"leave.md#char=a,b": 1}, None)


# --- globs ------------------------------------------------------------------------------------

INDEX = frozenset({"docs/a.md", "docs/b.md", "docs/c.md", "drafts/a.md"})


def test_a_glob_stands_for_every_document_of_the_index() -> None:
    """Each match is graded, retrieved or not; what is named explicitly keeps its own grade."""
    resolved = gold.resolve([node("docs/b.md")], {"docs/*": 1, "docs/a.md": 3}, INDEX)
    assert resolved.qrels == {"docs/a.md": 3, "docs/b.md": 1, "docs/c.md": 1}
    assert resolved.ranking == ("docs/b.md",)


def test_of_two_globs_the_higher_grade_counts() -> None:
    """A document that two globs match is one document."""
    resolved = gold.resolve([], {"docs/?.md": 1, "docs/[ab].md": 2}, INDEX)
    assert resolved.qrels == {"docs/a.md": 2, "docs/b.md": 2, "docs/c.md": 1}


def test_over_an_unknown_index_a_glob_is_one_document() -> None:
    """It is found at its first match, and the others vanish from the ranking."""
    nodes = [node("x"), node("docs/b.md"), node("docs/a.md"), node("docs/c.md"), node("y")]
    resolved = gold.resolve(nodes, {"docs/*": 1, "docs/a.md": 2}, None)
    assert resolved.ranking == ("x", "docs/*", "docs/a.md", "y")
    assert resolved.qrels == {"docs/a.md": 2, "docs/*": 1}


@pytest.mark.parametrize(
    ("pattern", "document", "expected"),
    [
        ("drafts/*", "drafts/a.md", True),
        ("drafts/*", "Drafts/a.md", False),
        ("a.md", "a.md", True),
        ("a.md", "aXmd", False),
        ("a[1].md", "a[1].md", True),
        ("a[1].md", "a1.md", True),
    ],
)
def test_matches(pattern: str, document: str, expected: bool) -> None:
    """An id matches itself, and case-sensitively what its wildcards stand for."""
    assert gold.matches(pattern, document) is expected


# --- broken labels ----------------------------------------------------------------------------


def test_labels_that_no_document_matches_are_missing() -> None:
    """A broken label is told apart from a document the ranker missed."""
    relevant = {"docs/a.md": 1, "gone.md": 1, "gone.md#intro": 1, "old/*": 1, "docs/a.md#x": 1}
    resolved = gold.resolve([], relevant, INDEX)
    assert resolved.missing == ("gone.md", "gone.md#intro", "old/*")
    assert set(resolved.qrels) == set(relevant)


def test_over_an_unknown_index_no_label_is_called_broken() -> None:
    """Without a list of documents nothing can be said to be missing."""
    assert gold.resolve([], {"gone.md": 1, "old/*": 1}, None).missing == ()
