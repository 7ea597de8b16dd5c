"""A rubric under ``checks``: a question about the answer, for the judge."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_rag.evalset.problems import show
from pytest_rag.registry import did_you_mean

__all__ = ["RUBRIC_SCHEMA", "RubricModel", "read_rubric"]


class RubricModel(BaseModel):
    """A question about the answer that the judge answers with a number."""

    model_config = ConfigDict(title="Rubric", extra="forbid", strict=True, allow_inf_nan=False)

    question: Annotated[str, Field(pattern=r"\S")] = Field(
        description="What the judge is asked about the answer."
    )
    scale: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(
        [0, 1], description="The worst and the best score."
    )
    show: list[Literal["reference", "retrieved"]] = Field(
        ["reference"], description="What the judge sees beside query and answer."
    )


RUBRIC_SCHEMA = RubricModel.model_json_schema()


def read_rubric(raw: object) -> tuple[str, dict[str, Any] | None]:
    """Return what is wrong with a rubric in a sentence, or an empty text and its plain values."""
    if not isinstance(raw, dict):
        return f"Write it as {{question: …, scale: [0, 1]}}, not {show(raw)}.", None
    for key in sorted(raw.keys() - RubricModel.model_fields.keys(), key=str):
        hint = did_you_mean(str(key), RubricModel.model_fields)
        return f"Unknown key {show(key)}.{hint}", None
    try:
        made = RubricModel.model_validate(raw)
    except ValidationError as error:
        return _sentence(error, raw), None
    if made.scale[0] >= made.scale[1]:
        return f"'scale' must rise as [0, 1] does, not {show(raw['scale'])}.", None
    return "", made.model_dump()


_FORMS = {
    "question": "a text",
    "scale": "two numbers, as [0, 1]",
    "show": "a list of 'reference' and 'retrieved'",
}


def _sentence(error: ValidationError, raw: dict[str, Any]) -> str:
    key = str(error.errors(include_url=False)[0]["loc"][0])
    if key not in raw:
        return f"It has no {show(key)}. Write {_FORMS[key]}."
    return f"{show(key)} must be {_FORMS[key]}, not {show(raw[key])}."
