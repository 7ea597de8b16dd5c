"""What the values of a recorded result are, checked: a person may have edited the file by hand."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any, NotRequired

from pydantic import Field, InstanceOf, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic's own; it refuses that of Python 3.11

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["fault"]

# Halves of characters are text as well, and pydantic's own check of a text refuses them.
_Text = InstanceOf[str]
_Numbers = dict[_Text, float]
_Span = Annotated[list[int | float | _Text | None], Field(min_length=5, max_length=5)]


class _Node(TypedDict):
    id: _Text
    rank: NotRequired[int]
    score: NotRequired[float | None]
    node: NotRequired[_Text | None]
    tokens: NotRequired[int | None]
    used: NotRequired[int | None]


class _Gold(TypedDict):
    grade: NotRequired[float]
    rank: NotRequired[int | None]
    indexed: NotRequired[bool | None]
    lost: NotRequired[_Text | None]


class _Score(TypedDict):
    value: float | None
    reason: NotRequired[_Text | None]
    version: NotRequired[_Text]
    judge: NotRequired[_Text | None]


class _Check(TypedDict):
    metric: _Text
    passed: bool
    value: NotRequired[float | None]
    min: NotRequired[float | None]
    max: NotRequired[float | None]
    reason: NotRequired[_Text | None]
    advisory: NotRequired[_Text | None]


class _Call(TypedDict):
    stage: _Text
    model: _Text
    input_tokens: NotRequired[int | None]
    output_tokens: NotRequired[int | None]
    cost_usd: NotRequired[float | None]
    latency_ms: NotRequired[float | None]
    origin: NotRequired[_Text]
    ended: NotRequired[_Text | None]


class _Error(TypedDict):
    type: _Text
    message: _Text
    traceback: NotRequired[_Text]


class _Result(TypedDict):
    """A line; keys that are not named here are those of a later minor version."""

    evalset: _Text
    case: _Text
    query: _Text
    outcome: _Text
    repeat: NotRequired[int]
    reference: NotRequired[list[_Text]]
    answer: NotRequired[_Text | None]
    retrieved: NotRequired[list[_Node] | None]
    gold: NotRequired[dict[_Text, _Gold]]
    scores: NotRequired[dict[_Text, _Score]]
    checks: NotRequired[list[_Check]]
    stages_ms: NotRequired[_Numbers]
    self_ms: NotRequired[_Numbers]
    cpu_ms: NotRequired[_Numbers]
    spans: NotRequired[list[_Span]]
    latency_ms: NotRequired[float | None]
    wait_ms: NotRequired[float | None]
    calls: NotRequired[list[_Call]]
    input_tokens: NotRequired[int | None]
    output_tokens: NotRequired[int | None]
    cost_usd: NotRequired[float | None]
    judge_cost_usd: NotRequired[float | None]
    error: NotRequired[_Error | None]
    tags: NotRequired[list[_Text]]
    notes: NotRequired[list[_Text]]
    fingerprint: NotRequired[_Text | None]
    min_pass: NotRequired[float]


@functools.cache
def _shape() -> TypeAdapter[Any]:
    return TypeAdapter(_Result)


def fault(line: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a result's values, the first of it, in a clause; else None."""
    try:
        _shape().validate_python(line, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where!r} is {first['input']!r:.60}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    return None
