"""Caches in memory, in SQLite and in Redis keep what they are given, and only that."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import threading
import time
import warnings
from contextlib import closing

import pytest
import redis
from machine import needed
from redis_server import RedisServer
from typer.testing import CliRunner

from pytest_rag.cache import Key, key_of, open_cache
from pytest_rag.cache.envelope import CorruptEntryError, pack, unpack
from pytest_rag.cache.memory import MemoryCache
from pytest_rag.cache.outage import CacheWarning, Outage
from pytest_rag.cache.sqlite import SQLiteCache
from pytest_rag.cli import app
from pytest_rag.errors import ConfigError, UsageError


def test_what_is_put_is_got(cache):
    """Bytes come back as they are, until they are deleted or replaced."""
    key = key_of("answers/x", query="é", top_k=5)
    assert cache.get(key) is None
    cache.put(key, b"one")
    cache.put(key, b"\x00two\xff", ttl=60)
    assert cache.get(key) == b"\x00two\xff"
    assert cache.get(key_of("answers/y", query="é", top_k=5)) is None
    assert (cache.delete(key), cache.delete(key), cache.get(key)) == (True, False, None)


def test_a_value_expires(cache):
    """After its time it is a miss, and pruning lets go of it."""
    key, other = key_of("a", n=1), key_of("a", n=2)
    cache.put(key, b"soon", ttl=0.02)
    cache.put(other, b"later", ttl=60)
    time.sleep(0.05)
    assert (cache.get(key), cache.get(other)) == (None, b"later")
    cache.prune()
    assert (cache.stats().entries, cache.stats().expired) == (1, 0)


def test_a_namespace_is_cleared_with_those_below(cache):
    """Its siblings stay, those whose name begins alike among them."""
    for namespace in ("a/b", "a/b/c", "a/bc", "a", "z*"[:1]):
        cache.put(key_of(namespace, n=1), namespace.encode())
    assert [value for _, value in cache.scan("a/b")] == [b"a/b"]
    assert cache.clear("a/b") == 2
    assert cache.stats().namespaces == {"a": 2, "z": 1}
    assert cache.clear() == 3
    assert cache.stats().entries == 0


def test_totals_add_up(cache):
    """Counts of many threads are all there; they go with everything else."""

    def count() -> None:
        for _ in range(25):
            cache.tally({"hits": 1, "saved_ms": 0.5})

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.stats().totals == {"hits": 200, "saved_ms": 100}
    cache.clear()
    assert cache.stats().totals == {}


def test_one_holds_a_lease(cache):
    """Until it is given back, or the holder has been silent for too long."""
    key = key_of("a", n=1)
    assert cache.lease(key, "me", 60)
    assert cache.lease(key, "me", 60)
    assert not cache.lease(key, "you", 60)
    cache.release(key, "you")
    assert not cache.lease(key, "you", 60)
    cache.release(key, "me")
    assert cache.lease(key, "you", 0.02)
    time.sleep(0.05)
    assert cache.lease(key, "me", 60)
    assert cache.stats().leases == 1


def test_a_lease_is_won_once(cache):
    """Of many who ask at the same time one gets it."""
    key, won, start = key_of("a", n=1), [], threading.Barrier(12)

    def ask(token: str) -> None:
        start.wait()
        if cache.lease(key, token, 60):
            won.append(token)

    threads = [threading.Thread(target=ask, args=(str(n),)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_memory_lets_the_least_used_go():
    """Entries and bytes are both limits; what is larger than all is not kept."""
    cache = open_cache("memory:?max_entries=3&max_bytes=100")
    keys = [key_of("a", n=n) for n in range(5)]
    for key in keys[:3]:
        cache.put(key, b"x" * 10)
    cache.get(keys[0])
    cache.put(keys[3], b"x" * 10)
    assert [cache.get(k) is not None for k in keys] == [True, False, True, True, False]
    cache.put(keys[4], b"x" * 85)
    assert cache.stats().bytes <= 100
    assert cache.get(keys[4]) is not None
    cache.put(keys[4], b"x" * 101)
    assert cache.get(keys[4]) is None


def test_sqlite_makes_room(tmp_path):
    """Where the values outgrow the limit, those that were put first go first."""
    cache = SQLiteCache(tmp_path / "a.db", max_bytes=10_000)
    for n in range(300):
        cache.put(key_of("a", n=n), b"x" * 100)
    assert cache.prune() > 0
    assert cache.stats().bytes <= 10_000
    assert cache.get(key_of("a", n=299)) is not None
    assert cache.get(key_of("a", n=0)) is None
    cache.close()


def test_a_derived_cache_is_called_by_its_own_scheme(tmp_path):
    """In its URL, and where its file cannot be used."""

    class Zipped(SQLiteCache):
        pass

    assert Zipped.from_url("zipped:a.db?max_bytes=9", tmp_path).url == f"zipped:{tmp_path / 'a.db'}"
    assert SQLiteCache.from_url("sqlite", tmp_path).url.startswith(f"sqlite:{tmp_path}")
    (tmp_path / "b.db").write_text("no database at all, but a text of some length")
    with pytest.raises(UsageError, match=r"^zipped:.*b\.db cannot be used: "):
        Zipped.from_url("zipped:b.db", tmp_path).check()


def test_one_value_too_many_leaves_the_others(tmp_path):
    """It is larger than all may be together; what its key held is out of date and goes."""
    cache = open_cache("sqlite:a.db?max_bytes=1000", tmp_path)
    for n in range(3):
        cache.put(key_of("a", n=n), b"x" * 100)
    cache.put(key_of("a", n=2), b"x" * 1001)
    cache.prune()
    assert [cache.get(key_of("a", n=n)) is not None for n in range(3)] == [True, True, False]
    cache.close()


def test_processes_that_put_little_make_room_too(tmp_path):
    """Each of them looks once, before it has put many."""
    for n in range(5):
        with closing(open_cache("sqlite:a.db?max_bytes=1000", tmp_path)) as cache:
            for k in range(8):
                cache.put(key_of("a", n=n, k=k), b"x" * 100)
    assert cache.stats().bytes <= 1800
    cache.close()


def test_the_default_database_stays_out_of_git(tmp_path):
    """``sqlite`` without a path is a hidden folder that git does not see, for nobody else."""
    cache = open_cache("sqlite", tmp_path)
    cache.put(key_of("a", n=1), b"x")
    assert (tmp_path / ".rag_cache" / ".gitignore").read_text() == "*\n"
    assert (tmp_path / ".rag_cache" / "cache.sqlite3").stat().st_mode & 0o077 == 0
    cache.close()


def test_the_database_is_in_wal_mode(tmp_path):
    """Nobody who reads waits for somebody who writes."""
    cache = open_cache("sqlite:a.db", tmp_path)
    cache.put(key_of("a", n=1), b"x")
    with sqlite3.connect(tmp_path / "a.db") as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        other.execute("BEGIN IMMEDIATE")
        assert cache.get(key_of("a", n=1)) == b"x"
        other.execute("ROLLBACK")
    other.close()
    cache.close()


@pytest.mark.parametrize("kind", ["text", "foreign"])
def test_a_file_of_somebody_else_is_left_alone(tmp_path, kind):
    """It is never written to; the questions are answered without, after one warning."""
    path = tmp_path / "precious.db"
    if kind == "text":
        path.write_text("not a database, but somebody's notes; " * 100)
    else:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE customers (name TEXT)")
        other.close()
    before = path.read_bytes()
    cache = SQLiteCache(path)
    with pytest.warns(CacheWarning, match=r"precious\.db cannot be used"):
        cache.put(key_of("a", n=1), b"x")
    assert cache.get(key_of("a", n=1)) is None
    assert cache.lease(key_of("a", n=1), "me", 1)
    assert path.read_bytes() == before
    with pytest.raises(UsageError, match="cannot be used"):
        cache.check()


def test_a_damaged_database_is_no_error(tmp_path):
    """Half of it was overwritten: nothing is found, and nothing breaks."""
    cache = SQLiteCache(tmp_path / "a.db")
    for n in range(200):
        cache.put(key_of("a", n=n), b"x" * 500)
    cache.prune()
    cache.close()
    data = bytearray((tmp_path / "a.db").read_bytes())
    data[4096:-4096] = b"\xaa" * len(data[4096:-4096])
    (tmp_path / "a.db").write_bytes(data)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = [cache.get(key_of("a", n=n)) for n in range(200)]
    assert all(value is None or value == b"x" * 500 for value in found)
    assert None in found
    assert len([w for w in said if w.category is CacheWarning]) == 1
    cache.close()


def test_a_storage_that_is_silent_is_waited_for_once():
    """Those who ask next do not wait as long again; when it is time, one looks and they go on."""
    outage = Outage("slow", (OSError,), pause_s=0.01)
    asked = []

    def silent():
        asked.append(time.sleep(0.1))
        raise TimeoutError("no answer")

    with pytest.warns(CacheWarning, match="no answer"):
        assert [outage.guard(silent, "away") for _ in range(20)] == ["away"] * 20
    assert len(asked) == 1
    time.sleep(1.1)
    assert outage.guard(lambda: outage.guard(lambda: "here", "away"), "") == "away"
    assert outage.guard(lambda: "here", "away") == "here"


# --- what goes around a value -----------------------------------------------------------------


def test_an_envelope_is_json_and_comes_back():
    """Text of any kind, half a character among it."""
    key = key_of("a", n=1)
    body = {"text": "é \ud800 \u2028", "numbers": [1, 2.5, None, True]}
    value = pack(key, body)
    assert json.loads(value)["body"] == body
    assert unpack(key, value) == body


@pytest.mark.parametrize(
    "harm",
    [
        lambda value: value[:-5],
        lambda value: value[:60] + b"X" + value[61:],
        lambda value: b"",
        lambda value: b'{"check":"","body":{}}',
        lambda value: b"\x80\x04}q\x00.",  # a pickle
        lambda value: value + b" ",
    ],
)
def test_what_is_torn_or_foreign_is_seen(harm):
    """Cut off, changed, empty, somebody else's, a pickle, or longer than it was."""
    key = key_of("a", n=1)
    value = pack(key, {"text": "Five days carry over.", "more": "x" * 50})
    with pytest.raises(CorruptEntryError):
        unpack(key, harm(value))


