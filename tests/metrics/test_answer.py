"""Metrics of the answer's text, asked the way the checks of a case ask them."""

from __future__ import annotations

import json
import re
import string
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rag.metrics import get, lacking, takes_argument, validate_argument
from pytest_rag.metrics.text import guess_language, normalise
from pytest_rag.types import Case, Observation, Retrieved, Score, Timing

if TYPE_CHECKING:
    from pathlib import Path


def score(
    metric: str,
    answer: str | None,
    *references: str,
    argument: Any = None,
    query: str = "What is it?",
    texts: tuple[str, ...] | None = (),
    answerable: bool = True,
) -> Score:
    """Return the score of one answer."""
    nodes = None if texts is None else tuple(Retrieved(id="d", node="n", text=t) for t in texts)
    case = Case(id="c", query=query, answers=references, answerable=answerable)
    observed = Observation(
        query=query, answer=answer, retrieved=nodes, timing=Timing(latency_ms=1.0)
    )
    return get(metric).score(case, observed, argument)


def value(*args: Any, **asked: Any) -> float | None:
    """Return the bare value."""
    return score(*args, **asked).value


# --- exact_match, token_f1 --------------------------------------------------------------------


def squad_normalise(text: str) -> str:
    """Normalise as the official SQuAD v1.1 script does."""
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_f1(prediction: str, truth: str) -> float:
    """Return F1 as the official SQuAD v1.1 script computes it."""
    left, right = squad_normalise(prediction).split(), squad_normalise(truth).split()
    same = sum((Counter(left) & Counter(right)).values())
    if same == 0:
        return 0
    precision, recall = same / len(left), same / len(right)
    return 2 * precision * recall / (precision + recall)


ascii_text = st.one_of(
    st.text(st.characters(max_codepoint=127)),
    st.lists(st.sampled_from(["The", "a", "an", "limit,", "40-euro", "(day).", "x_y", "it's"])).map(
        " ".join
    ),
)


@given(ascii_text, ascii_text)
def test_english_is_squad_to_the_letter(answer: str, reference: str) -> None:
    """On ASCII text EM and F1 are the official script's."""
    assert value("exact_match", answer, reference) == float(
        squad_normalise(answer) == squad_normalise(reference)
    )
    assert value("token_f1", answer, reference) == pytest.approx(squad_f1(answer, reference))


@given(st.text(), st.text())
def test_any_text_scores_between_0_and_1(answer: str, reference: str) -> None:
    """No text breaks a metric or leaves the unit interval."""
    for metric in ("exact_match", "token_f1", "numeric", "refusal", "groundedness"):
        found = value(metric, answer, reference, texts=(reference,))
        assert found is None or 0 <= found <= 1


def test_the_best_reference_counts() -> None:
    """Of several acceptable answers the nearest decides."""
    assert value("token_f1", "up to five days", "never", "five days") == pytest.approx(2 / 3)
    assert value("exact_match", "Five days.", "never", "five days") == 1.0


@pytest.mark.parametrize(
    ("query", "answer", "reference"),
    [
        ("Wer schrieb es?", "Der Straßenbau", "die Strassenbau"),
        ("Wie heißt das Gerät?", "Ein U\u0308berspannungsschutz!", "Überspannungsschutz"),
        ("Quem escreveu isso?", "Os Lusíadas", "lusíadas"),
        ("Quantos dias são?", "Uns cinco dias", "cinco dias"),
        ("What is it?", "the “ﬁle”", "file"),
        ("What is it?", "e\u2011mail", "e-mail"),
        ("What is it?", "yes\u2014soon", "Yes, soon"),
        ("What is it?", "co\u00adop", "coop"),
    ],
)
def test_normalisation_knows_three_languages(query: str, answer: str, reference: str) -> None:
    """Articles, Unicode forms, typographic signs and ß make no difference."""
    assert value("exact_match", answer, reference, query=query) == 1.0


@pytest.mark.parametrize(("left", "right"), [("schön", "schon"), ("avó", "avô"), ("Bär", "Bar")])
def test_accents_make_a_difference(left: str, right: str) -> None:
    """An umlaut or accent is part of the word."""
    assert value("exact_match", left, right, query="Wie ist das für Sie?") == 0.0


