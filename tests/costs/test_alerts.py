"""Alerts: who is told, how often, and that no address of a webhook gets anywhere."""

from __future__ import annotations

import json
import socket
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from costs_parts import a_call, a_result, at

from pytest_rag.config import Alerts, Config, load
from pytest_rag.costs import alerts as module
from pytest_rag.costs.alerts import due
from pytest_rag.errors import ConfigError

NOW = at("2026-11-22T12:00:00+00:00")


@pytest.fixture
def hook():
    """A server on loopback that takes messages; ``status`` is what it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(server.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.status = [], 200
    server.url = f"http://127.0.0.1:{server.server_port}/services/T0/very-secret"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def check(config: Config, ledger) -> list[tuple[str, str]]:
    """Tell what is reached on that day."""
    return module.check(config, ledger, now=NOW)


def settings(tmp_path, **alerts) -> Config:
    """Return a project with thresholds."""
    return Config(root=tmp_path, timezone="UTC", alerts=Alerts(**alerts))


@pytest.fixture
def spent(ledger):
    """A ledger with a dollar today, one of them of unknown cost."""
    now = NOW.isoformat()
    ledger.add("run", [a_result("a", a_call(1.0, now), a_call(None, now))])
    return ledger


def test_a_webhook_is_told_once_a_day_and_a_month(tmp_path, spent, hook):
    """In Slack's form; another process's second look tells nobody anything."""
    config = settings(tmp_path, day_usd=1, month_usd=0.5, webhook=hook.url)
    said = check(config, spent)
    assert [style for _, style in said] == ["bad", "bad"]
    ((path, kind, message),) = hook.got
    assert (path, kind, list(message)) == ("/services/T0/very-secret", "application/json", ["text"])
    assert f"{NOW:%Y-%m-%d} (UTC) has cost $1.00 and 1 call of unknown cost" in message["text"]
    assert "month_usd is $0.50" in message["text"]
    assert check(config, spent) == []
    assert len(hook.got) == 1
    higher = settings(tmp_path, day_usd=0.9, webhook=hook.url)
    assert len(check(higher, spent)) == 1  # another threshold is another alert


def test_an_address_may_stand_in_the_environment(tmp_path, spent, hook, monkeypatch):
    """A name that is not set is told, without failing anything."""
    config = settings(tmp_path, day_usd=1, webhook="env:COSTS_HOOK")
    lines = [line for line, _ in check(config, spent)]
    assert lines[-1] == "The alert's webhook was not called: COSTS_HOOK holds no address."
    monkeypatch.setenv("COSTS_HOOK", hook.url)
    assert len(check(config, spent)) == 1  # nobody was told, so it is told now
    assert len(hook.got) == 1


def test_a_broken_webhook_is_a_line(tmp_path, spent, hook):
    """Its status or the error's name is told, and never the address."""
    hook.status = 500
    for url in (hook.url, "http://127.0.0.1:1/very-secret", "http://[very-secret"):
        lines = [line for line, _ in check(settings(tmp_path, day_usd=1, webhook=url), spent)]
        assert lines[-1].startswith("The alert's webhook failed: ")
        assert "secret" not in "".join(lines)
    assert "secret" not in repr(settings(tmp_path, webhook=hook.url))


def test_a_webhook_that_hangs_is_a_line(tmp_path, spent, monkeypatch):
    """One that says nothing, and one that says a little now and then, end in time."""
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.5)
    for words in ("", "HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 1000):
        ended = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=trickle, args=(server, words, ended), daemon=True)
            thread.start()
            url = f"http://127.0.0.1:{server.getsockname()[1]}/very-secret"
            (_, (line, _)) = check(settings(tmp_path, day_usd=1, webhook=url), spent)
            ended.set()
            thread.join(10)
        kinds = ("it did not answer in time", "TimeoutError")
        assert line in [f"The alert's webhook failed: {kind}." for kind in kinds]


def trickle(server: socket.socket, words: str, ended: threading.Event) -> None:
    """Answer a byte now and then, until somebody ends it."""
    connection, _ = server.accept()
    with connection, suppress(OSError):
        for letter in words:
            connection.sendall(letter.encode())
            if ended.wait(0.1):
                return
        ended.wait(10)


def test_a_command_may_leave_something_running(tmp_path, spent, monkeypatch):
    """What it started holds up nobody."""
    monkeypatch.setattr(module, "_TIMEOUT_S", 5.0)
    command = ("sh", "-c", "sleep 6 &")
    assert len(check(settings(tmp_path, day_usd=1, command=command), spent)) == 1


def test_a_command_gets_the_text(tmp_path, spent):
    """On its standard input, in the project's root, without a shell."""
    program = "import sys; open('told.txt', 'w').write(sys.stdin.read() + sys.argv[1])"
    config = settings(tmp_path, day_usd=1, command=(sys.executable, "-c", program, "$HOME"))
    check(config, spent)
    told = (tmp_path / "told.txt").read_text()
    assert "day_usd is $1.00" in told
    assert told.endswith("$HOME")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((sys.executable, "-c", "raise SystemExit(3)"), "exit status 3"),
        (("no-such-program",), "FileNotFoundError"),
    ],
)
def test_a_broken_command_is_a_line(tmp_path, spent, command, said):
    """It fails no run."""
    lines = check(settings(tmp_path, day_usd=1, command=command), spent)
    assert lines[-1][0].startswith(f"The alert's command {command[0]!r} failed: {said}")


def test_github_gets_an_annotation(tmp_path, spent, monkeypatch):
    """A line that its runner understands, beside the one for people."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (line, _), annotation = check(settings(tmp_path, day_usd=1), spent)
    assert annotation == (f"::warning title=pytest-rag costs::{line}", "")  # colours would break it


@pytest.mark.parametrize(
    ("before", "today", "told"),
    [
        ([1.0] * 7, 3.0, True),
        ([1.0] * 7, 2.9, False),
        ([1.0] * 2, 9.0, False),
        ([1.0] * 3, 3.0, True),
    ],
)
def test_a_jump_over_the_week_before(tmp_path, ledger, before, today, told):
    """Three times the daily mean; two days before are too few to know one."""
    for back, cost in enumerate([today, *before]):
        when = (NOW - timedelta(back)).isoformat()
        ledger.add(f"run{back}", [a_result("a", a_call(cost, when))])
    found = list(due(settings(tmp_path, jump=3), ledger, now=NOW))
    assert [alert.key for alert in found] == (["jump 2026-11-22 3"] if told else [])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("day_us = 1", "Unknown key 'day_us' in alerts. Did you mean 'day_usd'?"),
        ("day_usd = 0", "alerts.day_usd must be a number above 0"),
        (
            'webhook = "slack.com/very-secret"',
            "alerts.webhook must be https://…, or env:NAME",
        ),
        ('command = "notify"', "alerts.command must be a list of texts"),
    ],
)
def test_a_setting_that_is_wrong(tmp_path, written, said):
    """Says what to write, and not what the address was."""
    (tmp_path / "pyproject.toml").write_text(f"[tool.pytest-rag.alerts]\n{written}\n")
    with pytest.raises(ConfigError) as error:
        load(tmp_path)
    assert said in str(error.value)
    assert "secret" not in str(error.value)


def test_days_need_the_ledger(tmp_path):
    """A threshold that could never be reached is refused."""
    text = "[tool.pytest-rag]\nledger = false\n[tool.pytest-rag.alerts]\nday_usd = 1\n"
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigError, match="leave out `ledger = false`"):
        load(tmp_path)
