"""Ranking measures: numbers worked by hand, properties, and trec_eval itself as the oracle."""

from __future__ import annotations

from math import log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_rag.errors import ConfigError
from pytest_rag.metrics import get, lacking, names, ranking, score_all
from pytest_rag.types import Case, Observation, Retrieved, Score, Timing

CUT = ("P", "R", "nDCG", "AP", "RR", "Success", "Judged", "F1")
WHOLE = ("nDCG", "AP", "RR", "Rprec")
ALL = [*WHOLE, *(f"{name}@{k}" for name in CUT for k in (1, 3, 5, 10))]

ids = st.sampled_from([f"d{n}" for n in range(12)])
rankings = st.lists(ids, unique=True, max_size=12)
qrels_of = st.dictionaries(ids, st.integers(-1, 4), max_size=12)


def run(*documents: str) -> Observation:
    """Return a run that retrieved these documents in this order."""
    nodes = tuple(Retrieved(id=document, node=document) for document in documents)
    return Observation(query="q", answer=None, retrieved=nodes, timing=Timing(latency_ms=1.0))


# --- by hand ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("P@1", 0.0),
        ("P@3", 1 / 3),
        ("P@5", 2 / 5),
        ("P@10", 2 / 10),
        ("R@3", 1 / 3),
        ("R@5", 2 / 3),
        ("F1@5", 2 * (2 / 5) * (2 / 3) / (2 / 5 + 2 / 3)),
        ("RR", 1 / 2),
        ("RR@1", 0.0),
        ("Success@1", 0.0),
        ("Success@2", 1.0),
        ("AP", (1 / 2 + 2 / 4) / 3),
        ("AP@3", (1 / 2) / 3),
        ("Rprec", 1 / 3),
        ("Judged@1", 0.0),
        ("Judged@3", 2 / 3),
        ("Judged@10", 3 / 4),
        ("nDCG", (3 / log2(3) + 1 / log2(5)) / (3 + 2 / log2(3) + 1 / 2)),
        ("nDCG@3", (3 / log2(3)) / (3 + 2 / log2(3) + 1 / 2)),
        ("nDCG@2", (3 / log2(3)) / (3 + 2 / log2(3))),
    ],
)
def test_four_retrieved_three_relevant(name: str, expected: float) -> None:
    """Every measure has the value one works out on paper."""
    qrels = {"b": 3, "d": 1, "missed": 2, "c": 0}
    values = ranking.compute([name], ["a", "b", "c", "d"], qrels)
    assert values[name] == pytest.approx(expected, abs=1e-12)


def test_order_is_by_score_then_by_id_descending() -> None:
    """Ties go to the greater id, as in trec_eval."""
    assert ranking.order([("a", 1.0), ("c", 1.0), ("b", 2.0), ("B", 1.0)]) == ["b", "c", "a", "B"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("retrieved", "qrels"), [([], {"a": 1}), (["a"], {}), (["a"], {"a": 0}), ([], {})]
)
def test_nothing_to_find_or_nothing_found_is_0(
    name: str, retrieved: list[str], qrels: dict[str, int]
) -> None:
    """The pure functions give trec_eval's 0 where a division has nothing to divide."""
    expected = float(name.startswith("Judged") and "a" in qrels and "a" in retrieved)
    assert ranking.compute([name], retrieved, qrels) == {name: expected}


# --- properties -------------------------------------------------------------------------------


@given(rankings, qrels_of)
def test_every_measure_lies_between_0_and_1(documents: list[str], qrels: dict[str, int]) -> None:
    """No ranking and no qrels leave the unit interval."""
    values = ranking.compute(ALL, documents, qrels)
    assert all(0 <= value <= 1 + 1e-12 for value in values.values())


@given(rankings, qrels_of, st.randoms(use_true_random=False))
def test_below_the_cut_order_is_free(documents: list[str], qrels: dict[str, int], rng) -> None:
    """Shuffling what stands below k changes no measure at k."""
    tail = documents[3:]
    rng.shuffle(tail)
    cut = [name for name in ALL if name.endswith("@3")]
    shuffled = ranking.compute(cut, documents[:3] + tail, qrels)
    assert shuffled == ranking.compute(cut, documents, qrels)


@given(rankings.filter(lambda r: len(r) > 1), qrels_of, st.data())
def test_lifting_a_better_document_never_lowers(documents, qrels, data) -> None:
    """Exchanging neighbours so that the higher grade stands first costs no measure anything."""
    at = data.draw(st.integers(0, len(documents) - 2))
    upper, lower = documents[at], documents[at + 1]
    if max(qrels.get(upper, 0), 0) < max(qrels.get(lower, 0), 0):
        better = [*documents[:at], lower, upper, *documents[at + 2 :]]
        measures = [name for name in ALL if not name.startswith("Judged")]
        before = ranking.compute(measures, documents, qrels)
        after = ranking.compute(measures, better, qrels)
        assert all(after[name] >= before[name] - 1e-12 for name in measures)


@given(rankings, qrels_of)
def test_recall_and_success_grow_with_k(documents: list[str], qrels: dict[str, int]) -> None:
    """A deeper cut finds no less."""
    for name in ("R", "Success", "AP", "RR"):
        values = ranking.compute([f"{name}@{k}" for k in range(1, 13)], documents, qrels)
        assert list(values.values()) == sorted(values.values())