def test_articles_of_another_language_are_words() -> None:
    """``Die Hard`` and ``as`` lose nothing in English."""
    assert normalise("Die Hard, as a film", "en") == "die hard as film"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How many days carry over?", "en"),
        ("Wie viele Tage werden übertragen?", "de"),
        ("Quantos dias podem ser transferidos?", "pt"),
        ("O que é isso?", "pt"),
        ("308", "en"),
        ("", "en"),
        ("Die Hard in Rio de Janeiro", "en"),
    ],
)
def test_the_language_is_guessed(text: str, language: str) -> None:
    """Marker words vote; without a vote it is English."""
    assert guess_language(text) == language


# --- contains, one_of, regex ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "argument", "expected"),
    [
        ("Up to five days.", "five", 1.0),
        ("Up to FIVE  days.", "five days", 1.0),
        ("Up to fifteen days.", "five", 0.0),
        ("Refunds take a week.", "refund", 1.0),
        ("東京都です", "東京", 1.0),
        ("Up to 15 days.", "5", 0.0),
        ("Up to 1.5 days.", 5, 0.0),
        ("Up to 5 days.", 5, 1.0),
        ("40 euros a day", ["40", "euros"], 1.0),
        ("40 euros a day", ["40", "dollars"], 0.0),
        ("It is 40% of it.", "40%", 1.0),
        ("It is 40 euros.", "40%", 0.0),
        ("Write it in C++.", "C++", 1.0),
        ("Write it in C.", "C++", 0.0),
        ("**Five** days", "five days", 1.0),
        ("", "five", 0.0),
    ],
)
def test_contains(answer: str, argument: Any, expected: float) -> None:
    """All phrases must be there as written; a number is not found inside a longer one."""
    assert value("contains", answer, argument=argument) == expected


def test_contains_says_what_is_lacking() -> None:
    """The reason names the phrases that are not there."""
    found = score("contains", "five days", argument=["five", "march", "2025"])
    assert found == Score(value=0.0, reason="the answer lacks 'march', '2025'")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("Blue", 1.0), ("It is dark green.", 1.0), ("Greenish", 0.0), ("red", 0.0)],
)
def test_one_of(answer: str, expected: float) -> None:
    """One of the phrases is enough."""
    assert value("one_of", answer, argument=["blue", "Dark Green"]) == expected


@pytest.mark.parametrize(
    ("answer", "expected"), [("It costs 40 EUR.", 1.0), ("It costs 40 eur.", 0.0)]
)
def test_regex_is_taken_as_written(answer: str, expected: float) -> None:
    """The pattern is searched anywhere, case and all."""
    assert value("regex", answer, argument=r"\b\d+ EUR\b") == expected


@pytest.mark.parametrize(
    ("metric", "argument", "wrong"),
    [
        ("regex", "(", "'(' is no regular expression: missing )"),
        ("regex", 5, "5 is not a pattern; put it in quotes"),
        ("regex", r"(a+)+$", "repeats a repeat"),
        ("regex", r"(?:\w+\s*)*x", "repeats a repeat"),
        ("contains", True, "True is not text; put it in quotes"),
        ("contains", [], "the list is empty"),
        ("contains", " ... ", "' ... ' holds no word"),
        ("one_of", ["a", None], "None is not text"),
        ("numeric", "5", "'5' is not a number"),
        ("numeric", True, "True is not a number"),
        ("numeric", float("nan"), "nan is not a number"),
        ("numeric", {"unit": "days"}, "it has no `value`"),
        ("numeric", {"value": 5, "uint": "days"}, "unknown key 'uint'. Did you mean 'unit'?"),
        ("numeric", {"value": 5, "unit": 3}, "unit 3 is not text"),
        ("numeric", {"value": 5, "abs": -1}, "abs -1 is negative"),
    ],
)
def test_a_wrong_argument_is_told_at_collection(metric: str, argument: Any, wrong: str) -> None:
    """Each says what is wrong with it, and a run gives None with the same reason."""
    said = validate_argument(get(metric), argument)
    assert said is not None
    assert wrong in said
    assert score(metric, "x", "5", argument=argument) == Score(value=None, reason=said)


@pytest.mark.parametrize(
    "pattern", [r"(?:\d+,)*\d+", r"(\w+\s)+", r"[+*]+", r"(ab)+", r"\(a+\)+", r"(a+)?"]
)
def test_harmless_patterns_pass(pattern: str) -> None:
    """A repeat of something with a fixed part is no danger."""
    assert validate_argument(get("regex"), pattern) is None


