"""The ceiling on what a run may cost, shared by all its processes through one small SQLite file.

An amount is set aside before money is spent, and settled for what was spent. What a case may
cost is the most that one of its evalset has cost, and half as much again; while nothing is known
of an evalset, one case of it runs as a probe with all that is left set aside for it.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pytest_rag.costs.ledger import ledger_of
from pytest_rag.costs.money import known, to_nano, to_usd
from pytest_rag.costs.prices import if_free
from pytest_rag.errors import BudgetError, LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_rag.config import Config
    from pytest_rag.records import Result

__all__ = ["Budget", "Reservation", "admitted", "join", "open_budget", "settling"]

_SAFETY = 1.5
_BLIND = 3
_POLL_S = 0.02
_PATIENCE_S = 2.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS state (limit_nano INTEGER, spent INTEGER);
CREATE TABLE IF NOT EXISTS holds (
    id INTEGER PRIMARY KEY, pid INTEGER, evalset TEXT, nano INTEGER, busy INTEGER
);
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
        with self._open() as db:
            if limit_usd is not None:
                db.executescript(_SCHEMA)
                db.execute("INSERT INTO state VALUES (?, 0)", (to_nano(limit_usd),))

    @property
    def limit_usd(self) -> float:
        """The ceiling in US dollars."""
        with self._open() as db:
            return to_usd(db.execute("SELECT limit_nano FROM state").fetchone()[0])

    @property
    def spent_usd(self) -> float:
        """What is settled so far, in US dollars."""
        with self._open() as db:
            return to_usd(db.execute("SELECT spent FROM state").fetchone()[0])

    def reserve(self, usd: float, evalset: str = "") -> Reservation | None:
        """Set an amount aside; None where it is not free now, but may be once others settle.

        Raises:
            BudgetError: if it never will be.
        """
        with self._open() as db:
            return self._hold(db, evalset, to_nano(usd))

    def admit(self, evalset: str) -> Reservation | None:
        """Set aside what a case may cost; None where it must wait for others.

        Raises:
            BudgetError: if no case of the evalset may start any more.
        """
        with self._open() as db:
            most, refused = self._known(db, evalset)
            if refused is not None:
                raise BudgetError(refused)
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
        with self._open() as db:
            _bury(db)
            return db.execute("SELECT 1 FROM holds WHERE busy").fetchone() is None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
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
        with self.budget._open() as db:  # noqa: SLF001 - one thing in two classes
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
        cost = _cost(calls, cost_usd, broke=broke)
        with self.budget._open() as db:  # noqa: SLF001
            most = self._most(db)
            held = self._release(db)
            if cost is not None:
                self._spend(db, cost)
                if cost or not broke:
                    self._learn(db, max(cost, most or 0))
            elif broke:
                self._spend(db, max(_part(calls), held if most is not None else 0))
                self._stay_blind(db, most)
            else:
                self._spend(db, max(_part(calls), held if most is not None else 0))
                self._refuse(db, f"Under a ceiling costs must be known. {_why(calls)}")

    def wait(self) -> None:
        """Note that what it is for has come to a rest, and goes on when somebody asks."""
        self._set_busy(0)

    def go_on(self) -> None:
        """Note that what it is for is at work again."""
        self._set_busy(1)

    def _set_busy(self, busy: int) -> None:
        with self.budget._open() as db:  # noqa: SLF001
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
    return Budget(folder / "budget.sqlite", limit_usd, partial(_dearest, config))


def join(path: str, config: Config) -> Budget:
    """Take part in the ceiling of a run that another process began."""
    return Budget(Path(path), earlier=partial(_dearest, config))


def _dearest(config: Config, evalset: str) -> int | None:
    """Return what the dearest case of an evalset has cost, if every cost is known."""
    ledger = ledger_of(config)
    if ledger is None:
        return None
    try:
        before = ledger.cases_of(evalset)
    except LedgerError:
        return None
    finally:
        ledger.close()
    return None if before is None or before.unknown else before.most_nano


async def admitted(budget: Budget | None, evalset: str) -> Reservation | None:
    """Wait until a case may start, and return what is set aside; None without a ceiling.

    Raises:
        BudgetError: if it may not start any more.
    """
    if budget is None:
        return None
    async with budget.door():
        return await _let_in(budget, evalset)


async def _let_in(budget: Budget, evalset: str) -> Reservation:
    idle_since = time.monotonic()
    while (hold := budget.admit(evalset)) is None:
        if not budget.is_idle():
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since > _PATIENCE_S:
            # What others hold is given back only once somebody asks for them, who waits for this.
            raise budget.too_little()
        await asyncio.sleep(_POLL_S)
    return hold


def settling(hold: Reservation | None, finish: Callable[[], Result]) -> Callable[[], Result]:
    """Return what is left to do of a case, made to settle what was set aside for it."""
    if hold is None:
        return finish
    hold.wait()

    def settled() -> Result:
        hold.go_on()
        result = finish()
        hold.settle_case(result.calls, cost_usd=result.cost_usd, broke=result.error is not None)
        return result

    return settled


def _free(db: sqlite3.Connection) -> int:
    sql = "SELECT limit_nano - spent - (SELECT COALESCE(SUM(nano), 0) FROM holds) FROM state"
    return int(db.execute(sql).fetchone()[0])


def _bury(db: sqlite3.Connection) -> None:
    """Count what processes held that are gone as spent."""
    for (pid,) in db.execute("SELECT DISTINCT pid FROM holds").fetchall():
        if not _is_alive(pid):
            db.execute(
                "UPDATE state SET spent = spent + "
                "(SELECT COALESCE(SUM(nano), 0) FROM holds WHERE pid = ?)",
                (pid,),
            )
            db.execute("DELETE FROM holds WHERE pid = ?", (pid,))


def _is_alive(pid: int) -> bool:
    if pid == os.getpid() or os.name == "nt":  # on Windows signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# --- what a case cost ---------------------------------------------------------------------------


def _cost(calls: Sequence[Mapping[str, Any]], cost_usd: float | None, *, broke: bool) -> int | None:
    """Return what a case and its judges cost in nano-dollars; None where that is unknown.

    A case that broke before it made a call cost nothing. What came from a cache cost nothing now.
    """
    if not calls:
        return 0 if broke else known(cost_usd)
    costs = [known(call.get("cost_usd")) for call in calls if _is_live(call)]
    return None if None in costs else _part(calls)


def _part(calls: Sequence[Mapping[str, Any]]) -> int:
    """Return what is known of a case's cost."""
    return sum(known(call.get("cost_usd")) or 0 for call in calls if _is_live(call))


def _is_live(call: Mapping[str, Any]) -> bool:
    return bool(call.get("origin", "live") == "live")


def _why(calls: Sequence[Mapping[str, Any]]) -> str:
    for call in calls:
        model = str(call.get("model"))
        if call.get("cost_usd") is not None:
            continue
        if not call.get("input_tokens"):
            return f"{model}: the provider returned no token count; {if_free(model)}"
        line = f'"{model}" = {{input = …, output = …}}'
        return f"No price is known for {model!r}: add {line} to [tool.pytest-rag.prices]"
    return "The pipeline tells of no calls: it is no LlamaIndex object and returned no 'usage'."
