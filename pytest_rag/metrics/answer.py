"""Metrics of the answer's text: deterministic, without a model, in English, Portuguese, German.

They compare with the reference answers (``exact_match``, ``token_f1``), with what a check gives
them (``contains``, ``regex``, ``one_of``, ``numeric``), with what was retrieved (``groundedness``)
or with the case's ``answerable`` (``refusal``). An answer that is None, as a bare retriever gives,
has no score; an empty one is a refusal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from pytest_rag.metrics import text
from pytest_rag.metrics.gold import NOT_TOLD
from pytest_rag.registry import did_you_mean
from pytest_rag.types import Score

if TYPE_CHECKING:
    from pytest_rag.metrics.quantities import Quantity
    from pytest_rag.types import Case, Observation

__all__ = ["ANSWER_METRICS", "NO_ANSWER", "AnswerMetric", "Asked", "Found"]

NO_ANSWER = "the pipeline gives no answer"
_LONGEST_FOR_REGEX = 20_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What one metric is computed from.

    Attributes:
        answer: The answer's text, which exists.
        case: The case.
        observation: The run.
        argument: What the check gives, or None.
        language: Guessed from query and reference answers.
    """

    answer: str
    case: Case
    observation: Observation
    argument: Any
    language: text.Language


Found = tuple[float | None, str | None]
"""A value or None, and a reason or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerMetric:
    """A metric of the answer's text.

    Attributes:
        name: As people write it.
        compute: The value, or None, and a reason, from what is asked.
        needs: What the case must carry.
        check: Tells what is wrong with an argument, or None; None where no argument is taken.
        or_answers: Whether reference answers do where no argument is given.
        version: Of the definition.
        higher_is_better: True for all of them.
    """

    name: str
    compute: Callable[[Asked], Found]
    needs: frozenset[str] = frozenset()
    check: Callable[[Any], str | None] | None = None
    or_answers: bool = False
    version: str = "1"
    higher_is_better: bool = True

    @property
    def takes_argument(self) -> bool:
        """Whether a check may give the metric something to compare with."""
        return self.check is not None

    def validate_argument(self, argument: Any) -> str | None:
        """Return what is wrong with the argument of a check, or None; for collection time."""
        return self.check(argument) if self.check is not None else None

    def lacking(self, case: Case, argument: Any = None) -> str | None:
        """Return what the case lacks beyond ``needs``, or None."""
        if self.or_answers and argument is None and not case.answers:
            return f"{self.name} needs an argument or `answer`"
        return None

    def score(self, case: Case, observation: Observation, argument: Any = None) -> Score:
        """Compute the score of one run; None with the reason where something is missing."""
        value, reason = self._found(case, observation, argument)
        return Score(value=value, reason=reason, version=self.version)

    def _found(self, case: Case, observation: Observation, argument: Any) -> Found:
        if observation.answer is None:
            return None, NO_ANSWER
        if "answers" in self.needs and not case.answers:
            return None, "the case has no `answer`"
        if argument is None and "argument" in self.needs:
            return None, f"{self.name} was given nothing to look for"
        wrong = None if argument is None else self.validate_argument(argument)
        if wrong is not None:
            return None, wrong
        language = text.guess_language(case.query, *case.answers)
        return self.compute(Asked(observation.answer, case, observation, argument, language))


# --- against the reference answers ------------------------------------------------------------


def _exact_match(asked: Asked) -> Found:
    """SQuAD's exact match: equal after normalisation, with any of the reference answers."""
    answer = text.normalise(asked.answer, asked.language)
    references = (text.normalise(r, asked.language) for r in asked.case.answers)
    return float(answer in references), None


def _token_f1(asked: Asked) -> Found:
    """SQuAD's F1 of the bags of words, the best over the reference answers."""
    answer = text.tokens(asked.answer, asked.language)
    references = (text.tokens(r, asked.language) for r in asked.case.answers)
    return max(_f1(answer, reference) for reference in references), None


def _f1(answer: list[str], reference: list[str]) -> float:
    shared = (Counter(answer) & Counter(reference)).total()
    return 2 * shared / (len(answer) + len(reference)) if shared else 0.0


# --- against what the check gives -------------------------------------------------------------


def _phrases(argument: Any) -> list[str]:
    return [str(item) for item in (argument if isinstance(argument, list | tuple) else [argument])]


def _contains(asked: Asked) -> Found:
    """All phrases stand in the answer as they are written, without regard to case and spacing."""
    answer = text.folded(asked.answer)
    lacking = [p for p in _phrases(asked.argument) if not text.contains_text(answer, p)]
    if lacking:
        return 0.0, f"the answer lacks {', '.join(map(repr, lacking))}"
    return 1.0, None


def _holds(answer: list[str], phrase: str, language: text.Language) -> bool:
    # A phrase of nothing but articles or signs is looked for as it is written.
    needle = text.phrase(phrase, language) or text.words(phrase)
    return text.contains_phrase(answer, needle)


def _one_of(asked: Asked) -> Found:
    """The normalised answer equals one of the phrases or contains it as whole words."""
    answer = text.phrase(asked.answer, asked.language)
    whole = text.normalise(asked.answer, asked.language)
    for phrase in _phrases(asked.argument):
        same = whole == text.normalise(phrase, asked.language)
        if same or _holds(answer, phrase, asked.language):
            return 1.0, None
    return 0.0, f"the answer is none of {', '.join(map(repr, _phrases(asked.argument)))}"


def _regex(asked: Asked) -> Found:
    """The pattern is found anywhere in the answer (``re.search``, no flags)."""
    if len(asked.answer) > _LONGEST_FOR_REGEX:
        return None, f"the answer is longer than {_LONGEST_FOR_REGEX} characters"
    found = re.search(asked.argument, asked.answer)
    return (1.0, None) if found else (0.0, f"nothing matches {asked.argument!r}")


