"""A ledger that nobody has written to."""

from __future__ import annotations

import gc
import warnings

import late_imports
import pytest
from counting_server import Counting

from pytest_rag.costs.ledger import Ledger

__all__ = ["late_imports"]


@pytest.fixture
def ledger(tmp_path):
    """In a folder that is not there yet."""
    made = Ledger(tmp_path / ".pytest_rag" / "ledger.sqlite")
    yield made
    made.close()


@pytest.fixture
def served(monkeypatch):
    """Starts a server of a class; its address is in the environment."""
    started = []

    def start(kind=Counting):
        made = kind()
        started.append(made)
        monkeypatch.setenv("SERVER", made.url)
        monkeypatch.setattr("pytest_rag.replay.faults._FIRST_S", 0.01)
        return made

    yield start
    for made in started:
        made.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def server(served):
    """The server, and its address in the environment."""
    return served()