@settings(max_examples=200)
@given(rankings.filter(bool), qrels_of.filter(lambda q: max(q.values(), default=-1) >= 0))
def test_trec_eval_says_the_same(documents: list[str], qrels: dict[str, int]) -> None:
    """The C code of trec_eval agrees on every measure it has.

    It never returns where all grades are negative, so those are left out.
    """
    pytrec_eval = pytest.importorskip("pytrec_eval")
    theirs = {"P.1,3,5,10", "recall.1,3,5,10", "ndcg_cut.1,3,5,10", "map_cut.1,3,5,10", "ndcg"}
    theirs |= {"map", "recip_rank", "success.1,3,5,10", "Rprec"}
    run_of = {document: float(-rank) for rank, document in enumerate(documents)}
    found = pytrec_eval.RelevanceEvaluator({"q": qrels}, theirs).evaluate({"q": run_of})["q"]
    ours = {"P": "P", "recall": "R", "ndcg_cut": "nDCG", "map_cut": "AP", "success": "Success"}
    for key, expected in found.items():
        word, _, k = key.rpartition("_")
        single = {"ndcg": "nDCG", "map": "AP", "recip_rank": "RR", "Rprec": "Rprec"}.get(key)
        name = single or f"{ours[word]}@{k}"
        assert ranking.compute([name], documents, qrels)[name] == pytest.approx(expected, abs=1e-6)


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ALL, "nDCG@1000", "exact_match", "groundedness"])
def test_a_name_round_trips(name: str) -> None:
    """What get returns carries the name it was asked for, and equals itself."""
    assert get(name).name == name
    assert get(name) == get(name)
    assert get(name).higher_is_better


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ndcg@10", "nDCG@10"),
        ("R@05", "R@5"),
        ("P@0", "P@1"),
        ("P", "P@10"),
        ("recall@5", "R@5"),
        ("recall_at_5", "R@5"),
        ("precision@5", "P@5"),
        ("MRR", "RR"),
        ("mrr@10", "RR@10"),
        ("hit_rate@5", "Success@5"),
        ("MAP", "AP"),
        ("faithfulness", "groundedness"),
        ("Succes@5", "Success@5"),
        ("token-f1", "token_f1"),
        ("AP\n", "AP"),
        ("nDCG@٣", "nDCG"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_one(written: str, meant: str) -> None:
    """Names of other tools and slips of the pen lead to ours."""
    with pytest.raises(ConfigError) as caught:
        get(written)
    assert f"Did you mean {meant!r}?" in str(caught.value)


def test_a_name_like_nothing_lists_what_there_is() -> None:
    """Where nothing is near, the message names the choices."""
    with pytest.raises(ConfigError, match=r"Choose from: P@k, R@k, .*token_f1"):
        get("zebra")


def test_names_are_all_known() -> None:
    """Every name offered for completion can be had."""
    assert {get(name).name for name in names()} == set(names())


# --- as metrics of a case ---------------------------------------------------------------------


def test_a_case_without_gold_has_no_score() -> None:
    """No qrels is not 0: the score is None, and collection can say so beforehand."""
    case, metric = Case(id="c", query="q"), get("R@5")
    assert metric.score(case, run("a")) == Score(value=None, reason="the case has no `relevant`")
    assert lacking(metric, case) == "R@5 needs `relevant`"
    assert lacking(metric, Case(id="c", query="q", relevant={"a": 1})) is None


def test_gold_without_a_relevant_document_has_no_score() -> None:
    """Where no ranking could score, none is blamed."""
    case, reason = Case(id="c", query="q", relevant={"a": 0}), "no document is graded 1 or more"
    assert get("AP").score(case, run("a")) == Score(value=None, reason=reason)
    assert lacking(get("AP"), case) == f"AP cannot score: {reason}"


def test_nothing_retrieved_scores_0_and_not_telling_scores_none() -> None:
    """An empty result is the ranker's failure; a pipeline that does not tell has no score."""
    case = Case(id="c", query="q", relevant={"a": 1})
    silent = Observation(query="q", answer="x", retrieved=None, timing=Timing(latency_ms=1.0))
    assert get("nDCG@10").score(case, run()).value == 0.0
    assert get("nDCG@10").score(case, silent).value is None


class Broken:
    name, version, needs, higher_is_better = "broken", "7", frozenset(), True

    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    def score(self, case, observation, argument=None) -> Score:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return Score(value=self.outcome)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (ValueError("no such thing"), "ValueError: no such thing"),
        (float("nan"), "broken gave nan"),
        (float("inf"), "broken gave inf"),
    ],
)
def test_a_broken_metric_costs_only_its_own_score(outcome: object, reason: str) -> None:
    """A bug in one metric becomes a reason; the others are computed all the same."""
    case = Case(id="c", query="q", relevant={"a": 1})
    scores = score_all([(Broken(outcome), None), (get("P@1"), None)], case, run("a"))
    assert scores == {
        "broken": Score(value=None, reason=reason, version="7"),
        "P@1": Score(value=1.0),
    }


def test_score_all_gives_what_each_metric_gives() -> None:
    """Sharing the judged ranking changes no value."""
    case = Case(id="c", query="q", relevant={"a": 2, "b*": 1})
    metrics = [(get(name), None) for name in ALL]
    observed = run("x", "b1", "a")
    shared = score_all(metrics, case, observed)
    assert shared == {m.name: m.score(case, observed) for m, _ in metrics}