# --- numeric ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "argument"),
    [
        ("It is 1,234.5 in all.", 1234.5),
        ("Es sind 1.234,5.", 1234.5),
        ("São 1 234,5.", 1234.5),
        ("1'234.5 Franken", 1234.5),
        ("1,234 people", 1234),
        ("1.234 Personen", 1234),
        ("a factor of 1.234", 1.234),
        ("0.234", 0.234),
        ("about 1.234.567", 1234567),
        ("five", 5),
        ("cinco", 5),
        ("fünf", 5),
        ("twenty-five", 25),
        ("vinte e cinco", 25),
        ("fünfundzwanzig", 25),
        ("two thousand five hundred and twenty-one", 2521),
        ("dois mil e trezentos", 2300),
        ("zweihundert", 200),
        ("3,5 milhões", 3.5e6),
        ("2 Mio. Euro", 2e6),
        ("40k", 40000),
        ("5M users", 5e6),
        ("a million", 1e6),
        ("-5 degrees", -5),
        ("between 5-10", 10),
        ("the 3rd of May", 3),
        ("40 Euro", {"value": 40, "unit": "€"}),
        ("€40", {"value": 40, "unit": "EUR"}),
        ("R$ 1.500,00", {"value": 1500, "unit": "reais"}),
        ("40 US dollars", {"value": 40, "unit": "USD"}),
        ("12 por cento", {"value": 12, "unit": "%"}),
        ("12 percent", {"value": 12, "unit": "Prozent"}),
        ("five working days", {"value": 5, "unit": "days"}),
        ("fünf Tage", {"value": 5, "unit": "days"}),
        ("cinco dias", {"value": 5, "unit": "Tage"}),
        ("12 chairs", {"value": 12, "unit": "chairs"}),
        ("one day", {"value": 1, "unit": "day"}),
        ("about 41", {"value": 40, "abs": 1}),
        ("about 42", {"value": 40, "rel": 0.05}),
    ],
)
def test_numeric_finds_the_number(answer: str, argument: Any) -> None:
    """Separators, words, scales and units of three languages are read."""
    assert value("numeric", answer, argument=argument) == 1.0


@pytest.mark.parametrize(
    ("answer", "argument"),
    [
        ("It is 15.", 5),
        ("It is 5.", 15),
        ("vitamin B12", 12),
        ("release v1.2.3", 2.3),
        ("40 dollars", {"value": 40, "unit": "EUR"}),
        ("5 days and 3 hours", {"value": 5, "unit": "hours"}),
        ("about 42", {"value": 40, "abs": 1}),
        ("one of them", 1),
        ("nothing", 0),
        ("5 m", 5e6),
        ("", 5),
    ],
)
def test_numeric_finds_no_other_number(answer: str, argument: Any) -> None:
    """Part of a number, a name or another unit is not the number."""
    found = score("numeric", answer, argument=argument)
    assert found.value == 0.0
    assert found.reason.startswith("the answer holds no ")


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("You may keep 5 days.", "Up to five days.", 1.0),
        ("You may keep five.", "Up to 5 days until 31 March.", 0.0),
        ("By 31 March, 5 days.", "Up to 5 days until 31 March.", 1.0),
        ("40 euros per day", "40 euros for one day", 1.0),
        ("40 dollars", "40 euros", 0.0),
        ("1234", "1.234 Euro", 1.0),
        ("anything", "no number at all", None),
    ],
)
def test_numeric_without_an_argument_wants_the_references_numbers(
    answer: str, reference: str, expected: float | None
) -> None:
    """Every number of a reference answer must be in the answer."""
    assert value("numeric", answer, reference) == expected


# --- groundedness -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "texts", "expected"),
    [
        ("Five days carry over.", ("Up to five days carry over.",), 1.0),
        ("Five weeks carry over.", ("Up to five days carry over.",), 3 / 4),
        ("The limit is 40 euros.", ("limit", "euros"), 2 / 3),
        ("days days", ("days",), 1 / 2),
        ("Anything at all", (), 0.0),
        ("Anything at all", ("",), 0.0),
        ("I don't know.", ("text",), None),
        ("", ("text",), None),
        ("?!", ("text",), None),
        ("Five days", None, None),
    ],
)
def test_groundedness(answer: str, texts: tuple[str, ...] | None, expected: float | None) -> None:
    """It is the share of the answer's content words that the retrieved texts hold."""
    found = score("groundedness", answer, texts=texts)
    assert found.value == (None if expected is None else pytest.approx(expected))
    assert (found.reason is None) == (expected not in (None, 0.0))


