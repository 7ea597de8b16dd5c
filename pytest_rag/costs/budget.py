"""The ceiling on what a run may cost, shared by all its processes through one small SQLite file.

An amount is set aside before money is spent, and settled for what was spent. What a case may
cost is the most that one of its evalset has cost, and half as much again; while nothing is known
of an evalset, one case of it runs as a probe with all that is left set aside for it. Calls of
models are paid for out of that, and make it larger where one can cost more.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import sqlite3
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pytest_rag.costs.casecosts import cost_of, dearest, known_part, why_unknown
from pytest_rag.costs.money import to_nano, to_usd
from pytest_rag.errors import BudgetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_rag.config import Config

__all__ = ["Budget", "Reservation", "is_alive", "join", "open_budget"]

_SAFETY = 1.5
_BLIND = 3
_SCHEMA = """
CREATE TABLE IF NOT EXISTS state (limit_nano INTEGER, spent INTEGER);
CREATE TABLE IF NOT EXISTS holds (
    id INTEGER PRIMARY KEY, pid INTEGER, evalset TEXT, nano INTEGER, busy INTEGER,
    spent INTEGER DEFAULT 0, asked INTEGER DEFAULT 0, calls INTEGER DEFAULT 0
);
CREATE TABLE IF NOT EXISTS models (name TEXT PRIMARY KEY, beyond INTEGER);
CREATE TABLE IF NOT EXISTS evalsets (
    name TEXT PRIMARY KEY, most INTEGER, blind INTEGER DEFAULT 0, refused TEXT
);
"""


class Budget:
    """A run's ceiling; every process of the run opens the same file.

    Args:
        path: Of the file, in a folder of the run's own.
        limit_usd: The ceiling; None in a process that joins a run.
        earlier: Returns the most a case of an evalset has cost in earlier runs in nano-dollars,
            or None.
    """

    def __init__(
        self,
        path: Path,
        limit_usd: float | None = None,
        earlier: Callable[[str], int | None] | None = None,
    ) -> None:
        self.path = path
        self._earlier = earlier or (lambda _: None)
        self._doors: WeakKeyDictionary[Any, asyncio.Lock] = WeakKeyDictionary()
        with self.opened() as db:
            if limit_usd is not None:
                db.executescript(_SCHEMA)
                db.execute("INSERT INTO state VALUES (?, 0)", (to_nano(limit_usd),))

    @property
    def limit_usd(self) -> float:
        """The ceiling in US dollars."""
        with self.opened() as db:
            return to_usd(db.execute("SELECT limit_nano FROM state").fetchone()[0])

    @property
    def spent_usd(self) -> float:
        """What is settled so far, in US dollars."""
        with self.opened() as db:
            return to_usd(db.execute("SELECT spent FROM state").fetchone()[0])

    def remove(self) -> None:
        """Take away the file and its folder, once nobody spends anything any more."""
        shutil.rmtree(self.path.parent, ignore_errors=True)

    def reserve(self, usd: float, evalset: str = "") -> Reservation | None:
        """Set an amount aside; None where it is not free now, but may be once others settle.

        Raises:
            BudgetError: if it never will be.
        """
        with self.opened() as db:
            return self._hold(db, evalset, to_nano(usd))

    def admit(self, evalset: str, *, by_call: bool = False) -> Reservation | None:
        """Set aside what a case may cost; None where it must wait for others.

        Args:
            evalset: Its evalset's name.
            by_call: Let it start with whatever there is: its calls alone cost money, and they may
                be free, as those that are answered from a cache.

        Raises:
            BudgetError: if no case of the evalset may start any more.
        """
        with self.opened() as db:
            most, refused = self._known(db, evalset)
            if refused is not None:
                raise BudgetError(refused)
            if by_call:
                _bury(db)
                nano = min(round((most or 0) * _SAFETY), max(0, _free(db)))
                return self._insert(db, evalset, nano)
            if most is not None:
                return self._hold(db, evalset, round(most * _SAFETY))
            _bury(db)
            probing = "SELECT 1 FROM holds WHERE evalset = ?"
            if db.execute(probing, (evalset,)).fetchone() is not None:
                return None
            return self._hold(db, evalset, max(1, _free(db)))

    def _known(self, db: sqlite3.Connection, evalset: str) -> tuple[int | None, str | None]:
        sql = "SELECT most, refused FROM evalsets WHERE name = ?"
        found = db.execute(sql, (evalset,)).fetchone()
        if found is None:
            found = (self._earlier(evalset), None)
            db.execute("INSERT INTO evalsets (name, most) VALUES (?, ?)", (evalset, found[0]))
        return found[0], found[1]

    def _hold(self, db: sqlite3.Connection, evalset: str, nano: int) -> Reservation | None:
        _bury(db)
        if nano > max(0, _free(db)):
            limit, spent = db.execute("SELECT limit_nano, spent FROM state").fetchone()
            others = db.execute("SELECT 1 FROM holds").fetchone() is not None
            if nano <= limit - spent and others:
                return None
            raise self.too_little(limit)
        return self._insert(db, evalset, nano)

    def open_hold(self) -> Reservation:
        """Set nothing aside, for something whose calls alone cost money."""
        with self.opened() as db:
            return self._insert(db, "", 0)

    def _insert(self, db: sqlite3.Connection, evalset: str, nano: int) -> Reservation:
        sql = "INSERT INTO holds (pid, evalset, nano, busy) VALUES (?, ?, ?, 1)"
        made = db.execute(sql, (os.getpid(), evalset, nano)).lastrowid
        return Reservation(budget=self, evalset=evalset, number=made or 0)

    def too_little(self, limit_nano: int | None = None) -> BudgetError:
        """Return the error of what could pass the ceiling."""
        limit = self.limit_usd if limit_nano is None else to_usd(limit_nano)
        return BudgetError(f"What is left of the run's ceiling of ${limit:g} may not be enough.")

    def door(self) -> asyncio.Lock:
        """Return the lock of the running loop that lets cases in one by one, in their order."""
        return self._doors.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def is_idle(self) -> bool:
        """Tell whether nothing that has something set aside is at work."""
        with self.opened() as db:
            _bury(db)
            return db.execute("SELECT 1 FROM holds WHERE busy").fetchone() is None

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction."""
        db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous = OFF")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            finally:
                if db.in_transaction:
                    db.execute("COMMIT")
        finally:
            db.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """An amount that is set aside.

    Attributes:
        budget: Of which.
        evalset: Whose case it is for; empty for anything else.
        number: Its own.
    """

    budget: Budget
    evalset: str
    number: int

    def settle(self, usd: float | None) -> None:
        """Give the amount back and count what was spent; all of it where that is unknown."""
        with self.budget.opened() as db:
            held = self._release(db)
            self._spend(db, held if usd is None else to_nano(usd))

    def settle_case(
        self, calls: Sequence[Mapping[str, Any]], *, cost_usd: float | None, broke: bool
    ) -> None:
        """Settle for a case, and learn from it what the next one may cost.

        Args:
            calls: As a record has them, the judges' among them.
            cost_usd: What the pipeline's own cost, for a case without calls.
            broke: Whether the case came to no end.
        """
        cost = cost_of(calls, cost_usd, broke=broke)
        with self.budget.opened() as db:
            most = self._most(db)
            seen, metered = self._metered(db)
            held = self._release(db)
            if cost is None:
                least = metered if seen or most is None else held
                self._spend(db, max(known_part(calls), least))
                if not broke:
                    why = why_unknown(calls)
                    self._refuse(db, f"Under a ceiling costs must be known. {why}")
                elif seen:
                    self._learn(db, max(metered, most or 0))
                else:
                    self._stay_blind(db, most)
                return
            self._spend(db, max(cost, metered))
            if cost or not broke:
                self._learn(db, max(cost, most or 0))

    def settle_calls(self) -> None:
        """Settle for something whose calls alone cost money."""
        with self.budget.opened() as db:
            _, metered = self._metered(db)
            self._release(db)
            self._spend(db, metered)

    # --- the calls it pays for ---

    def begin_call(self, nano: int, model: str) -> int | None:
        """Set aside what a call can cost, out of this and what is free; None where it must wait.

        Returns:
            What was set aside: more where the model's calls have cost more than they could.

        Raises:
            BudgetError: if it could pass the ceiling.
        """
        with self.budget.opened() as db:
            _bury(db)
            sql = "SELECT nano, spent, asked FROM holds WHERE id = ?"
            found = db.execute(sql, (self.number,)).fetchone()
            if found is None:  # it has been settled: the case was given up
                raise BudgetError("The case has come to its end, and its calls are settled.")
            held, spent, asked = found
            nano += _beyond(db, model)
            more = max(0, spent + asked + nano - held)
            if more > max(0, _free(db)):
                self._await(db, spent + nano, asked)
                return None
            sql = (
                "UPDATE holds SET nano = nano + ?, asked = asked + ?, calls = calls + 1, busy = 1 "
                "WHERE id = ?"
            )
            db.execute(sql, (more, nano, self.number))
            return nano

    def _await(self, db: sqlite3.Connection, needed: int, asked: int) -> None:
        """Refuse a call that waiting does not help; what only waits is at rest."""
        limit, total = db.execute("SELECT limit_nano, spent FROM state").fetchone()
        sql = "SELECT 1 FROM holds WHERE id != ? AND nano > 0"
        others = db.execute(sql, (self.number,)).fetchone() is not None
        if needed > limit - total or not (others or asked):
            raise self.budget.too_little(limit)
        sql = "UPDATE holds SET busy = ? WHERE id = ?"
        db.execute(sql, (int(asked > 0), self.number))

    def end_call(self, held: int, cost: int, model: str) -> None:
        """Count what a call cost for which ``held`` was set aside."""
        with self.budget.opened() as db:
            sql = "UPDATE holds SET asked = asked - ?, spent = spent + ? WHERE id = ?"
            db.execute(sql, (held, cost, self.number))
            if cost > held:
                sql = "UPDATE holds SET nano = MAX(nano, spent + asked) WHERE id = ?"
                db.execute(sql, (self.number,))
                beyond = _beyond(db, model) + cost - held
                db.execute("INSERT OR REPLACE INTO models VALUES (?, ?)", (model, beyond))

    def _metered(self, db: sqlite3.Connection) -> tuple[int, int]:
        """Return how many calls it paid for, and what they cost, those under way in full."""
        sql = "SELECT calls, spent + asked FROM holds WHERE id = ?"
        found = db.execute(sql, (self.number,)).fetchone()
        return (0, 0) if found is None else (found[0], found[1])

    def wait(self) -> None:
        """Note that what it is for has come to a rest, and goes on when somebody asks."""
        with self.budget.opened() as db:
            sql = "UPDATE holds SET nano = spent + asked WHERE id = ? AND calls > 0"
            db.execute(sql, (self.number,))
        self._set_busy(0)

    def go_on(self) -> None:
        """Note that what it is for is at work again."""
        self._set_busy(1)

    def _set_busy(self, busy: int) -> None:
        with self.budget.opened() as db:
            db.execute("UPDATE holds SET busy = ? WHERE id = ?", (busy, self.number))

    def _release(self, db: sqlite3.Connection) -> int:
        sql = "DELETE FROM holds WHERE id = ? RETURNING nano"
        found = db.execute(sql, (self.number,)).fetchall()
        return int(found[0][0]) if found else 0

    def _spend(self, db: sqlite3.Connection, nano: int) -> None:
        db.execute("UPDATE state SET spent = spent + ?", (nano,))

    def _most(self, db: sqlite3.Connection) -> int | None:
        sql = "SELECT most FROM evalsets WHERE name = ?"
        found = db.execute(sql, (self.evalset,)).fetchone()
        return None if found is None else found[0]

    def _learn(self, db: sqlite3.Connection, most: int) -> None:
        db.execute("UPDATE evalsets SET most = ? WHERE name = ?", (most, self.evalset))

    def _stay_blind(self, db: sqlite3.Connection, most: int | None) -> None:
        """Give a probe that broke a few more tries, since nobody knows what it cost."""
        sql = "UPDATE evalsets SET blind = blind + 1 WHERE name = ? RETURNING blind"
        found = db.execute(sql, (self.evalset,)).fetchall()
        if most is None and found and found[0][0] >= _BLIND:
            self._refuse(db, f"The first {_BLIND} cases broke, and what they cost is unknown.")

    def _refuse(self, db: sqlite3.Connection, reason: str) -> None:
        db.execute("UPDATE evalsets SET refused = ? WHERE name = ?", (reason, self.evalset))


