"""The file format as pydantic models: what the loader accepts and the JSON Schema describes."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pytest_rag.evalset.problems import show
from pytest_rag.evalset.rubric import RUBRIC_SCHEMA
from pytest_rag.evalset.sentences import sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_rag.evalset.problems import Source

__all__ = [
    "TEXT_KEYS",
    "BulkModel",
    "CaseModel",
    "DefaultsModel",
    "FactoryModel",
    "FileModel",
    "LocalModel",
    "validated",
]

# Read as typed, so that `184`, `2.10` and `true` are document ids and answers without quotes.
TEXT_KEYS = frozenset({"id", "query", "answer", "relevant", "forbidden", "tags", "evalset"})

_FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_MARKS_OF_OTHERS = frozenset(
    {"parametrize", "skipif", "usefixtures", "filterwarnings", "rag", "rag_budget"}
)


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("rag", "{message}", {"message": message})


# --- single values ----------------------------------------------------------------------------


def _not_blank(text: str) -> str:
    if not text.strip():
        raise _wrong("{name} is blank. Write a text.")
    return _characters(text)


def _characters(text: str) -> str:
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise _wrong("{name} holds half of a surrogate pair, which is no character. Remove it.")
    return text


def _case_id(text: str) -> str:
    if not text.isprintable() or text != text.strip() or "::" in text:
        rule = "An id has no control characters, no '::' and no blanks around it."
        raise _wrong(f"{{name}} cannot be {show(text)}. {rule}")
    return text


def _set_name(text: str) -> str:
    if not text.isprintable() or set(text) & set("/\\:") or text.startswith("."):
        rule = "It names files, so it has no '/', '\\', ':' and no dot in front."
        raise _wrong(f"{{name}} cannot be {show(text)}. {rule}")
    return text


def _mark(tag: str) -> str:
    if tag in _MARKS_OF_OTHERS:
        raise _wrong(f"Tag {show(tag)} is a pytest mark with a meaning of its own. Rename it.")
    if tag.isidentifier() and not keyword.iskeyword(tag) and not tag.startswith("_"):
        return tag
    near = re.sub(r"\W+", "_", tag).strip("_")
    hint = f" Write {near}." if near.isidentifier() and not keyword.iskeyword(near) else ""
    rule = "It needs letters, digits and '_', and a letter in front."
    raise _wrong(f"Tag {show(tag)} cannot be a pytest mark. {rule}{hint}")


def _import_path(text: str) -> str:
    if not _FACTORY.fullmatch(text):
        raise _wrong(f"{{name}} cannot be {show(text)}. Write it as package.module:name.")
    return text


def _scalar(value: Any) -> Any:
    if not isinstance(value, (str, int, float)):
        raise _wrong(f"{{name}} must be a text, a number or true/false, not {show(value)}.")
    return _characters(value) if isinstance(value, str) else value


def _is_list(value: Any) -> str:
    return "(list)" if isinstance(value, list) else "(one)"


def _is_mapping(value: Any) -> str:
    return "(mapping)" if isinstance(value, dict) else "(list)"


def _is_text(value: Any) -> str:
    return "(text)" if isinstance(value, str) else "(list)"


def _pipeline_kind(value: Any) -> str:
    if not isinstance(value, dict):
        return "(text)"
    return "(local)" if "local" in value else "(factory)"


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
_MANY = Field(max_length=100_000)
Grade = Annotated[int, Field(ge=0)]
Texts = Annotated[
    Annotated[Text, Tag("(text)")] | Annotated[list[Text], _MANY, Tag("(list)")],
    Discriminator(_is_text),
]
Qrels = Annotated[
    Annotated[list[Text], _MANY, Tag("(list)")]
    | Annotated[dict[Name, Grade], _MANY, Tag("(mapping)")],
    Discriminator(_is_mapping),
]
Scalar = Annotated[Any, AfterValidator(_scalar), WithJsonSchema(_SCALAR_TYPES)]
FilterValue = Annotated[
    Annotated[Scalar, Tag("(one)")] | Annotated[list[Scalar], Tag("(list)")],
    Discriminator(_is_list),
]
Filters = dict[Name, FilterValue]
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


# --- the models -------------------------------------------------------------------------------


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


_NO_ANSWER: dict[str, Any] = {
    "if": {"properties": {"answerable": {"const": False}}, "required": ["answerable"]},
    "then": {
        "properties": {
            "answer": {"type": "array", "maxItems": 0},
            "relevant": {"maxItems": 0, "maxProperties": 0},
        }
    },
}


class CaseModel(_Strict):
    """One question with what is known of the right answer."""

    model_config = ConfigDict(title="Case", json_schema_extra=_NO_ANSWER)

    id: CaseId = Field(description="Unique in the evalset; part of the test's name.")
    query: Text = Field(description="The question as it is put to the pipeline.")
    answer: Texts = Field([], description="The reference answer, or a list of acceptable ones.")
    relevant: Qrels = Field(
        [],
        description="Documents that answer the question: a list, or a mapping to grades. "
        "An id may carry #section, #page=3 or #char=120,340, or be a glob.",
    )
    forbidden: Annotated[list[Text], _MANY] = Field(
        [], description="Ids or globs that must not be retrieved."
    )
    answerable: bool = Field(True, description="false where a refusal is the right answer.")
    tags: Annotated[list[Mark], _MANY] = Field([], description="pytest marks of the case, for -m.")
    filters: Filters = Field({}, description="Metadata filters handed to the retriever.")
    checks: Checks = Field({}, description="Limits of this case, over those of 'defaults'.")
    repeat: Repeat = Field(1, description="How often the case is run.")
    min_pass: Repeat = Field(1, description="How many repeats must pass; default: all.")
    timeout_s: Seconds = Field(60.0, description="Seconds after which a run is given up.")


class DefaultsModel(_Strict):
    """What holds for every case that does not say otherwise."""

    model_config = ConfigDict(title="Defaults")

    checks: Checks = Field({}, description="Limits of every case they apply to.")
    repeat: Repeat = Field(1, description="How often a case is run.")
    min_pass: Repeat = Field(1, description="How many repeats must pass; default: all.")
    timeout_s: Seconds = Field(60.0, description="Seconds after which a run is given up.")
    tags: Annotated[list[Mark], _MANY] = Field([], description="pytest marks of every case.")
    filters: Filters = Field({}, description="Metadata filters of every case.")


class FactoryModel(_Strict):
    """A factory that builds the pipeline."""

    model_config = ConfigDict(title="Factory")

    factory: ImportPath = Field(description="package.module:name of a callable.")
    params: dict[Name, Any] = Field({}, description="Its keyword arguments.")


class LocalModel(_Strict):
    """The pipeline that comes with pytest-rag and needs no key."""

    model_config = ConfigDict(title="Local")

    local: dict[Name, Any] | None = Field(description="Its settings; empty for the defaults.")


class BulkModel(_Strict):
    """A file with more cases."""

    model_config = ConfigDict(title="Bulk")

    path: Name = Field(description="A JSONL or CSV file, relative to this one.")
    map: dict[Name, Name] = Field({}, description="Our key: the file's column.")
    ignore: list[Name] = Field([], description="Columns that are not read.")

    @model_validator(mode="before")
    @classmethod
    def _no_dataset(cls, value: Any) -> Any:
        if isinstance(value, dict) and "dataset" in value:
            raise _wrong("'dataset' is not supported yet. Use a JSONL or CSV file: {path: …}.")
        return value


Bulks = Annotated[
    Annotated[BulkModel, Tag("(one)")] | Annotated[list[BulkModel], Tag("(list)")],
    Discriminator(_is_list),
]
Pipeline = Annotated[
    Annotated[ImportPath, Tag("(text)")]
    | Annotated[FactoryModel, Tag("(factory)")]
    | Annotated[LocalModel, Tag("(local)")],
    Discriminator(_pipeline_kind),
]


class FileModel(_Strict):
    """A test set: questions, gold documents, reference answers and limits."""

    model_config = ConfigDict(
        title="pytest-rag evalset",
        json_schema_extra={"anyOf": [{"required": ["cases"]}, {"required": ["cases_from"]}]},
    )

    evalset: SetName = Field(
        default_factory=str, description="Default: the file's name without .rag.yaml."
    )
    pipeline: Pipeline = Field(
        default_factory=str, description="The system under test; absent: the rag_pipeline fixture."
    )
    defaults: DefaultsModel = Field(
        DefaultsModel.model_construct(), description="What holds for every case."
    )
    mode: Literal["live", "replay"] = Field(
        "live", description="replay: models answer from the cassette unless --rag-mode differs."
    )
    cases: list[CaseModel] = Field([], description="The questions.")
    cases_from: Bulks = Field([], description="More questions, from JSONL or CSV files.")
    gate: Gate = Field({}, description="Limits on the whole set; alpha is the false-alarm rate.")


# --- values → models --------------------------------------------------------------------------


def validated(model: type[Any], raw: Mapping[str, Any], source: Source) -> Any:
    """Return ``model`` filled from ``raw``, or None where a key without which it cannot be is bad.

    Every problem is reported, and the keys that have one are left out, so that the rest of the
    piece can still be looked at.
    """
    try:
        return model.__pydantic_validator__.validate_python(raw)
    except ValidationError as error:
        bad = _report(error, model, source)
    kept = {key: value for key, value in raw.items() if key not in bad}
    if not kept.keys() >= {key for key, each in model.model_fields.items() if each.is_required()}:
        return None
    return model.__pydantic_validator__.validate_python(kept)


def _report(error: ValidationError, model: type[Any], source: Source) -> set[str]:
    errors = error.errors(include_url=False)
    for each in errors:
        if source.problems.full:
            break
        loc = tuple(part for part in each["loc"] if not _is_noise(part))
        unknown = each["type"] == "extra_forbidden"
        keys = _keys(model, each["loc"][:-1]) if unknown else ()
        source.report(sentence(each, loc, keys, source), loc, key=unknown)
    return {str(each["loc"][0]) for each in errors if each["loc"]}


def _is_noise(part: int | str) -> bool:
    return part == "[key]" or (isinstance(part, str) and part in _TAGS)


_TAGS = frozenset({"(text)", "(list)", "(one)", "(mapping)", "(factory)", "(local)"})
_BELOW: Mapping[str, Any] = {
    "defaults": DefaultsModel,
    "cases_from": BulkModel,
    "(factory)": FactoryModel,
    "(local)": LocalModel,
}


def _keys(model: type[Any], loc: tuple[int | str, ...]) -> Iterable[str]:
    below = [_BELOW[part] for part in loc if isinstance(part, str) and part in _BELOW]
    fields: Mapping[str, Any] = (below[-1] if below else model).model_fields
    return fields.keys()
