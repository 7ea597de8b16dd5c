"""Thresholds of costs, and who is told: the terminal, GitHub, a webhook, a command."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pytest_rag.costs.money import money
from pytest_rag.costs.spending import first_day, spent_between
from pytest_rag.errors import LedgerError
from pytest_rag.zones import name_of, zone_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date, tzinfo

    from pytest_rag.config import Alerts, Config
    from pytest_rag.costs.ledger import Ledger
    from pytest_rag.costs.running import RunCosts
    from pytest_rag.costs.spending import Spent

__all__ = ["Alert", "Reached", "check", "due"]

_WEEK = 7
_FEWEST_DAYS = 3
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A threshold that is reached.

    Attributes:
        key: What it is told once for: the threshold with its run, day or month.
        text: For people.
    """

    key: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A run that has come to its end.

    Attributes:
        run: Its id.
        costs: What it cost.
    """

    run: str
    costs: RunCosts


def check(
    config: Config,
    ledger: Ledger | None,
    reached: Reached | None = None,
    now: datetime | None = None,
) -> list[tuple[str, str]]:
    """Tell every threshold that is reached and was not told; return lines for the terminal.

    Nothing that goes wrong is raised: it is a line.

    Args:
        config: Thresholds, and who is told.
        ledger: None where it cannot be used.
        reached: The run at whose end this is, or None.
        now: The time whose day and month count; this moment where it is left out.
    """
    try:
        alerts = [alert for alert in due(config, ledger, reached, now) if _is_new(alert, ledger)]
        if not alerts:
            return []
        said = [line for alert in alerts for line in _lines(alert.text)]
        failed = _deliver(config, [alert.text for alert in alerts])
        if failed and ledger is not None and ledger.exists():
            for alert in alerts:
                ledger.untell(alert.key)
    except LedgerError as error:
        return [(str(error), "bad")]
    return [*said, *((line, "bad") for line in failed)]


def due(
    config: Config,
    ledger: Ledger | None,
    reached: Reached | None = None,
    now: datetime | None = None,
) -> Iterator[Alert]:
    """Yield every threshold that is reached, told before or not.

    Raises:
        LedgerError: if the ledger cannot be read.
    """
    alerts = config.alerts
    head = f"pytest-rag ({config.root.resolve().name})"
    if reached is not None and alerts.run_usd is not None:
        yield from _of_run(alerts.run_usd, reached, head)
    if ledger is None or not ledger.exists():
        return
    zone = zone_of(config.timezone)
    today = (now or datetime.now(UTC)).astimezone(zone).date()
    yield from _of_calendar(alerts, ledger, (today, zone), head)
    if alerts.jump is not None:
        yield from _of_jump(alerts.jump, ledger, (today, zone), head)


def _of_run(limit: float, reached: Reached, head: str) -> Iterator[Alert]:
    costs = reached.costs
    if costs.known_usd >= limit:
        cost = f"{money(costs.known_usd)}{_unknown(costs.unknown_calls)}"
        text = f"{head}: this run cost {cost}; run_usd is {money(limit)}."
        yield Alert(key=f"run {reached.run} {limit:g}", text=text)


def _of_calendar(
    alerts: Alerts, ledger: Ledger, when: tuple[date, tzinfo], head: str
) -> Iterator[Alert]:
    today, zone = when
    for name, limit, since, told in (
        ("day_usd", alerts.day_usd, today, today.isoformat()),
        ("month_usd", alerts.month_usd, today.replace(day=1), f"{today:%Y-%m}"),
    ):
        if limit is None:
            continue
        spent = spent_between(ledger, zone, since, today)
        if spent.usd >= limit:
            yield Alert(
                key=f"{name} {told} {limit:g}",
                text=f"{head}: {told} ({name_of(zone)}) has cost {_amount(spent)} so far; "
                f"{name} is {money(limit)}.",
            )


def _of_jump(
    factor: float, ledger: Ledger, when: tuple[date, tzinfo], head: str
) -> Iterator[Alert]:
    """Hold a day to the daily mean of the seven before it, or of three at least if it is young."""
    today, zone = when
    first = first_day(ledger, zone)
    days = 0 if first is None else min(_WEEK, (today - first).days)
    if days < _FEWEST_DAYS:
        return
    before = spent_between(ledger, zone, today - timedelta(days), today - timedelta(1))
    spent = spent_between(ledger, zone, today, today)
    mean = before.usd / days
    if mean and spent.usd >= factor * mean:
        yield Alert(
            key=f"jump {today.isoformat()} {factor:g}",
            text=f"{head}: {today.isoformat()} ({name_of(zone)}) has cost {_amount(spent)} so far, "
            f"{factor:g} times the daily mean of the {days} days before, {money(mean)}, or more.",
        )


def _amount(spent: Spent) -> str:
    return f"{money(spent.usd)}{_unknown(spent.unknown)}"


def _unknown(calls: int) -> str:
    if not calls:
        return ""
    return f" and {calls:,} call{'' if calls == 1 else 's'} of unknown cost"


def _is_new(alert: Alert, ledger: Ledger | None) -> bool:
    return ledger is None or not ledger.exists() or ledger.tell_once(alert.key)


def _lines(text: str) -> list[tuple[str, str]]:
    """Return what the terminal shows: on GitHub an annotation as well, which bears no colour."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return [(text, "bad")]
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return [(text, "bad"), (f"::warning title=pytest-rag costs::{escaped}", "")]


# --- elsewhere --------------------------------------------------------------------------------


def _deliver(config: Config, texts: Sequence[str]) -> list[str]:
    """Hand the messages on, and return what went wrong, without the address."""
    alerts, failed = config.alerts, []
    text = "\n".join(texts)
    if alerts.webhook is not None:
        failed.append(_post(alerts.webhook, text))
    if alerts.command:
        failed.append(_run(config, text))
    return [each for each in failed if each is not None]


def _post(webhook: str, text: str) -> str | None:
    """Post a message as Slack takes it; whatever is wrong, the address is not told."""
    url = webhook
    if webhook.startswith("env:"):
        name = webhook.removeprefix("env:")
        url = os.environ.get(name, "")
        if not url.startswith(("http://", "https://")):
            return f"The alert's webhook was not called: {name} holds no address."
    # A name that nobody finds, or an answer byte by byte, outlasts the time-out of a socket.
    said = ["it did not answer in time"]
    caller = threading.Thread(target=lambda: said.insert(0, _posted(url, text)), daemon=True)
    caller.start()
    caller.join(_TIMEOUT_S)
    return f"The alert's webhook failed: {said[0]}." if said[0] else None


def _posted(url: str, text: str) -> str:
    """Post a message; return what went wrong, or nothing."""
    try:
        request = urllib.request.Request(  # noqa: S310 - http and https alone
            url,
            data=json.dumps({"text": text}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
            return ""
    except Exception as error:  # noqa: BLE001 - its text may hold the address
        status = getattr(error, "code", None)
        return type(error).__name__ if status is None else f"status {status}"


def _run(config: Config, text: str) -> str | None:
    command = config.alerts.command
    try:
        done = subprocess.run(  # noqa: S603 - the project's own command
            command,
            input=text,
            text=True,
            encoding="utf-8",
            stdout=subprocess.DEVNULL,  # what it starts may go on
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            cwd=config.root,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"The alert's command {command[0]!r} failed: {type(error).__name__}."
    if done.returncode:
        return f"The alert's command {command[0]!r} failed: exit status {done.returncode}."
    return None
