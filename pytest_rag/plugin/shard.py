"""``--rag-shard``: the items of other shards, deselected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_rag.plugin import session_of
from pytest_rag.plugin.collect import RagItem
from pytest_rag.sharding import times_of

if TYPE_CHECKING:
    import pytest

    from pytest_rag.sharding import Key

__all__ = ["deselect"]


def deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the items of a shard, and those that are none of ours, which every shard runs.

    Args:
        config: Of the run.
        items: All that were selected; changed in place.
    """
    session = session_of(config)
    shard = session.settings.shard
    if shard is None:
        return
    keys = {item: _key(item) for item in items}
    ours = [key for key in keys.values() if key is not None]
    times = session.settings.shard_times
    mine = shard.share(ours, None if times is None else times_of(times.results))
    others = [item for item, key in keys.items() if key is not None and key not in mine]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item, key in keys.items() if key is None or key in mine]
    session.collected.idle = bool(ours) and not items


def _key(item: pytest.Item) -> Key | None:
    """Return what an item is split by; None where it asks no pipeline."""
    if isinstance(item, RagItem):
        return item.evalset.name, item.case.id
    if "rag" in getattr(item, "fixturenames", ()):
        file, _, rest = item.nodeid.partition("::")
        return file, rest
    return None
