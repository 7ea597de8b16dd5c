"""One way to import what an extra brings, with the command to type where it is missing."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pytest_rag.errors import MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["need", "require"]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module and return it.

    Raises:
        MissingExtraError: if its package is not installed; names the extra that brings it. A
            module that is installed but breaks on import raises its own error.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".", maxsplit=1)[0]:
            raise
        raise _missing(module, extra) from error


def need(module: str, extra: str) -> None:
    """Make sure that an optional package is installed, without importing it.

    Raises:
        MissingExtraError: if it is not; names the extra that brings it.
    """
    if find_spec(module) is None:
        raise _missing(module, extra)


def _missing(module: str, extra: str) -> MissingExtraError:
    return MissingExtraError(f"{module} is not installed: pip install 'pytest-rag[{extra}]'")
