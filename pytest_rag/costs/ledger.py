"""Every live call that may cost money, of every run and of production, in one SQLite file."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pytest_rag.costs.money import known
from pytest_rag.costs.schema import connect, make_folder
from pytest_rag.errors import LedgerError
from pytest_rag.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_rag.buildings import Building
    from pytest_rag.config import Config
    from pytest_rag.records import Result, Run

__all__ = ["CaseCosts", "Ledger", "billable", "ledger_of"]

Source = Literal["run", "production", "authoring"]

_INSERT = f"INSERT INTO calls VALUES ({', '.join('?' * 19)})"  # noqa: S608 - question marks
_COUNTS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)


def billable(call: Mapping[str, Any]) -> bool:
    """Tell whether a call, as a record has it, was live and may have cost money."""
    return call.get("origin", "live") == "live" and call.get("cost_usd") != 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseCosts:
    """What the runs of an evalset's cases cost in the past.

    Attributes:
        runs: Runs of a case whose cost is known.
        unknown: Runs in which a call's cost is unknown.
        calls: Calls in the known runs.
        mean_nano: Mean of the known ones in nano-dollars.
        most_nano: The dearest of them.
    """

    runs: int
    unknown: int
    calls: int
    mean_nano: int
    most_nano: int


def ledger_of(config: Config) -> Ledger | None:
    """Return a project's ledger; None where it keeps none."""
    return None if config.ledger_path is None else Ledger(config.ledger_path)


