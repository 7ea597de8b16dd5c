"""Pydantic's findings in our words: what is wrong, what is there, and what to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.evalset.problems import show
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

    from pytest_rag.evalset.problems import Loc, Source

__all__ = ["sentence"]

_MUST_BE = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "too_long": "at most {max_length} long",
    "finite_number": "a finite number",
    "int_parsing_size": "a smaller number",
    "literal_error": "{expected}",
}
_EXPECTED = {
    "answer": "a text or a list of texts",
    "relevant": "a list of document ids, or a mapping from ids to grades",
    "evidence": "a mapping from gold ids to the words that hold the answer",
    "pipeline": "package.module:name, {factory: …} or {local: …}",
    "cases_from": "a mapping with 'path' or 'dataset', or a list of such mappings",
}
_BOOLEANS = {"no": "false", "off": "false", "yes": "true", "on": "true"}


def sentence(error: ErrorDetails, loc: Loc, keys: Iterable[str], source: Source) -> str:
    """Return one or two plain sentences for an error that pydantic found at ``loc``."""
    kind, value = error["type"], error.get("input")
    name = source.named(loc)
    if kind == "rag":
        return str(error["ctx"]["message"]).replace("{name}", name)
    if kind == "extra_forbidden":
        where = _where(loc, source)
        return f"Unknown key {show(loc[-1])} in {where}.{did_you_mean(str(loc[-1]), keys)}"
    if kind == "missing":
        return f"{_where(loc, source).capitalize()} has no {source.named(loc[-1:])}; it needs one."
    if value is None:
        return f"{name} has no value. Write one, or take the key away."
    return f"{name} must be {_expected(error, loc)}, not {show(value)}.{_hint(kind, value)}"


def _where(loc: Loc, source: Source) -> str:
    return source.named(loc[:-1]) if len(loc) > 1 else source.owner


def _expected(error: ErrorDetails, loc: Loc) -> str:
    kind = error["type"]
    if len(loc) == 1 and kind.endswith("_type") and str(loc[0]) in _EXPECTED:
        return _EXPECTED[str(loc[0])]
    return _MUST_BE.get(kind, "something else").format(**error.get("ctx", {}))


def _hint(kind: str, value: Any) -> str:
    if kind == "bool_type" and str(value).lower() in _BOOLEANS:
        return f" Write {_BOOLEANS[str(value).lower()]}."
    if kind == "list_type" and isinstance(value, str):
        return f" Write [{value}]." if len(value) <= 40 else " Put it in [ ]."
    return ""
