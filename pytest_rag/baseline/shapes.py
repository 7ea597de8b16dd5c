"""What stands in a baseline's file, checked: a person may have edited it by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    _Shape = tuple[Callable[[Any], bool], str, bool]

__all__ = ["check_case", "check_counts", "check_head"]


def check_head(head: Mapping[str, Any]) -> None:
    """Refuse what is said of the whole where it cannot be used.

    Raises:
        ValueError: names the key.
    """
    unknown = next(iter(head.keys() - _HEAD.keys()), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is no part of it")
    _check(head, _HEAD, "")


def check_case(case: str, told: Any) -> None:
    """Refuse what is said of a case where it cannot be used.

    Raises:
        TypeError: if it is no mapping.
        ValueError: names the case and the key.
    """
    of = f" of case {case!r}"
    if not isinstance(told, dict):
        raise TypeError(f"what is said{of} is no mapping")
    _check(told, _CASE, of)


def check_counts(cases: Iterable[str], runs: Iterable[int], passed: Iterable[int]) -> None:
    """Refuse a case that ran never, or passed more often than it ran.

    Raises:
        ValueError: names the first.
    """
    for case, ran, well in zip(cases, runs, passed, strict=True):
        if not 0 <= well <= ran or not ran:
            raise ValueError(f"case {case!r} passed {well} of {ran} runs")


def _check(told: Mapping[str, Any], shapes: Mapping[str, _Shape], of: str) -> None:
    for key, (fits, kind, needed) in shapes.items():
        if key in told:
            if not fits(told[key]):
                raise ValueError(f"{key!r}{of} is not {kind}")
        elif needed:
            raise ValueError(f"{key!r}{of} is missing")


# --- shapes -------------------------------------------------------------------------------------


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and set(map(type, value)) <= {str}


def _mapping_of(*kinds: type) -> Callable[[Any], bool]:
    allowed = set(kinds)
    return lambda value: isinstance(value, dict) and set(map(type, value.values())) <= allowed


def _limits(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_bounds, value.values()))


def _gate(value: Any) -> bool:
    return isinstance(value, dict) and all(
        type(of) in (int, float) if name == "alpha" else _bounds(of) for name, of in value.items()
    )


_bounds = _mapping_of(int, float, bool)
_numbers = _mapping_of(int, float)
_wholes = _mapping_of(int)
_words = _mapping_of(str)
_NUMBERS = "a mapping to numbers"
_CASE: Mapping[str, _Shape] = {
    "scores": (_numbers, _NUMBERS, True),
    "runs": (_is_whole, "a whole number", True),
    "passed": (_is_whole, "a whole number", True),
    "checks": (_limits, "a mapping to limits", True),
    "fingerprint": (_is_text_or_none, "a text", True),
    "gold": (_numbers, "a mapping to grades", True),
    "ranks": (_wholes, "a mapping to ranks", False),
    "lost": (_words, "a mapping to texts", False),
    "tokens": (_wholes, "a mapping to whole numbers", False),
    "retrieved": (_texts, "a list of texts", False),
    "unindexed": (_texts, "a list of texts", False),
}
_HEAD: Mapping[str, _Shape] = {
    "evalset": (_is_text, "a text", True),
    "deterministic": (_is_bool, "true or false", False),
    "gate": (_gate, "a mapping to limits", False),
    "noise": (_numbers, _NUMBERS, False),
    "versions": (_words, "a mapping to texts", False),
    "fingerprint": (_mapping_of(str, type(None)), "a mapping to texts", False),
}
