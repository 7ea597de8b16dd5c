"""Single values of the file format as pydantic types: what each key takes."""

from __future__ import annotations

import keyword
import re
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from pytest_rag.evalset.problems import show
from pytest_rag.evalset.rubric import RUBRIC_SCHEMA

__all__ = [
    "MANY",
    "CaseId",
    "Checks",
    "Evidence",
    "Filters",
    "Gate",
    "ImportPath",
    "Mark",
    "Name",
    "Qrels",
    "Repeat",
    "Seconds",
    "SetName",
    "Text",
    "Texts",
    "is_list",
    "wrong",
]

_FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_MARKS_OF_OTHERS = frozenset(
    {"parametrize", "skipif", "usefixtures", "filterwarnings", "rag", "rag_budget"}
)


def wrong(message: str) -> PydanticCustomError:
    """Return an error whose text is the message; ``{name}`` in it becomes the key's name."""
    return PydanticCustomError("rag", "{message}", {"message": message})


# --- single values ----------------------------------------------------------------------------


def _not_blank(text: str) -> str:
    if not text.strip():
        raise wrong("{name} is blank. Write a text.")
    return _characters(text)


def _characters(text: str) -> str:
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise wrong("{name} holds half of a surrogate pair, which is no character. Remove it.")
    return text


def _case_id(text: str) -> str:
    if not text.isprintable() or text != text.strip() or "::" in text:
        rule = "An id has no control characters, no '::' and no blanks around it."
        raise wrong(f"{{name}} cannot be {show(text)}. {rule}")
    return text


def _set_name(text: str) -> str:
    if not text.isprintable() or set(text) & set("/\\:") or text.startswith("."):
        rule = "It names files, so it has no '/', '\\', ':' and no dot in front."
        raise wrong(f"{{name}} cannot be {show(text)}. {rule}")
    return text


def _mark(tag: str) -> str:
    if tag in _MARKS_OF_OTHERS:
        raise wrong(f"Tag {show(tag)} is a pytest mark with a meaning of its own. Rename it.")
    if tag.isidentifier() and not keyword.iskeyword(tag) and not tag.startswith("_"):
        return tag
    near = re.sub(r"\W+", "_", tag).strip("_")
    hint = f" Write {near}." if near.isidentifier() and not keyword.iskeyword(near) else ""
    rule = "It needs letters, digits and '_', and a letter in front."
    raise wrong(f"Tag {show(tag)} cannot be a pytest mark. {rule}{hint}")


def _import_path(text: str) -> str:
    if not _FACTORY.fullmatch(text):
        raise wrong(f"{{name}} cannot be {show(text)}. Write it as package.module:name.")
    return text


def _scalar(value: Any) -> Any:
    if not isinstance(value, (str, int, float)):
        raise wrong(f"{{name}} must be a text, a number or true/false, not {show(value)}.")
    return _characters(value) if isinstance(value, str) else value


def is_list(value: Any) -> str:
    """Return which of the two forms of a value is meant: a list, or one."""
    return "(list)" if isinstance(value, list) else "(one)"


def _is_mapping(value: Any) -> str:
    return "(mapping)" if isinstance(value, dict) else "(list)"


def _is_text(value: Any) -> str:
    return "(text)" if isinstance(value, str) else "(list)"


_SCALAR_TYPES = {"type": ["string", "number", "boolean"]}
_BARE = {**_SCALAR_TYPES, "pattern": r"\S"}

Name = Annotated[
    str, AfterValidator(_not_blank), WithJsonSchema({"type": "string", "pattern": r"\S"})
]
Text = Annotated[str, AfterValidator(_not_blank), WithJsonSchema(_BARE)]
CaseId = Annotated[str, AfterValidator(_not_blank), AfterValidator(_case_id), WithJsonSchema(_BARE)]
SetName = Annotated[
    str, AfterValidator(_not_blank), AfterValidator(_set_name), WithJsonSchema(_BARE)
]
ImportPath = Annotated[
    str,
    AfterValidator(_import_path),
    WithJsonSchema({"type": "string", "pattern": "^[^:]+:[^:]+$"}),
]
Mark = Annotated[
    str, AfterValidator(_mark), WithJsonSchema({"type": "string", "pattern": "^[^\\W\\d_]\\w*$"})
]
MANY = Field(max_length=100_000)
Grade = Annotated[int, Field(ge=0)]
Texts = Annotated[
    Annotated[Text, Tag("(text)")] | Annotated[list[Text], MANY, Tag("(list)")],
    Discriminator(_is_text),
]
Qrels = Annotated[
    Annotated[list[Text], MANY, Tag("(list)")]
    | Annotated[dict[Name, Grade], MANY, Tag("(mapping)")],
    Discriminator(_is_mapping),
]
Scalar = Annotated[Any, AfterValidator(_scalar), WithJsonSchema(_SCALAR_TYPES)]
FilterValue = Annotated[
    Annotated[Scalar, Tag("(one)")] | Annotated[list[Scalar], Tag("(list)")],
    Discriminator(is_list),
]
Filters = dict[Name, FilterValue]
Evidence = Annotated[dict[Name, Texts], MANY]
Repeat = Annotated[int, Field(ge=1, le=1000)]
Seconds = Annotated[float, Field(gt=0)]

_BOUNDS = {name: {"type": "number"} for name in ("min", "max")}
_CHECK = {
    "description": "A number: the floor of a quality metric, the ceiling of a budget. "
    "Or min and max, or what the metric compares with. null switches a default off.",
    "anyOf": [
        {"type": ["number", "string", "null"]},
        {"type": "array"},
        {"type": "object", "properties": {**_BOUNDS, "rubric": RUBRIC_SCHEMA}},
    ],
}
_GATE_VALUE = {
    "description": "A number: the floor of a quality metric, the ceiling of a budget.",
    "anyOf": [
        {"type": "number"},
        {
            "type": "object",
            "properties": {**_BOUNDS, "max_drop": {"type": "number", "minimum": 0}},
            "additionalProperties": False,
            "minProperties": 1,
        },
    ],
}
_ALPHA = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5}
Checks = dict[str, Annotated[Any, WithJsonSchema(_CHECK)]]
Gate = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {"alpha": _ALPHA},
            "additionalProperties": _GATE_VALUE,
        }
    ),
]
