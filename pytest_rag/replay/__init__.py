"""What stands between a pipeline and its models: records their answers, or plays them.

LlamaIndex's model classes are given other entry points for as long as a `Deck` is open; a
context variable says which case of which evalset calls, so that everything else passes through.
"""

from __future__ import annotations

from pytest_rag.replay.deck import Deck
from pytest_rag.replay.scope import Tape

__all__ = ["Deck", "Tape"]
