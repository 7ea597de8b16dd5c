"""The ceiling of something that may be interrupted and gone on with: a sweep."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pytest_rag.costs.budget import Budget, is_alive
from pytest_rag.costs.casecosts import dearest
from pytest_rag.costs.money import to_nano

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_rag.config import Config

__all__ = ["change_ceiling", "lasting_budget"]


def lasting_budget(path: Path, limit_usd: float, config: Config) -> Budget:
    """Open a ceiling that counts what earlier processes spent under it.

    What a process had under way when it was killed counts with the calls it made, or, where
    they are not seen, as the dearest case so far.

    Args:
        path: Of the file, which is kept.
        limit_usd: The ceiling from now on.
        config: Of the project.
    """
    earlier = partial(dearest, config)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return Budget(path, limit_usd, earlier)
    budget = Budget(path, earlier=earlier)
    with budget.opened() as db:
        sql = (
            "SELECT id, pid, calls, holds.spent + asked, COALESCE(most, 0) FROM holds "
            "LEFT JOIN evalsets ON evalset = name"
        )
        for number, pid, calls, metered, most in db.execute(sql).fetchall():
            if not is_alive(pid):
                lost = metered if calls else most
                db.execute("UPDATE state SET spent = spent + ?", (lost,))
                db.execute("DELETE FROM holds WHERE id = ?", (number,))
    change_ceiling(budget, limit_usd)
    return budget


def change_ceiling(budget: Budget, limit_usd: float) -> None:
    """Let a budget end at another amount; what was refused may be asked again."""
    with budget.opened() as db:
        db.execute("UPDATE state SET limit_nano = ?", (to_nano(limit_usd),))
        db.execute("UPDATE evalsets SET blind = 0, refused = NULL")
