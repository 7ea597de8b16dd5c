"""The file format as pydantic models: what the loader accepts and the JSON Schema describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from pytest_rag.evalset.fields import (
    MANY,
    CaseId,
    Checks,
    Evidence,
    Filters,
    Gate,
    ImportPath,
    Mark,
    Name,
    Qrels,
    Repeat,
    Seconds,
    SetName,
    Text,
    Texts,
    is_list,
    wrong,
)
from pytest_rag.evalset.problems import show
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
    "Strict",
    "validated",
]

# Read as typed, so that `184`, `2.10` and `true` are document ids and answers without quotes.
TEXT_KEYS = frozenset({"id", "query", "answer", "relevant", "forbidden", "tags", "evalset"})


def _pipeline_kind(value: Any) -> str:
    if not isinstance(value, dict):
        return "(text)"
    return "(local)" if "local" in value else "(factory)"


# --- the models -------------------------------------------------------------------------------


class Strict(BaseModel):
    """A mapping that takes no key it does not know, and no value of another kind."""

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


class CaseModel(Strict):
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
    forbidden: Annotated[list[Text], MANY] = Field(
        [], description="Ids or globs that must not be retrieved."
    )
    answerable: bool = Field(True, description="false where a refusal is the right answer.")
    tags: Annotated[list[Mark], MANY] = Field([], description="pytest marks of the case, for -m.")
    filters: Filters = Field({}, description="Metadata filters handed to the retriever.")
    checks: Checks = Field({}, description="Limits of this case, over those of 'defaults'.")
    repeat: Repeat = Field(1, description="How often the case is run.")
    min_pass: Repeat = Field(1, description="How many repeats must pass; default: all.")
    timeout_s: Seconds = Field(60.0, description="Seconds after which a run is given up.")
    evidence: Evidence = Field(
        {}, description="Gold id: words of the document that hold the answer, or a list of them."
    )
    reviewed: bool = Field(True, description="false for a proposal, which is not run.")


class DefaultsModel(Strict):
    """What holds for every case that does not say otherwise."""

    model_config = ConfigDict(title="Defaults")

    checks: Checks = Field({}, description="Limits of every case they apply to.")
    repeat: Repeat = Field(1, description="How often a case is run.")
    min_pass: Repeat = Field(1, description="How many repeats must pass; default: all.")
    timeout_s: Seconds = Field(60.0, description="Seconds after which a run is given up.")
    tags: Annotated[list[Mark], MANY] = Field([], description="pytest marks of every case.")
    filters: Filters = Field({}, description="Metadata filters of every case.")


class FactoryModel(Strict):
    """A factory that builds the pipeline."""

    model_config = ConfigDict(title="Factory")

    factory: ImportPath = Field(description="package.module:name of a callable.")
    params: dict[Name, Any] = Field({}, description="Its keyword arguments.")
    params_from: Name | None = Field(
        None, description="A JSON file with more of them, which go before those of 'params'."
    )


class LocalModel(Strict):
    """The pipeline that comes with pytest-rag and needs no key."""

    model_config = ConfigDict(title="Local")

    local: dict[Name, Any] | None = Field(description="Its settings; empty for the defaults.")
    params_from: Name | None = Field(
        None, description="A JSON file with more of them, which go before those of 'local'."
    )


_ONE_SOURCE: dict[str, Any] = {
    "oneOf": [{"required": ["path"]}, {"required": ["dataset"]}],
    "dependentRequired": {key: ["dataset"] for key in ("config", "split", "streaming")},
}


class BulkModel(Strict):
    """A file or a dataset with more cases."""

    model_config = ConfigDict(title="Bulk", json_schema_extra=_ONE_SOURCE)

    path: Name = Field(
        default_factory=str,
        description="A JSONL, JSON, CSV, Parquet or Arrow file, relative to this one.",
    )
    dataset: Name = Field(
        default_factory=str,
        description="A folder that save_to_disk wrote, a file, or a name on the Hugging Face Hub.",
    )
    split: Name = Field(default_factory=str, description="Of the dataset; the only one if absent.")
    config: Name = Field(default_factory=str, description="Which of a hub dataset's subsets.")
    streaming: bool = Field(
        False, description="Read a hub dataset row by row, and keep no copy of it."
    )
    limit: Annotated[int, Field(ge=1)] | None = Field(None, description="Read the first rows only.")
    map: dict[Name, Name] = Field({}, description="Our key: the column, or column.field.")
    ignore: list[Name] = Field([], description="Columns that are not read.")

    @model_validator(mode="before")
    @classmethod
    def _one_source(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "path" in value and "dataset" in value:
            raise wrong("'path' and 'dataset' cannot stand together. Keep one of them.")
        if not value.keys() - cls.model_fields.keys() and not value.keys() & {"path", "dataset"}:
            raise wrong("{name} names no source. Write {path: FILE} or {dataset: NAME}.")
        for key in ("config", "streaming", "split"):
            if key in value and "path" in value:
                raise wrong(f"{show(key)} goes with 'dataset', not with 'path'.")
        return value


Bulks = Annotated[
    Annotated[BulkModel, Tag("(one)")] | Annotated[list[BulkModel], Tag("(list)")],
    Discriminator(is_list),
]
Pipeline = Annotated[
    Annotated[ImportPath, Tag("(text)")]
    | Annotated[FactoryModel, Tag("(factory)")]
    | Annotated[LocalModel, Tag("(local)")],
    Discriminator(_pipeline_kind),
]


class FileModel(Strict):
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
    reviewed: bool = Field(
        True, description="false where cases that do not say otherwise are proposals, and not run."
    )
    cases_from: Bulks = Field([], description="More questions, from files and datasets.")
    gate: Gate = Field({}, description="Limits on the whole set; alpha is the false-alarm rate.")


# --- values → models --------------------------------------------------------------------------


def validated(
    model: type[Any],
    raw: Mapping[str, Any],
    source: Source,
    below: Mapping[str, type[Any]] | None = None,
) -> Any:
    """Return ``model`` filled from ``raw``, or None where a key without which it cannot be is bad.

    Every problem is reported, and the keys that have one are left out, so that the rest of the
    piece can still be looked at. ``below`` holds the models of its parts by key or tag, for the
    nearest right key; None for those of an evalset.
    """
    try:
        return model.__pydantic_validator__.validate_python(raw)
    except ValidationError as error:
        bad = _report(error, model, source, _BELOW if below is None else below)
    kept = {key: value for key, value in raw.items() if key not in bad}
    if not kept.keys() >= {key for key, each in model.model_fields.items() if each.is_required()}:
        return None
    return model.__pydantic_validator__.validate_python(kept)


def _report(
    error: ValidationError, model: type[Any], source: Source, below: Mapping[str, Any]
) -> set[str]:
    errors = error.errors(include_url=False)
    for each in errors:
        if source.problems.full:
            break
        loc = tuple(part for part in each["loc"] if not _is_noise(part))
        unknown = each["type"] == "extra_forbidden"
        keys = _keys(model, each["loc"][:-1], below) if unknown else ()
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


def _keys(model: type[Any], loc: tuple[int | str, ...], below: Mapping[str, Any]) -> Iterable[str]:
    found = [below[part] for part in loc if isinstance(part, str) and part in below]
    fields: Mapping[str, Any] = (found[-1] if found else model).model_fields
    return fields.keys()
