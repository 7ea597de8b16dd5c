"""A ledger that nobody has written to."""

from __future__ import annotations

import pytest

from pytest_rag.costs.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    """In a folder that is not there yet."""
    made = Ledger(tmp_path / ".pytest_rag" / "ledger.sqlite")
    yield made
    made.close()