# --- what is missing --------------------------------------------------------------------------

EVERY = {
    "exact_match": None,
    "token_f1": None,
    "contains": "x",
    "one_of": ["x"],
    "regex": "x",
    "numeric": 5,
    "refusal": None,
    "groundedness": None,
}


@pytest.mark.parametrize("metric", EVERY)
def test_a_retriever_gives_no_answer(metric: str) -> None:
    """Without an answer there is no score, and the reason says so."""
    found = score(metric, None, "x", argument=EVERY[metric])
    assert found == Score(value=None, reason="the pipeline gives no answer")


@pytest.mark.parametrize(
    ("metric", "lacks"),
    [
        ("exact_match", "exact_match needs `answer`"),
        ("token_f1", "token_f1 needs `answer`"),
        ("contains", "contains needs something to look for"),
        ("regex", "regex needs something to look for"),
        ("numeric", "numeric needs an argument or `answer`"),
        ("refusal", None),
        ("groundedness", None),
    ],
)
def test_what_a_case_lacks_is_told_at_collection(metric: str, lacks: str | None) -> None:
    """A metric that cannot be computed is found before the run; the run itself gives None."""
    assert lacking(get(metric), Case(id="c", query="q")) == lacks
    if lacks is not None:
        assert score(metric, "an answer").value is None


def test_which_metrics_take_an_argument() -> None:
    """A bare value in a check is an argument for these, a limit for the others."""
    taking = {name for name in EVERY if takes_argument(get(name))}
    assert taking == {"contains", "one_of", "regex", "numeric"}
    assert not takes_argument(get("nDCG@10"))


def test_importing_metrics_loads_nothing_foreign() -> None:
    """The metrics cost the standard library and nothing else."""
    code = (
        "import sys; before = set(sys.modules); import pytest_rag.metrics;"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before};"
        "print(sorted(new - sys.stdlib_module_names - {'pytest_rag'}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert shown.stdout.strip() == "[]"


# --- agreement with people --------------------------------------------------------------------


def auc(labels: list[bool], scores: list[float]) -> float:
    """Return the area under the ROC curve."""
    stats = pytest.importorskip("scipy.stats")
    yes = [s for label, s in zip(labels, scores, strict=True) if label]
    no = [s for label, s in zip(labels, scores, strict=True) if not label]
    return stats.mannwhitneyu(yes, no).statistic / (len(yes) * len(no))


def judged_by_people(data_dir: Path, name: str) -> tuple[list[dict], dict]:
    """Return rows of human verdicts and the published agreement of simple metrics with them."""
    lines = (data_dir / name / "human_judgments.jsonl").read_text(encoding="utf-8").splitlines()
    known = data_dir / "reference_numbers" / "metric_validation.dev.json"
    return [json.loads(line) for line in lines], json.loads(known.read_text())[name]


def test_answer_metrics_agree_with_people(data_dir: Path) -> None:
    """On 1,490 judged answers they reach the known agreement."""
    rows, known = judged_by_people(data_dir, "openqa_eval")
    acceptable = [row["human"]["acceptable"] == "Yes" for row in rows]

    def accuracy(metric: str) -> float:
        said = [
            value(
                metric,
                row["answer"],
                *row["references"],
                argument=row["references"] if metric == "one_of" else None,
                query=row["question"],
            )
            == 1.0
            for row in rows
        ]
        return sum(s == a for s, a in zip(said, acceptable, strict=True)) / len(rows)

    f1 = [value("token_f1", r["answer"], *r["references"], query=r["question"]) for r in rows]
    assert accuracy("exact_match") >= known["exact_match"]["accuracy"] - 0.01
    assert accuracy("one_of") >= known["contains_gold"]["accuracy"] - 0.01
    assert auc(acceptable, f1) >= known["token_f1_auc"] - 0.01


def test_groundedness_agrees_with_people(data_dir: Path) -> None:
    """On some 4,000 judged responses it orders answers as well as the best simple metric known."""
    rows, known = judged_by_people(data_dir, "begin_wow")
    pairs = [
        (row["human"]["attribution"] == "Fully attributable", found)
        for row in rows
        if (found := value("groundedness", row["answer"], texts=tuple(row["contexts_text"])))
        is not None
    ]
    assert len(pairs) > 0.99 * len(rows)
    labels, scores = zip(*pairs, strict=True)
    assert auc(labels, scores) >= known["token_precision_in_knowledge_auc"]
