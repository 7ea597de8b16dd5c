"""The format of ``*.sweep.yaml`` as pydantic models, and its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from pytest_rag.evalset.fields import Name, SetName, wrong
from pytest_rag.evalset.model import Strict
from pytest_rag.evalset.problems import first_twice, show
from pytest_rag.sweep.space import label

__all__ = ["BELOW", "SAMPLERS", "KnobModel", "SweepModel", "sweep_schema"]

Sampler = Literal["tpe", "random", "grid", "nsga2"]
SAMPLERS: tuple[Sampler, ...] = ("tpe", "random", "grid", "nsga2")


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong(f"{{name}} must be a number, not {show(value)}.")
    return value


def _values(values: list[Any]) -> list[Any]:
    if not values:
        raise wrong("{name} has no value to try. Write at least one.")
    twice = first_twice(label(value) for value in values)
    if twice is not None:
        raise wrong(f"{{name}} names {twice} twice. Remove one.")
    return values


def _prune(value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is False or (number and 0 < value < 0.5):
        return value
    raise wrong(f"{{name}} must lie between 0 and 0.5, or be false, not {show(value)}. Write 0.05.")


def _is_range(value: Any) -> str:
    return "(mapping)" if isinstance(value, dict) else "(list)"


def _is_text(value: Any) -> str:
    return "(list)" if isinstance(value, list) else "(text)"


Number = Annotated[Any, AfterValidator(_number), WithJsonSchema({"type": "number"})]
Choices = Annotated[list[Any], AfterValidator(_values)]


class KnobModel(Strict):
    """The values of a parameter: a range, or choices that are in use under a condition."""

    min: Number = Field(None, description="The lowest value of a range.")
    max: Number = Field(None, description="The highest value of a range.")
    step: Number = Field(None, description="Between neighbouring values of a range.")
    log: bool = Field(False, description="Search the range by its logarithm.")
    choices: Choices | None = Field(None, description="The values, instead of a range.")
    when: dict[Name, Any] = Field(
        {}, description="Another knob: its value, or a list of values, with which this is used."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> KnobModel:
        if (self.choices is None) == (self.min is None and self.max is None):
            raise wrong("{name} takes min and max, or choices. Write {min: 1, max: 10}.")
        if self.choices is not None:
            if self.step is not None or self.log:
                raise wrong("{name} has choices, which take no step and no log. Remove them.")
            return self
        self._range()
        return self

    def _range(self) -> None:
        if self.min is None or self.max is None:
            raise wrong("{name} is a range, which has both min and max. Write the other.")
        if self.min >= self.max:
            raise wrong(
                f"{{name}} has no value: min {show(self.min)} is not below max {show(self.max)}."
            )
        if self.step is not None and not 0 < self.step <= self.max - self.min:
            raise wrong(f"{{name}} has a step of {show(self.step)}, which leads to no other value.")
        if self.log and self.step is not None:
            raise wrong("{name} has log and step. Remove one.")
        if self.log and self.min <= 0:
            raise wrong(f"{{name}} has log, for which min must be above 0, not {show(self.min)}.")


Values = Annotated[
    Annotated[Choices, Tag("(list)")] | Annotated[KnobModel, Tag("(mapping)")],
    Discriminator(_is_range),
]
Objectives = Annotated[
    Annotated[Name, Tag("(text)")] | Annotated[list[Name], Field(min_length=1), Tag("(list)")],
    Discriminator(_is_text),
]


class SweepModel(Strict):
    """A search for better parameters of an evalset's pipeline."""

    sweep: SetName = Field(
        default_factory=str, description="Default: the file's name without .sweep.yaml."
    )
    evalset: Name = Field(description="The *.rag.yaml file, relative to this one.")
    params: dict[Name, Values] = Field(
        description="By the pipeline's parameter, the values to try: a list, or {min, max, step}."
    )
    objectives: Objectives = Field(
        description="What is made better: a metric or budget of the set, or several; the first "
        "decides between candidates within the limits."
    )
    limits: dict[str, Any] = Field(
        {}, description="What a candidate must keep, as under an evalset's 'gate'."
    )
    sampler: Sampler = Field("tpe", description="How candidates are chosen.")
    trials: Annotated[int, Field(ge=1, le=10_000)] = Field(
        60, description="Candidates at most, the current configuration among them."
    )
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(
        0, description="Of the split, the order of the cases, and the sampler."
    )
    holdout: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.4, description="Part of the cases that the search never sees."
    )
    prune: Annotated[
        Any,
        AfterValidator(_prune),
        WithJsonSchema({"anyOf": [{"type": "number"}, {"const": False}]}),
    ] = Field(
        0.05,
        description="Chance that a candidate as good as the best is stopped early; false: none is.",
    )
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.05, description="Chance that the verdict calls better what is not."
    )
    max_cost: Annotated[float, Field(gt=0)] | None = Field(
        None, description="US dollars that the whole sweep may cost."
    )


BELOW = {"(mapping)": KnobModel}


def sweep_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the file format."""
    schema = SweepModel.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