def open_budget(limit_usd: float, config: Config) -> Budget:
    """Begin a run with a ceiling; what cases cost before is looked up in the ledger."""
    folder = Path(tempfile.mkdtemp(prefix="pytest-rag-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Budget(folder / "budget.sqlite", limit_usd, partial(dearest, config))


def join(path: str, config: Config) -> Budget:
    """Take part in the ceiling of a run that another process began."""
    return Budget(Path(path), earlier=partial(dearest, config))


def _free(db: sqlite3.Connection) -> int:
    sql = "SELECT limit_nano - spent - (SELECT COALESCE(SUM(nano), 0) FROM holds) FROM state"
    return int(db.execute(sql).fetchone()[0])


def _beyond(db: sqlite3.Connection, model: str) -> int:
    """Return by how much a model's call has cost more than it could, by what its provider says."""
    found = db.execute("SELECT beyond FROM models WHERE name = ?", (model,)).fetchone()
    return 0 if found is None else int(found[0])


def _bury(db: sqlite3.Connection) -> None:
    """Count what processes held that are gone as spent."""
    for (pid,) in db.execute("SELECT DISTINCT pid FROM holds").fetchall():
        if not is_alive(pid):
            db.execute(
                "UPDATE state SET spent = spent + "
                "(SELECT COALESCE(SUM(nano), 0) FROM holds WHERE pid = ?)",
                (pid,),
            )
            db.execute("DELETE FROM holds WHERE pid = ?", (pid,))


def is_alive(pid: int) -> bool:
    """Tell whether a process is there."""
    if pid == os.getpid() or os.name == "nt":  # on Windows signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
