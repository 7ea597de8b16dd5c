"""An import path and parameters → the object under test."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import CassetteError, MissingKeyError, PipelineError, message_of
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pytest_rag.types import PipelineSpec

__all__ = ["build", "key_missing", "load_object"]


def build(spec: PipelineSpec, *, base: Path, root: Path) -> Any:
    """Build the pipeline of an evalset; an awaitable where the factory is asynchronous.

    Args:
        spec: From the evalset.
        base: The folder of the evalset's file, where relative paths start.
        root: The project's root.

    Raises:
        PipelineError: if the factory cannot be found or its parameters do not fit.
        MissingKeyError: if it needs a key that is not set.
        Exception: whatever the factory itself raises.
    """
    if spec.factory is None:
        from pytest_rag.pipelines import local

        return _called(partial(local.build, base, root, **spec.params))
    factory = load_object(spec.factory, (base, root))
    if not callable(factory):
        if spec.params:
            raise PipelineError(
                f"{spec.factory} is no function, so it takes no params; it is "
                f"{type(factory).__name__}."
            )
        return factory
    _fits(factory, spec)
    return _called(partial(factory, **spec.params))


def _called(factory: Callable[[], Any]) -> Any:
    try:
        return factory()
    except Exception as error:
        reason = key_missing(error)
        if reason is not None:
            raise MissingKeyError(reason) from error
        raise


def load_object(path: str, folders: Iterable[Path]) -> Any:
    """Import ``package.module:name``.

    Args:
        path: The import path.
        folders: Looked in after ``sys.path``; the one that has it joins ``sys.path``.

    Raises:
        PipelineError: if there is no such module or name; what the module raises passes through.
    """
    module_name, _, name = path.partition(":")
    if not re.fullmatch(r"[\w.]+:[\w.]+", path):
        raise PipelineError(f"{path!r} is no import path. Write package.module:function.")
    found: Any = _import(module_name, folders)
    for part in name.split("."):
        if not hasattr(found, part):
            choices = [n for n in vars(found) if not n.startswith("_")] if found else []
            raise PipelineError(f"{module_name} has no {name!r}.{did_you_mean(part, choices)}")
        found = getattr(found, part)
    return found


def _import(module_name: str, folders: Iterable[Path]) -> Any:
    for folder in (None, *folders):
        if folder is not None and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        try:
            return importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise  # the module is there, and something it imports is not
    raise PipelineError(
        f"There is no module {module_name!r} for the pipeline. Is it spelled right, and does it "
        "lie in the project's root, beside the evalset, or in an installed package?"
    )


def _fits(factory: Any, spec: PipelineSpec) -> None:
    """Say which parameter is wrong before the factory does it in its own words."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(**spec.params)
    except TypeError as error:
        names = [p.name for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        unknown = next((key for key in spec.params if key not in names), None)
        hint = did_you_mean(unknown, names) if unknown is not None else ""
        raise PipelineError(
            f"{spec.factory}{signature} does not take these params: {error}.{hint} "
            "`pipeline` names a factory: a function that returns the pipeline."
        ) from None


_KEY_NAME = re.compile(r"\b[A-Z][A-Z0-9_]*(?:API_KEY|_TOKEN|_SECRET|_ACCESS_KEY)\b")
_KEY_WORDS = re.compile(
    r"no api[_ ]key|api[_ ]key.{0,40}(?:not (?:set|found|provided)|must be set|missing|required)"
    r"|(?:missing|set|provide|need).{0,40}(?:api[_ ]key|credentials)",
    re.IGNORECASE | re.DOTALL,
)


def key_missing(error: BaseException) -> str | None:
    """Return a sentence if an exception says that a key is not set, else None.

    A key that is set and refused by the provider is an error, not a missing key.
    """
    if isinstance(error, MissingKeyError):
        return str(error)
    if isinstance(error, CassetteError):  # which quotes prompts
        return None
    text = message_of(error)
    name = _KEY_NAME.search(text)
    if isinstance(error, KeyError) and name is not None:
        return f"{name.group()} is not set"
    if getattr(error, "status_code", None) is None and _KEY_WORDS.search(text):
        return f"{name.group()} is not set" if name is not None else "no API key is set"
    return None
