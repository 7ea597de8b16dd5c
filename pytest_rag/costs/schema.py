"""The ledger's SQLite file: its tables, and how it is opened.

Sums by quarter of an hour are kept beside the calls by triggers, so that a total over a million
calls reads a few thousand rows; every time zone in use begins its days on such a quarter.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from pytest_rag.errors import LedgerError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OWN_FOLDER", "QUARTER_MS", "connect", "make_folder"]

OWN_FOLDER = ".pytest_rag"
"""The folder of our own in a project."""

QUARTER_MS = 900_000
"""Milliseconds of the shortest time that sums are kept for."""

_VERSION = 1
_WAIT_S = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, source TEXT NOT NULL, run TEXT NOT NULL,
    evalset TEXT NOT NULL, case_id TEXT NOT NULL, repeat INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL, stage TEXT NOT NULL, model TEXT NOT NULL,
    input_tokens INTEGER, cached_input_tokens INTEGER, cache_write_tokens INTEGER,
    output_tokens INTEGER, reasoning_tokens INTEGER, estimated INTEGER NOT NULL, tier TEXT,
    cost_nano INTEGER, latency_ms REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarters (
    quarter INTEGER NOT NULL, source TEXT NOT NULL, evalset TEXT NOT NULL, stage TEXT NOT NULL,
    model TEXT NOT NULL, calls INTEGER NOT NULL, unknown INTEGER NOT NULL,
    estimated INTEGER NOT NULL, attempts INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL,
    PRIMARY KEY (quarter, source, evalset, stage, model)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alerts (key TEXT PRIMARY KEY, told_ms INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS call_in AFTER INSERT ON calls BEGIN
    INSERT INTO quarters VALUES (
        NEW.ended_ms / 900000, NEW.source, NEW.evalset, NEW.stage, NEW.model, 1,
        NEW.cost_nano IS NULL, NEW.estimated, NEW.kind = 'attempt',
        COALESCE(NEW.input_tokens, 0), COALESCE(NEW.output_tokens, 0), COALESCE(NEW.cost_nano, 0)
    ) ON CONFLICT DO UPDATE SET
        calls = calls + 1, unknown = unknown + excluded.unknown,
        estimated = estimated + excluded.estimated, attempts = attempts + excluded.attempts,
        input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        cost_nano = cost_nano + excluded.cost_nano;
END;
CREATE TRIGGER IF NOT EXISTS call_out AFTER DELETE ON calls BEGIN
    UPDATE quarters SET
        calls = calls - 1, unknown = unknown - (OLD.cost_nano IS NULL),
        estimated = estimated - OLD.estimated, attempts = attempts - (OLD.kind = 'attempt'),
        input_tokens = input_tokens - COALESCE(OLD.input_tokens, 0),
        output_tokens = output_tokens - COALESCE(OLD.output_tokens, 0),
        cost_nano = cost_nano - COALESCE(OLD.cost_nano, 0)
    WHERE quarter = OLD.ended_ms / 900000 AND source = OLD.source AND evalset = OLD.evalset
        AND stage = OLD.stage AND model = OLD.model;
    DELETE FROM quarters WHERE quarter = OLD.ended_ms / 900000 AND calls = 0;
END;
CREATE TRIGGER IF NOT EXISTS call_again AFTER UPDATE OF kind ON calls BEGIN
    UPDATE quarters SET attempts = attempts + (NEW.kind = 'attempt') - (OLD.kind = 'attempt')
    WHERE quarter = NEW.ended_ms / 900000 AND source = NEW.source AND evalset = NEW.evalset
        AND stage = NEW.stage AND model = NEW.model;
END;
"""


def make_folder(folder: Path) -> None:
    """Make the folder of the ledger; ``.pytest_rag``, which is ours, keeps itself out of git."""
    folder.mkdir(parents=True, exist_ok=True)
    ignored = folder / ".gitignore"
    if folder.name == OWN_FOLDER and not ignored.exists():
        ignored.write_text("*\n", encoding="utf-8")


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, make its tables where they are not, and check whose it is.

    Raises:
        LedgerError: if it is another program's, or a newer pytest-rag wrote it.
        sqlite3.Error: if it is damaged or out of reach.
    """
    connection = sqlite3.connect(
        path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, path)
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > _VERSION:
        raise _too_new(path)
    if version < _VERSION:
        _make_tables(connection, path)


def _too_new(path: Path) -> LedgerError:
    return LedgerError(
        f"The ledger {path} was written by a newer pytest-rag. Upgrade: pip install -U pytest-rag"
    )


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables; whoever comes at the same time waits, and finds them."""
    if connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None and (
        connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'quarters'").fetchone() is None
    ):
        raise LedgerError(f"{path} is another program's database, and was left as it is.")
    _use_wal(connection)
    connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = 1; COMMIT;")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite does not wait by itself where another process does it just now."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
