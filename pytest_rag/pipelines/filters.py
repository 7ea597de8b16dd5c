"""Metadata filters of a case, handed to a LlamaIndex retriever without touching the user's own."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["with_filters"]


def with_filters(component: Any, filters: Mapping[str, Any]) -> Any:
    """Return a shallow copy of a query engine or retriever that filters by metadata.

    Args:
        component: A LlamaIndex query engine or retriever, left as it is.
        filters: Metadata key to a value, or to a list of values of which one must match.

    Raises:
        PipelineError: if the component has no place for filters.
    """
    for attribute in ("_retriever", "retriever"):
        inner = component.__dict__.get(attribute)
        if inner is not None:
            return _copy_with(component, attribute, with_filters(inner, filters))
    if "_retrievers" in component.__dict__:
        inner = [with_filters(r, filters) for r in component.__dict__["_retrievers"]]
        return _copy_with(component, "_retrievers", inner)
    if "_filters" in component.__dict__:
        merged = _merge(component.__dict__["_filters"], filters)
        return _copy_with(component, "_filters", merged)
    raise PipelineError(
        f"The case has filters, but {type(component).__name__} takes none at query time. Let the "
        "factory return a function with the parameters (query, filters)."
    )


def _copy_with(component: Any, attribute: str, value: Any) -> Any:
    copied = copy.copy(component)
    copied.__dict__[attribute] = value
    return copied


def _merge(existing: Any, filters: Mapping[str, Any]) -> Any:
    from llama_index.core.vector_stores.types import (
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
    return MetadataFilters(filters=asked if existing is None else [existing, *asked])
