"""Dates, lists and the words that matter, in three languages."""

from __future__ import annotations

import pytest
from judges import case, seen

from pytest_rag import metrics
from pytest_rag.metrics.dates import dates
from pytest_rag.metrics.quantities import quantities


def value(name, answer, argument=None, **of_case):
    """Return a metric's value of one answer."""
    return metrics.get(name).score(case(**of_case), seen(answer), argument).value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It opens on 12 May 2024.", [["2024-05-12"]]),
        ("May 12th, 2024, and 2023-01-31", [["2024-05-12"], ["2023-01-31"]]),
        ("am 3. März 2025", [["2025-03-03"]]),
        ("bis zum 31.12.2025.", [["2025-12-31"]]),
        ("em 12 de maio de 2024", [["2024-05-12"]]),
        ("em dezembro de 2023", [["2023-12"]]),
        ("03/04/2025", [["2025-04-03", "2025-03-04"]]),
        ("31.12.99", [["2099-12-31", "1999-12-31"]]),
        ("since 1999", [["1999"]]),
        ("closed on July 4", [["--07-04"]]),
        ("costs 1500 euros", []),
        ("30 February 2024", []),
        ("version 1.2.2024.5", []),
        ("It is 1,999 EUR or 20 %", []),
    ],
)
def test_dates_are_read_as_they_are_written(text, found):
    """Day, month and year, as far as they are said, with both readings where they are two."""
    assert [[str(date) for date in readings] for readings in dates(text)] == found


@pytest.mark.parametrize(
    ("argument", "answer", "expected"),
    [
        ("2024-05-12", "It opened on May 12, 2024.", 1.0),
        ("2024-05-12", "Es öffnete am 12.05.2024.", 1.0),
        ("2024-05-12", "Abriu em 12 de maio de 2024.", 1.0),
        ("2024-05", "It opened on May 12, 2024.", 1.0),
        ("2024-05-12", "It opened in May 2024.", 0.0),
        ("2024-05-12", "It opened on 13 May 2024.", 0.0),
        (2024, "It opened on 13 May 2024.", 1.0),
    ],
)
def test_a_date_is_found_however_it_is_written(argument, answer, expected):
    """An answer may say more than was asked for, never less."""
    assert value("date_match", answer, argument) == expected


def test_every_date_of_a_reference_must_be_said():
    """Without an argument it is the reference answer that counts; one without dates has none."""
    span = ("From 1 June 2024 to 31 August 2024.",)
    assert value("date_match", "01.06.2024 bis 31.08.2024", answers=span) == 1.0
    score = metrics.get("date_match").score(case(answers=span), seen("From 1 June 2024 on."))
    assert (score.value, score.reason) == (0.0, "the answer does not say 2024-08-31")
    assert value("date_match", "Today.", answers=("Soon.",)) is None


def test_a_date_that_is_none_is_told_before_the_run():
    """The form to write is in the message."""
    wrong = metrics.validate_argument(metrics.get("date_match"), "soon")
    assert wrong == "'soon' is no date; write it as 2025-05-31, 2025-05 or 31 May 2025"


@pytest.mark.parametrize(
    ("wanted", "answer", "expected"),
    [
        (["gloves", "boots"], "You need gloves and boots.", 1.0),
        (["gloves", "boots"], "Bring:\n- gloves (thick)\n- boots", 1.0),
        (["gloves", "boots"], "1. gloves\n2. boots\n3. a hat\n4. a torch", 2 * 2 / (2 + 4)),
        (["gloves", "boots"], "gloves", 2 * 1 / (2 + 1)),
        (["gloves", "boots"], "nothing", 0.0),
        (["Handschuhe", "Stiefel"], "Die Handschuhe und die Stiefel", 1.0),
        (["luvas", "botas"], "luvas e botas", 1.0),
    ],
)
def test_lists_are_scored_by_their_items(wanted, answer, expected):
    """F1 of items, whatever the order and the marks in front."""
    assert value("list_f1", answer, wanted) == pytest.approx(expected)


def test_a_list_may_be_the_reference_answer():
    """What is missing is named."""
    score = metrics.get("list_f1").score(
        case(answers=("France, Germany and Spain",)), seen("Spain, France and Italy")
    )
    assert score.value == pytest.approx(2 / 3)
    assert score.reason == "missing: 'Germany'"


@pytest.mark.parametrize(
    ("query", "reference", "answer", "expected"),
    [
        ("Who wrote it?", "Ada Lovelace", "It was written by Ada Lovelace in London.", 1.0),
        ("Who wrote it?", "Ada Lovelace", "Grace Hopper", 0.0),
        ("When was it?", "in May 2018", "May 2019", 0.0),
        ("When was it?", "2018", "in May 2018", 1.0),
        ("How high is the tower?", "The tower is 56 metres high", "56 m", 2 / 3),
        ("Wie heißt die Stadt?", "São Paulo", "Sao Paulo", 1.0),
    ],
)
def test_overlap_weighs_words_and_lets_no_number_contradict(query, reference, answer, expected):
    """The question's own words count for nothing, and a wrong year undoes a right month."""
    found = value("answer_overlap", answer, query=query, answers=(reference,))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "language", "number"),
    [
        ("two dozen eggs", "en", 24),
        ("zwei Dutzend Eier", "de", 24),
        ("uma dúzia de ovos", "pt", 12),
        ("$1.2B", "en", 1.2e9),
        ("dois biliões de euros", "pt", 2e12),
        ("1.5 crore rupees", "en", 1.5e7),
        ("R$ 2 mil milhões", "pt", 2e9),
    ],
)
def test_scale_words_are_numbers(text, language, number):
    """Dozens, billions of both lengths, lakhs and crores."""
    assert quantities(text, language)[0].equals(number)
