"""pytest-rag: test RAG pipelines like code.

The names below are public and loaded when they are first used; ``import pytest_rag`` costs
nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_rag.config import Config
    from pytest_rag.errors import (
        ConfigError,
        EvalSetError,
        MissingKeyError,
        PipelineError,
        RagError,
        UsageError,
    )
    from pytest_rag.evalset import load as load_evalset
    from pytest_rag.metrics.awaited import Judge
    from pytest_rag.metrics.own import metric
    from pytest_rag.pipelines.cached import CachedQueryEngine
    from pytest_rag.pipelines.local import LocalPipeline
    from pytest_rag.pipelines.tracked import track
    from pytest_rag.records import Result, Run
    from pytest_rag.records import read as read_run
    from pytest_rag.types import Case, EvalSet, Metric, Observation, Retrieved, Score

__all__ = [
    "CachedQueryEngine",
    "Case",
    "Config",
    "ConfigError",
    "EvalSet",
    "EvalSetError",
    "Judge",
    "LocalPipeline",
    "Metric",
    "MissingKeyError",
    "Observation",
    "PipelineError",
    "RagError",
    "Result",
    "Retrieved",
    "Run",
    "Score",
    "UsageError",
    "load_evalset",
    "metric",
    "read_run",
    "track",
]

__version__ = "0.1.0"

_HOMES = {
    "config": ("Config",),
    "errors": (
        "ConfigError",
        "EvalSetError",
        "MissingKeyError",
        "PipelineError",
        "RagError",
        "UsageError",
    ),
    "evalset": ("load_evalset",),
    "pipelines.cached": ("CachedQueryEngine",),
    "metrics.awaited": ("Judge",),
    "metrics.own": ("metric",),
    "pipelines.local": ("LocalPipeline",),
    "pipelines.tracked": ("track",),
    "records": ("Result", "Run", "read_run"),
    "types": ("Case", "EvalSet", "Metric", "Observation", "Retrieved", "Score"),
}
_RENAMED = {"load_evalset": "load", "read_run": "read"}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for (PEP 562)."""
    for module, names in _HOMES.items():
        if name in names:
            home = importlib.import_module(f"{__name__}.{module}")
            return getattr(home, _RENAMED.get(name, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
