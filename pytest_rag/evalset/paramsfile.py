"""A JSON file of pipeline parameters: what ``params_from`` names and a sweep writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_rag.evalset.problems import show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_rag.evalset.problems import Source

__all__ = ["merged", "params_text", "read_params"]


def read_params(name: str | None, source: Source) -> dict[str, Any]:
    """Return the parameters in a file beside the evalset; empty where none is named.

    Args:
        name: As written; relative paths start at the evalset's folder.
        source: Where problems are told.
    """
    if name is None:
        return {}
    path = source.problems.path.parent / name
    wrong = None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        wrong = f"There is no file {path}. `pytest-rag sweep … --apply` writes one."
    except OSError as error:
        wrong = f"Cannot read {path}: {error.strerror or error}."
    except ValueError as error:
        wrong = f"{path} is no JSON: {error}."
    else:
        if isinstance(found, dict):
            return found
        wrong = f"{path} must hold a JSON object of parameters, not {show(found)}."
    source.report(wrong, ("pipeline", "params_from"))
    return {}


def params_text(params: Mapping[str, Any]) -> str:
    """Return parameters as the text of a file: sorted, one a line."""
    return json.dumps(params, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def merged(params: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with others over them.

    A name with dots goes into the mapping that it names: ``{"retriever.top_k": 5}`` into
    ``{"retriever": {"top_k": 10}}``, unless there is a parameter of the very name.
    """
    found = dict(params)
    for name, value in more.items():
        head, _, rest = name.partition(".")
        inner = found.get(head)
        if rest and name not in found and isinstance(inner, dict):
            found[head] = merged(inner, {rest: value})
        else:
            found[name] = value
    return found
