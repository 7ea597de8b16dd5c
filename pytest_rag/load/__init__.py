"""Load on a pipeline: how many answers a second it gives, and how long they take then."""

from __future__ import annotations

from pytest_rag.load.driver import MOST_AT_A_TIME, Arrivals, Driver, Plan
from pytest_rag.load.model import Loop, Sample, Saturation, Step, figures
from pytest_rag.load.saturation import is_sustained, saturation, throughput

__all__ = [
    "MOST_AT_A_TIME",
    "Arrivals",
    "Driver",
    "Loop",
    "Plan",
    "Sample",
    "Saturation",
    "Step",
    "figures",
    "is_sustained",
    "saturation",
    "throughput",
]