def _numeric(asked: Asked) -> Found:
    """The number of the argument, or every number of a reference answer, is in the answer."""
    from pytest_rag.metrics.quantities import quantities

    found = quantities(asked.answer, asked.language)
    if asked.argument is not None:
        return _wanted_number(asked.argument, found)
    references = [_reference_numbers(r, asked.language) for r in asked.case.answers]
    if not any(references):
        return None, "no reference answer holds a number"
    for numbers in filter(None, references):
        if all(any(number.agrees(other) for other in found) for number in numbers):
            return 1.0, None
    return 0.0, "the answer lacks a number of the reference answer"


def _reference_numbers(reference: str, language: text.Language) -> list[Quantity]:
    """Return the numbers an answer must hold; "one day" is one only where there is no other."""
    from pytest_rag.metrics.quantities import quantities

    return quantities(reference, language, articles=False) or quantities(reference, language)


def _wanted_number(argument: Any, found: list[Quantity]) -> Found:
    wanted = argument if isinstance(argument, Mapping) else {"value": argument}
    unit = wanted.get("unit")
    rel, abs_ = wanted.get("rel", 1e-9), wanted.get("abs", 0.0)
    for number in found:
        in_unit = unit is None or number.measured_in(unit)
        if in_unit and number.equals(wanted["value"], rel=rel, abs_=abs_):
            return 1.0, None
    measured = f"{wanted['value']} {unit}" if unit else f"{wanted['value']}"
    return 0.0, f"the answer holds no {measured}"


# --- against the run --------------------------------------------------------------------------


def _refusal(asked: Asked) -> Found:
    """1 where the pipeline refuses exactly when it should; an empty answer is a refusal."""
    from pytest_rag.metrics.refusals import is_refusal

    refused = is_refusal(asked.answer)
    if refused != asked.case.answerable:
        return 1.0, None
    return 0.0, "it refused to answer" if refused else "it answered what it cannot know"


def _groundedness(asked: Asked) -> Found:
    """Share of the answer's content words that stand in the retrieved texts.

    Knowledge precision (K-Precision, Adlakha et al. 2023): each word of the answer counts as often
    as the texts hold it. Against people's verdicts on attribution (BEGIN, Dziri et al. 2022) it
    orders answers better than F1 with the texts does.
    """
    from pytest_rag.metrics.refusals import is_refusal

    if is_refusal(asked.answer):
        return None, "the answer is a refusal" if asked.answer.strip() else "the answer is empty"
    if asked.observation.retrieved is None:
        return None, NOT_TOLD
    answer = text.content_words(asked.answer)
    if not answer:
        return None, "the answer holds no words"
    known = Counter(word for node in asked.observation.retrieved for word in text.words(node.text))
    if not known:
        return 0.0, "nothing was retrieved"
    return (Counter(answer) & known).total() / len(answer), None


# --- arguments --------------------------------------------------------------------------------

# A group repeated without bound whose body is itself one unbounded repeat, optionals aside:
# (a+)+, (\w+\s*)*. Such a pattern can take time exponential in the length of the answer.
_ATOM = r"(?:\\.|\[[^\]]*\]|[^\\()\[\]*+?{}|])"
_EXPLOSIVE = re.compile(rf"\((?:\?:)?{_ATOM}[*+](?:{_ATOM}[*?])*\)(?:[*+]|\{{\d+,\}})(?!\+)")


def _wrong_phrases(argument: Any) -> str | None:
    items = argument if isinstance(argument, list | tuple) else [argument]
    if not items:
        return "the list is empty"
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            return f"{item!r} is not text; put it in quotes"
        if not text.words(str(item)):
            return f"{item!r} holds no word"
    return None


def _wrong_pattern(argument: Any) -> str | None:
    if not isinstance(argument, str):
        return f"{argument!r} is not a pattern; put it in quotes"
    try:
        re.compile(argument)
    except (re.error, RecursionError, OverflowError) as error:
        return f"{argument!r} is no regular expression: {error}"
    if _EXPLOSIVE.search(argument):
        return f"{argument!r} repeats a repeat, which can take forever; drop one of the two"
    return None


def _wrong_number(argument: Any) -> str | None:
    if not isinstance(argument, Mapping):
        return None if _is_number(argument) else f"{argument!r} is not a number"
    keys = ("value", "unit", "abs", "rel")
    for key, value in argument.items():
        if key not in keys:
            return f"unknown key {key!r}.{did_you_mean(str(key), keys)}"
        if key == "unit" and not isinstance(value, str):
            return f"unit {value!r} is not text"
        if key != "unit" and not _is_number(value):
            return f"{key} {value!r} is not a number"
        if key in ("abs", "rel") and value < 0:
            return f"{key} {value!r} is negative"
    return None if "value" in argument else "it has no `value`"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


_ANSWERS, _ARGUMENT = frozenset({"answers"}), frozenset({"argument"})
ANSWER_METRICS = (
    AnswerMetric(name="exact_match", compute=_exact_match, needs=_ANSWERS),
    AnswerMetric(name="token_f1", compute=_token_f1, needs=_ANSWERS),
    AnswerMetric(name="contains", compute=_contains, needs=_ARGUMENT, check=_wrong_phrases),
    AnswerMetric(name="one_of", compute=_one_of, needs=_ARGUMENT, check=_wrong_phrases),
    AnswerMetric(name="regex", compute=_regex, needs=_ARGUMENT, check=_wrong_pattern),
    AnswerMetric(name="numeric", compute=_numeric, check=_wrong_number, or_answers=True),
    AnswerMetric(name="refusal", compute=_refusal),
    AnswerMetric(name="groundedness", compute=_groundedness),
)