def test_a_value_of_another_key_is_foreign():
    """What was copied from one key to another is not taken for its value."""
    value = pack(key_of("a", n=1), {"text": "one"})
    with pytest.raises(CorruptEntryError):
        unpack(key_of("a", n=2), value)


@pytest.mark.parametrize("wrong", [float("nan"), {1, 2}, object()])
def test_what_json_has_not_is_no_value(wrong):
    """A number that is none, a set and an object are refused when they are packed."""
    with pytest.raises((TypeError, ValueError)):
        pack(key_of("a", n=1), {"x": wrong})


# --- by name ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlit:a.db", "Unknown cache 'sqlit'. Did you mean 'sqlite'?"),
        ("memcached://x", "Unknown cache 'memcached'."),
        ("", "Unknown cache ''."),
        ("memory:?max_entires=5", "Did you mean 'max_entries'?"),
        ("memory:?max_entries=none", "must be a whole number above 0, not 'none'"),
        ("memory:/tmp/x", "A memory cache has no address"),
        ("redis://:hunter2000@h:notaport/0", "The URL of the Redis cache cannot be read"),
        ("redis://h/0?socket_timeout=soon", "cannot be read"),
        ("redis://:42/hunter2@h/0", "as %2F"),
        ("redis://user:hunter/2@h/0", "as %2F"),
        (
            "redis://:hunter2@h:6379/abc",
            "'abc' is no database of Redis: they are numbers. Write redi",
        ),
        ("rediss://h/-1", "'-1' is no database of Redis: they are numbers. Write rediss://h/0."),
        ("redis://h/0?db=abc", "cannot be read"),
        ("redis://h/0?ssl_ca_certs=ca.pem", "has no option 'ssl_ca_certs'"),
    ],
)
def test_a_wrong_name_is_told(url, said):
    """With the nearest right one, and never with a password."""
    with pytest.raises(ConfigError) as error:
        open_cache(url)
    assert said in str(error.value)
    assert "hunter" not in str(error.value)


