"""The cache of one machine: a SQLite database that many processes share."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import time
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_rag.cache import DEFAULT_PATH, CacheStats, Key
from pytest_rag.cache.options import split
from pytest_rag.cache.outage import Outage
from pytest_rag.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["SQLiteCache"]

T = TypeVar("T")

_APPLICATION = 0x70_72_61_67  # "prag", in the header of the file
_VERSION = 1
_PUTS_BETWEEN_CHECKS = 64
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entries (
  namespace TEXT NOT NULL, digest TEXT NOT NULL, expires REAL NOT NULL, size INTEGER NOT NULL,
  value BLOB NOT NULL, UNIQUE (namespace, digest)
);
CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires, size);
CREATE TABLE IF NOT EXISTS leases (
  namespace TEXT NOT NULL, digest TEXT NOT NULL, token TEXT NOT NULL, expires REAL NOT NULL,
  PRIMARY KEY (namespace, digest)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_GET = "SELECT value FROM entries WHERE namespace = ? AND digest = ? AND expires > ?"
_PUT = """
INSERT INTO entries (namespace, digest, expires, size, value) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (namespace, digest) DO UPDATE
SET expires = excluded.expires, size = excluded.size, value = excluded.value
"""
_LEASE = """
INSERT INTO leases (namespace, digest, token, expires) VALUES (?, ?, ?, ?)
ON CONFLICT (namespace, digest) DO UPDATE
SET token = excluded.token, expires = excluded.expires
WHERE token = excluded.token OR expires <= ?
"""
# A lease that is held is seen without asking for the right to write.
_HELD = "SELECT 1 FROM leases WHERE namespace = ? AND digest = ? AND token <> ? AND expires > ?"
_TALLY = """
INSERT INTO totals (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = value + excluded.value
"""
_ROOM = """
DELETE FROM entries WHERE rowid IN (
  SELECT rowid FROM (SELECT rowid, SUM(size) OVER (ORDER BY rowid DESC) AS after FROM entries)
  WHERE after > ?
)
"""


class SQLiteCache:
    """Keeps values in a file that processes of one machine share; no network file system.

    The database is in WAL mode, so that nobody who reads waits for somebody who writes. Where the
    values outgrow ``max_bytes``, those that were first put go first.
    """

    blocking = True

    def __init__(self, path: Path, *, max_bytes: int = 1 << 30, timeout_s: float = 10.0) -> None:
        """Name the file; it is made when it is first used.

        Args:
            path: The database; its folder is made too.
            max_bytes: About the most bytes all values may have together.
            timeout_s: How long to wait for somebody else who writes.
        """
        self.path = path
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._named("sqlite")
        self._idle: list[sqlite3.Connection] = []
        self._process = os.getpid()
        self._puts = 0
        weakref.finalize(self, _close_all, self._idle, self._process)

    @classmethod
    def from_url(cls, url: str, root: Path) -> SQLiteCache:
        """Return the cache of ``sqlite``, ``sqlite:PATH`` or ``sqlite:///PATH``.

        A class that is derived from this one may be opened by a scheme of its own.

        Raises:
            ConfigError: if the path is a folder, or an option is unknown.
        """
        address, options = split(url, ("max_bytes",))
        scheme = url.partition("?")[0].partition(":")[0].lower()
        address = address.removeprefix("///")  # as SQLAlchemy writes it
        path = root / (Path(address).expanduser() if address else DEFAULT_PATH)
        if path.is_dir():
            raise ConfigError(f"{path} is a folder. Name a file: {scheme}:{path / 'cache.sqlite3'}")
        made = cls(path, **options)
        made._named(scheme)
        return made

    def _named(self, scheme: str) -> None:
        self.url = f"{scheme}:{self.path}"
        self._outage = Outage(self.url, (sqlite3.Error, OSError), pause_s=1.0)

    # --- values -------------------------------------------------------------------------------

    def get(self, key: Key) -> bytes | None:
        """Return a value that has not expired, or None."""
        wanted = (key.namespace, key.digest, time.time())
        return self._outage.guard(lambda: self._run(partial(_value, wanted)), None)

    def put(self, key: Key, value: bytes, *, ttl: float | None = None) -> bool:
        """Keep a value in place of any other; one larger than all may be is not kept."""
        if len(value) > self._max_bytes:
            self.delete(key)
            return False
        expires = math.inf if ttl is None else time.time() + ttl
        row = (key.namespace, key.digest, expires, len(value), value)
        kept = self._outage.guard(lambda: self._run(partial(_changes, _PUT, row)), 0)
        if self._puts % _PUTS_BETWEEN_CHECKS == 0:  # the first as well: most processes put few
            self._outage.guard(lambda: self._run(self._make_room), 0)
        self._puts += 1
        return kept > 0

    def delete(self, key: Key) -> bool:
        """Forget a value and tell whether there was one."""
        statement = "DELETE FROM entries WHERE namespace = ? AND digest = ? AND expires > ?"
        row = (key.namespace, key.digest, time.time())
        return self._outage.guard(lambda: self._run(partial(_changes, statement, row)), 0) > 0

    def scan(self, namespace: str) -> Iterator[tuple[Key, bytes]]:
        """Yield what is kept in exactly this namespace."""
        statement = "SELECT digest, value FROM entries WHERE namespace = ? AND expires > ?"
        row = (namespace, time.time())
        nothing: list[tuple[str, bytes]] = []
        for digest, value in self._outage.guard(
            lambda: self._run(lambda db: db.execute(statement, row).fetchall()), nothing
        ):
            yield Key(namespace=namespace, digest=digest), value

    def clear(self, namespace: str | None = None) -> int:
        """Forget a namespace and those below it, or everything."""
        return self._outage.guard(lambda: self._run(partial(_clear, namespace)), 0)

    def prune(self) -> int:
        """Forget what has expired and what there is no room for, and give its space back."""
        gone = self._outage.guard(lambda: self._run(self._make_room), 0)
        self._outage.guard(lambda: self._run(lambda db: db.execute("VACUUM").close()), None)
        return gone

    def _make_room(self, db: sqlite3.Connection) -> int:
        now = (time.time(),)
        gone = _changes("DELETE FROM entries WHERE expires <= ?", now, db)
        _changes("DELETE FROM leases WHERE expires <= ?", now, db)
        (held,) = db.execute("SELECT TOTAL(size) FROM entries").fetchone()
        return gone + (_changes(_ROOM, (self._max_bytes,), db) if held > self._max_bytes else 0)

    # --- leases and totals --------------------------------------------------------------------

    def lease(self, key: Key, token: str, seconds: float) -> bool:
        """Grant a lease that nobody else holds."""
        now = time.time()
        held = (key.namespace, key.digest, token, now)
        row = (key.namespace, key.digest, token, now + seconds, now)

        def ask(db: sqlite3.Connection) -> bool:
            return db.execute(_HELD, held).fetchone() is None and _changes(_LEASE, row, db) > 0

        return self._outage.guard(lambda: self._run(ask), instead=True)

    def release(self, key: Key, token: str) -> None:
        """Give a lease back."""
        statement = "DELETE FROM leases WHERE namespace = ? AND digest = ? AND token = ?"
        row = (key.namespace, key.digest, token)
        self._outage.guard(lambda: self._run(partial(_changes, statement, row)), 0)

    def tally(self, counts: Mapping[str, float]) -> None:
        """Add to the totals."""
        rows = sorted(counts.items())

        def add(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.executemany(_TALLY, rows)

        self._outage.guard(lambda: self._run(add), None)

    # --- the whole ----------------------------------------------------------------------------

    def check(self) -> None:
        """Make sure that the database can be read and written.

        Raises:
            UsageError: if not; says why.
        """
        self._outage.strict(lambda: self._run(partial(_changes, "DELETE FROM leases WHERE 0", ())))

    def stats(self) -> CacheStats:
        """Return what is kept and counted.

        Raises:
            UsageError: if the database cannot be read.
        """
        return self._outage.strict(lambda: self._run(_stats))

    def close(self) -> None:
        """Close every connection that is not in use."""
        _close_all(self._idle, self._process)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with a connection that no other thread uses meanwhile."""
        if self._process != os.getpid():  # SQLite's connections do not survive a fork
            self._idle, self._process = [], os.getpid()
            weakref.finalize(self, _close_all, self._idle, self._process)
        try:
            db = self._idle.pop()
        except IndexError:
            db = _connect(self.path, self._timeout_s)
        try:
            result = work(db)
        except BaseException:
            db.close()
            raise
        self._idle.append(db)
        return result


def _connect(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Open the database, made where there is none.

    Raises:
        sqlite3.Error: if it is no database, or another program's.
    """
    _make_folder(path)
    db = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        if _is_new(db, path):
            _private(path)
            _retried(lambda: db.execute("PRAGMA journal_mode = WAL").close(), timeout_s)
            db.executescript(_SCHEMA)
        db.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        db.close()
        raise
    return db


def _is_new(db: sqlite3.Connection, path: Path) -> bool:
    """Tell whether the schema must be made; refuse what is no cache of ours."""
    db.execute("BEGIN")  # so that nobody makes it between two of these
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    db.execute("COMMIT")
    if application == _APPLICATION:
        if version != _VERSION:
            raise sqlite3.DatabaseError(f"{path} was made by another version of pytest-rag.")
        return False
    if application or tables:
        raise sqlite3.DatabaseError(f"{path} is a database of another program; name another file.")
    return True


def _retried(work: Callable[[], None], seconds: float) -> None:
    """Change to WAL, for which SQLite does not wait by itself."""
    until = time.monotonic() + seconds
    while True:
        try:
            return work()
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def _make_folder(path: Path) -> None:
    """Make the folder; the one of the default is kept out of git."""
    if path.parent.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent.name == DEFAULT_PATH.parent.name:
        (path.parent / ".gitignore").write_text("*\n", encoding="utf-8")


def _private(path: Path) -> None:
    """Let nobody else read what people asked."""
    with contextlib.suppress(OSError):
        path.chmod(0o600)


def _value(wanted: tuple[str, str, float], db: sqlite3.Connection) -> bytes | None:
    row = db.execute(_GET, wanted).fetchone()
    # A person may have put anything there by hand; what is no bytes is no value of ours.
    return None if row is None else row[0] if isinstance(row[0], bytes) else b""


def _changes(statement: str, row: tuple[Any, ...], db: sqlite3.Connection) -> int:
    return db.execute(statement, row).rowcount


def _clear(namespace: str | None, db: sqlite3.Connection) -> int:
    with _transaction(db):
        if namespace is None:
            db.execute("DELETE FROM totals")
            return _changes("DELETE FROM entries", (), db)
        below = (namespace, f"{namespace}/", f"{namespace}0")  # "0" comes next after "/"
        where = "namespace = ? OR (namespace > ? AND namespace < ?)"
        return _changes(f"DELETE FROM entries WHERE {where}", below, db)  # noqa: S608


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    with db:
        yield


def _stats(db: sqlite3.Connection) -> CacheStats:
    now = time.time()
    kept, size = db.execute(
        "SELECT COUNT(*), TOTAL(size) FROM entries WHERE expires > ?", (now,)
    ).fetchone()
    (expired,) = db.execute("SELECT COUNT(*) FROM entries WHERE expires <= ?", (now,)).fetchone()
    (leases,) = db.execute("SELECT COUNT(*) FROM leases WHERE expires > ?", (now,)).fetchone()
    heads = "substr(namespace, 1, instr(namespace || '/', '/') - 1)"
    spaces = db.execute(
        f"SELECT {heads}, COUNT(*) FROM entries WHERE expires > ? GROUP BY 1",  # noqa: S608
        (now,),
    ).fetchall()
    return CacheStats(
        entries=kept,
        bytes=int(size),
        expired=expired,
        leases=leases,
        namespaces=dict(spaces),
        totals=dict(db.execute("SELECT name, value FROM totals").fetchall()),
    )


def _close_all(connections: list[sqlite3.Connection], process: int) -> None:
    while connections and process == os.getpid():
        connections.pop().close()
