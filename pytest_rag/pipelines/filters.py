"""Metadata filters of a case, handed to a LlamaIndex retriever without touching the user's own."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["with_filters"]

_HOLDS = ("_retriever", "retriever", "_vector_retriever", "_query_engine", "query_engine")
_HOLDS_MANY = ("_retrievers", "_query_engines")


def with_filters(component: Any, filters: Mapping[str, Any]) -> Any:
    """Return a shallow copy of an engine or retriever that filters by metadata.

    Args:
        component: A LlamaIndex query engine, chat engine or retriever, left as it is.
        filters: Metadata key to a value, or to a list of values of which one must match.

    Raises:
        PipelineError: if the component has no place for filters.
    """
    for attribute in _HOLDS:
        inner = component.__dict__.get(attribute)
        if inner is not None:
            return _copy_with(component, attribute, with_filters(inner, filters))
    for attribute in _HOLDS_MANY:
        inner = component.__dict__.get(attribute)
        if inner:
            return _copy_with(component, attribute, _each_with(inner, filters))
    if "_filters" in component.__dict__:
        merged = _merge(component.__dict__["_filters"], filters)
        return _copy_with(component, "_filters", merged)
    raise PipelineError(
        f"The case has filters, but {type(component).__name__} takes none at query time. Let the "
        "factory return a function with the parameters (query, filters)."
    )


def _each_with(inner: Any, filters: Mapping[str, Any]) -> Any:
    if isinstance(inner, dict):
        return {name: with_filters(part, filters) for name, part in inner.items()}
    return [with_filters(part, filters) for part in inner]


def _copy_with(component: Any, attribute: str, value: Any) -> Any:
    copied = copy.copy(component)
    copied.__dict__[attribute] = value
    return copied


def _merge(existing: Any, filters: Mapping[str, Any]) -> Any:
    from llama_index.core.vector_stores.types import (
        FilterCondition,
        FilterOperator,
        MetadataFilter,
        MetadataFilters,
    )

    asked: list[Any] = [
        MetadataFilter(
            key=key,
            value=value,
            operator=FilterOperator.IN if isinstance(value, list) else FilterOperator.EQ,
        )
        for key, value in filters.items()
    ]
    if existing is None:
        return MetadataFilters(filters=asked)
    if existing.condition == FilterCondition.AND or len(existing.filters) == 1:
        return MetadataFilters(filters=[*existing.filters, *asked])
    return MetadataFilters(filters=[existing, *asked])  # for the stores that can nest