class Ledger:
    """The file of calls; it and its folder are made by the first call that is written.

    Safe to use from several threads and after a fork.

    Args:
        path: Of the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._lock = threading.RLock()

    def exists(self) -> bool:
        """Tell whether anything was ever written."""
        return self.path.exists()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    # --- writing --------------------------------------------------------------------------

    def add(self, run: str, results: Iterable[Result | Building]) -> int:
        """Write the calls of results as they are made, and return how many there were.

        A result that takes the place of an earlier one of its case and repeat, as after a rerun,
        makes that one's calls attempts: they were paid for, and the record has them no more.

        Raises:
            LedgerError: if the file cannot be written.
        """
        return self._put(run, results, _make_attempts)

    def rebuild(self, record: Run) -> int:
        """Take in a run record, in place of what is known of its results; returns the calls.

        To do it twice changes nothing.

        Raises:
            LedgerError: if the record names no run, or the file cannot be written.
        """
        run = record.header.get("run_id")
        if not isinstance(run, str) or not run:
            raise LedgerError("The record's header has no run_id, so its calls cannot be told.")
        started = record.header.get("started")
        paid: tuple[Result | Building, ...] = (*record.buildings, *record.results)
        return self._put(run, paid, _forget, started if isinstance(started, str) else None)

    def add_calls(
        self,
        run: str,
        name: str,
        number: int,
        calls: Iterable[Mapping[str, Any]],
        source: Source = "production",
    ) -> int:
        """Write the calls of one query that belongs to no run.

        Args:
            run: The process's own name.
            name: What is asked there.
            number: Of the query.
            calls: As a record has them.
            source: Who asked.

        Raises:
            LedgerError: if the file cannot be written.
        """
        rows = _rows(source, run, (name, "", number), calls, None)
        if rows:
            with self.transaction() as connection:
                connection.executemany(_INSERT, rows)
        return len(rows)

    def tell_once(self, key: str) -> bool:
        """Note that something is told; False where it was told before, by whatever process."""
        with self.transaction() as connection:
            sql = "INSERT OR IGNORE INTO alerts VALUES (?, ?)"
            return connection.execute(sql, (key, _now_ms())).rowcount == 1

    def untell(self, key: str) -> None:
        """Forget that something was told, since it was not."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM alerts WHERE key = ?", (key,))

    def _put(
        self, run: str, results: Iterable[Result | Building], before: Any, at: str | None = None
    ) -> int:
        batches = []
        for result in results:
            key = redact([result.evalset, result.case, result.repeat])
            rows = _rows("run", run, key, result.calls, at)
            if rows:
                batches.append((_prefix(run, key), rows))
        if batches:
            with self.transaction() as connection:
                for prefix, rows in batches:
                    if before(connection, prefix, rows):
                        connection.executemany(_INSERT, rows)
        return sum(len(rows) for _, rows in batches)

    # --- the file -------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write inside one transaction; others wait.

        Raises:
            LedgerError: if the file cannot be written.
        """
        with self._lock, self._told():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def read(self, sql: str, *values: Any) -> list[Any]:
        """Return the rows of a query; none where the file is not there yet.

        Raises:
            LedgerError: if the file cannot be read.
        """
        if not self.exists():
            return []
        with self._lock, self._told():
            return self._open().execute(sql, values).fetchall()

    def cases_of(self, evalset: str, *, days: int = 90) -> CaseCosts | None:
        """Return what runs of an evalset's cases cost in the last days; None for none."""
        sql = """
            SELECT COUNT(*) - SUM(unknown > 0), SUM(unknown > 0),
                SUM(CASE WHEN unknown = 0 THEN calls ELSE 0 END),
                AVG(CASE WHEN unknown = 0 THEN nano END), MAX(CASE WHEN unknown = 0 THEN nano END)
            FROM (
                SELECT SUM(cost_nano) AS nano, SUM(cost_nano IS NULL) AS unknown, COUNT(*) AS calls
                FROM calls WHERE evalset = ? AND source = 'run' AND kind = 'call'
                    AND case_id != '' AND ended_ms >= ?
                GROUP BY run, case_id, repeat
            )"""
        found = self.read(sql, evalset, _now_ms() - days * 86_400_000)
        if not found or not (found[0][0] or found[0][1]):
            return None
        runs, unknown, calls, mean, most = found[0]
        return CaseCosts(
            runs=runs,
            unknown=unknown,
            calls=calls or 0,
            mean_nano=round(mean or 0),
            most_nano=most or 0,
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SQLite and the file system raise into one sentence."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise LedgerError(f"The ledger {self.path} cannot be used: {error}.") from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            make_folder(self.path.parent)
            self._connection, self._pid = connect(self.path), os.getpid()
        return self._connection


# --- rows -------------------------------------------------------------------------------------


def _rows(
    source: Source, run: str, key: Any, calls: Iterable[Mapping[str, Any]], at: str | None
) -> list[tuple[Any, ...]]:
    """Return a row for each call that may cost money; its id is the same in every rebuild."""
    evalset, case, repeat = key
    prefix = _prefix(run, key)
    return [
        (
            f"{prefix}{n}",
            "call",
            source,
            run,
            evalset,
            case,
            repeat,
            _ms(call.get("ended") or at),
            str(call.get("stage") or "llm"),
            redact(str(call.get("model") or "unknown")),
            *(_count(call.get(name)) for name in _COUNTS),
            int(call.get("estimated") is True),
            call.get("tier"),
            known(call.get("cost_usd")),
            call.get("latency_ms"),
        )
        for n, call in enumerate(calls)
        if billable(call)
    ]


def _prefix(run: str, key: Any) -> str:
    return "".join(f"{quote(str(part), safe=' ')}/" for part in (run, *key))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _ms(when: Any) -> int:
    """Return a time of a record in milliseconds since 1970; now where it tells none."""
    try:
        moment = datetime.fromisoformat(when)
    except (TypeError, ValueError):
        return _now_ms()
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _now_ms() -> int:
    return round(time.time() * 1000)


_WITHIN = "id >= ? AND id < ?"


def _range(prefix: str) -> tuple[str, str]:
    return prefix, f"{prefix[:-1]}0"  # "0" follows "/"


def _make_attempts(connection: sqlite3.Connection, prefix: str, rows: list[Any]) -> bool:
    """Make calls of an earlier run of the case attempts; False where it is the very same run."""
    sql = f"SELECT id, kind, ended_ms FROM calls WHERE {_WITHIN}"  # noqa: S608 - a constant
    found = connection.execute(sql, _range(prefix)).fetchall()
    last = {(id_, ended) for id_, kind, ended in found if kind == "call"}
    if last == {(row[0], row[7]) for row in rows}:
        return False
    attempt = 1 + len({id_.partition("#")[2] for id_, kind, _ in found if kind == "attempt"})
    connection.executemany(
        "UPDATE calls SET id = ?, kind = 'attempt' WHERE id = ?",
        [(f"{id_}#{attempt}", id_) for id_, _ in last],
    )
    return True


def _forget(connection: sqlite3.Connection, prefix: str, rows: list[Any]) -> bool:  # noqa: ARG001
    """Take out what is known of a result's calls, but for earlier attempts."""
    sql = f"DELETE FROM calls WHERE {_WITHIN} AND kind = 'call'"  # noqa: S608 - a constant
    connection.execute(sql, _range(prefix))
    return True
