"""A search for better parameters of a pipeline, and the proof that they are better.

``load`` reads a ``*.sweep.yaml``, ``Sitting`` runs it, and an ``Outcome`` is what it came to. Every
candidate has a run record; whatever is decided follows from those.
"""

from __future__ import annotations

from pytest_rag.sweep.apply import apply, params_file
from pytest_rag.sweep.file import load
from pytest_rag.sweep.model import sweep_schema
from pytest_rag.sweep.outcome import Outcome
from pytest_rag.sweep.plan import Sweep
from pytest_rag.sweep.sitting import Sitting, SweepError, folder_of

__all__ = [
    "Outcome",
    "Sitting",
    "Sweep",
    "SweepError",
    "apply",
    "folder_of",
    "load",
    "params_file",
    "sweep_schema",
]
