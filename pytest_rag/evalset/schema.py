"""The JSON Schema of ``*.rag.yaml``, for editors."""

from __future__ import annotations

from typing import Any

from pytest_rag.evalset.model import FileModel

__all__ = ["json_schema"]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the file format.

    It is made from the models the loader validates with, so it tells what the loader accepts;
    names of metrics and rules that span several keys only the loader knows.
    """
    schema = FileModel.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