def test_a_folder_is_no_database(tmp_path):
    """The message names a file in it."""
    with pytest.raises(ConfigError, match=r"is a folder\. Name a file"):
        open_cache(f"sqlite:{tmp_path}")


@pytest.mark.parametrize("wrong", ["", "a//b", "a b", "/a", "a*"])
def test_a_namespace_is_words_and_slashes(wrong):
    """Anything else could not be cleared without what is beside it."""
    with pytest.raises(ConfigError, match="is no namespace of a cache"):
        Key(namespace=wrong, digest="0")


# --- Redis ------------------------------------------------------------------------------------


def test_a_wrong_password_is_told_and_not_shown(shared_server):
    """The cache is away, and says so once."""
    cache = open_cache(shared_server.url.replace("s3same", "wr0ngpass"))
    with pytest.raises(UsageError, match="cannot be used") as error:
        cache.check()
    assert "wr0ng" not in str(error.value)
    assert "wr0ng" not in cache.url
    with pytest.warns(CacheWarning) as said:
        assert cache.get(key_of("a", n=1)) is None
    assert "wr0ng" not in str(said[0].message)
    cache.close()


def test_redis_speaks_tls(tmp_path):
    """With a certificate that the client checks; without it nothing is sent."""
    needed("redis-server")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    server = RedisServer(tmp_path)
    server.options = (
        *("--port", "0", "--tls-port", str(server.port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
        *("--tls-ca-cert-file", str(certificate)),
    )
    server.start()
    try:
        url = server.url.replace("redis://", "rediss://")
        cache = open_cache(f"{url}?ssl_ca_certs={certificate}")
        cache.check()
        cache.put(key_of("a", n=1), b"over TLS")
        assert cache.get(key_of("a", n=1)) == b"over TLS"
        cache.close()
        stranger = open_cache(url)
        with pytest.raises(UsageError, match=r"(?i)certificate"):
            stranger.check()
        stranger.close()
    finally:
        server.stop()


def test_redis_keys_are_our_own(redis_url):
    """Emptying the cache leaves what others keep in the same server."""
    cache = open_cache(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        client.set("somebody", "else")
        cache.put(key_of("a", n=1), b"x", ttl=60)
        (name,) = client.keys("pytest_rag:*")
        assert 0 < client.pttl(name) <= 60_000
        assert cache.clear() == 1
        assert client.get("somebody") == b"else"
    cache.close()


def test_what_others_put_under_our_keys_in_redis_is_foreign(redis_url):
    """A list is no value and makes room for one; what is no count is passed over."""
    cache = open_cache(redis_url)
    key = key_of("a", n=1)
    with redis.Redis.from_url(redis_url) as client:
        client.lpush(f"pytest_rag:entry:{key}", "a list")
        client.set(b"pytest_rag:entry:a:\xff", "x")
        client.hset("pytest_rag:totals", mapping={"hits": "many", "misses": "2"})
    assert cache.get(key) == b""
    assert {found.digest for found, _ in cache.scan("a")} == {"\ufffd"}
    assert cache.stats().totals == {"misses": 2.0}
    cache.put(key, b"x")
    assert cache.get(key) == b"x"
    cache.close()


def test_a_reader_of_redis_sees_what_it_cannot_empty(redis_url):
    """Its server refuses to write: nothing is called cleared that is still there."""
    with redis.Redis.from_url(redis_url) as client:
        client.set("pytest_rag:entry:a:00", "x")
        client.acl_setuser(
            "reader",
            enabled=True,
            passwords=["+hunter2"],
            keys=["*"],
            categories=["+@read", "+@connection"],
        )
    own = redis_url.replace(":s3same@", "reader:hunter2@")
    assert CliRunner().invoke(app, ["cache", "stats", "--url", own]).exit_code == 0
    refused = CliRunner().invoke(app, ["cache", "clear", "--url", own])
    assert refused.exit_code == 2
    assert "cannot be used: " in refused.stderr
    assert "hunter2" not in refused.stderr


def test_a_user_of_redis_needs_few_rights(redis_url):
    """Our keys, and the commands that the documentation names; none of a connection's."""
    with redis.Redis.from_url(redis_url) as client:
        rights = ["+@read", "+@write", "+@scripting", "-@connection", "-@dangerous"]
        client.acl_setuser(
            "rag", enabled=True, passwords=["+hunter2"], keys=["pytest_rag:*"], categories=rights
        )
    cache, key = open_cache(redis_url.replace(":s3same@", "rag:hunter2@")), key_of("a", n=1)
    cache.check()
    assert cache.put(key, b"x", ttl=60)
    assert (cache.get(key), [*cache.scan("a")]) == (b"x", [(key, b"x")])
    assert cache.lease(key, "mine", 60)
    assert not cache.lease(key, "yours", 60)
    cache.release(key, "mine")
    cache.tally({"hits": 1})
    found = cache.stats()
    assert (found.entries, found.leases, found.totals) == (1, 0, {"hits": 1.0})
    assert cache.clear() == 1
    cache.close()


def test_memory_is_safe_in_threads():
    """Threads that put and get the same few keys never see another's value."""
    cache, wrong = MemoryCache(max_entries=20), []

    def work(seed: int) -> None:
        for n in range(300):
            key = key_of("a", n=(n * seed) % 50)
            cache.put(key, key.digest.encode(), ttl=60)
            found = cache.get(key)
            if found not in (None, key.digest.encode()):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.stats().entries <= 20
