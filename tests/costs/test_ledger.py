"""The ledger: every call that may cost money once, whatever is run again, rebuilt or shared."""

from __future__ import annotations

import json
import math
import random
import sqlite3
import subprocess
import sys
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from costs_parts import a_call, a_result, at

from pytest_rag.costs.ledger import Ledger
from pytest_rag.costs.money import to_nano
from pytest_rag.costs.spending import forecast, spending
from pytest_rag.errors import LedgerError
from pytest_rag.records import Run

REPOSITORY = Path(__file__).resolve().parents[2]
LISBON = ZoneInfo("Europe/Lisbon")


def total(ledger: Ledger, zone=LISBON, **within) -> int:
    """Return the sum in nano-dollars."""
    return spending(ledger, "model", zone=zone, **within).total.nano


def test_what_bills_nobody_makes_no_file(ledger):
    """Calls that are free or came from a cache are no reason to leave something behind."""
    free, cached = a_call(0.0, model="wordllama"), a_call(0.5, origin="cache")
    assert ledger.add("run", [a_result("a", free, cached), a_result("b")]) == 0
    assert not ledger.path.parent.exists()
    assert spending(ledger, "day", zone=LISBON).rows == {}


def test_the_folder_keeps_itself_out_of_git(ledger):
    """As pytest's own cache does; an unknown cost is reason enough for the file."""
    ledger.add("run", [a_result("a", a_call(None))])
    assert (ledger.path.parent / ".gitignore").read_text() == "*\n"
    (row,) = spending(ledger, "model", zone=LISBON).rows.values()
    assert (row.calls, row.unknown, row.nano, row.mean_usd) == (1, 1, 0, None)


def test_a_rebuild_changes_nothing_twice(ledger):
    """What a record tells takes the place of what is known of the same run."""
    results = (a_result("a", a_call(0.5), a_call(None)), a_result("a/0", a_call(0.25), repeat=1))
    record = Run(header={"run_id": "r/1", "started": "2026-11-01T00:00:00+00:00"}, results=results)
    assert [ledger.rebuild(record) for _ in range(3)] == [3, 3, 3]
    ledger.add("r/1", results)
    sums = spending(ledger, "model", zone=LISBON).total
    assert (sums.calls, sums.unknown, sums.attempts, sums.usd) == (3, 1, 0, 0.75)


def test_a_rerun_was_paid_for_twice(ledger):
    """The record has the last run of a case; the ledger has the money of both."""
    ledger.add("run", [a_result("a", a_call(0.5, "2026-11-22T12:00:00+00:00"))])
    ledger.add("run", [a_result("a", a_call(0.25, "2026-11-22T12:00:01+00:00"))])
    again = a_result("a", a_call(0.125, "2026-11-22T12:00:02+00:00"))
    ledger.add("run", [again])
    ledger.rebuild(Run(header={"run_id": "run"}, results=(again,)))
    sums = spending(ledger, "model", zone=LISBON).total
    assert (sums.calls, sums.attempts, sums.usd) == (3, 2, 0.875)


NIGHTS = {
    "Europe/Lisbon": "2026-10-25",
    "America/New_York": "2026-11-01",
    "Asia/Kathmandu": "2026-10-31",  # 5 hours and 45 minutes ahead, all the year
    "Australia/Lord_Howe": "2026-10-04",  # half an hour shorter
}


@pytest.mark.parametrize("name", NIGHTS)
def test_totals_are_those_of_the_records(ledger, name):
    """To the nano-dollar, over a month's end and the night in which clocks change."""
    zone, night, pick = ZoneInfo(name), date.fromisoformat(NIGHTS[name]), random.Random(7)
    moments = [
        f"2026-10-{d:02}T{h:02}:{m:02}:30+00:00"
        for d in (3, 4, 24, 25, 26, 31)
        for h in range(24)
        for m in (0, 14, 15, 44, 59)
    ]
    moments += [f"2026-11-{d:02}T{h:02}:30:00+00:00" for d in (1, 2) for h in range(24)]
    results = [
        a_result(f"c{n}", *(a_call(pick.random() / 1000, when) for _ in range(3)))
        for n, when in enumerate(moments)
    ]
    ledger.add("run", results)
    calls = [call for result in results for call in result.calls]
    assert total(ledger) == sum(to_nano(call["cost_usd"]) for call in calls)
    assert math.isclose(total(ledger) / 1e9, math.fsum(c["cost_usd"] for c in calls), abs_tol=1e-6)
    for by, cut in (("day", 10), ("month", 7)):
        wanted: dict[str, int] = {}
        for call in calls:
            key = at(call["ended"]).astimezone(zone).isoformat()[:cut]
            wanted[key] = wanted.get(key, 0) + to_nano(call["cost_usd"])
        rows = spending(ledger, by, zone=zone).rows
        assert {key: sums.nano for key, sums in rows.items()} == wanted
    assert total(ledger, zone, since=night, until=night) == sum(
        to_nano(call["cost_usd"])
        for call in calls
        if at(call["ended"]).astimezone(zone).date() == night
    )


def test_a_day_begins_where_people_are(ledger):
    """The same call lies in two days, by zone; also where zones are 45 minutes apart."""
    ledger.add("run", [a_result("a", a_call(0.5, "2026-10-31T18:20:00+00:00"))])
    for zone, day in (("UTC", "2026-10-31"), ("Asia/Kathmandu", "2026-11-01")):
        assert list(spending(ledger, "day", zone=ZoneInfo(zone)).rows) == [day]


def test_the_forecast_says_what_it_rests_on(ledger):
    """Ten days at a dollar, and twenty to come; of two days nothing is said."""
    days = [f"2026-11-{day:02}T00:00:00+00:00" for day in range(1, 11)]
    ledger.add("run", [a_result(day, a_call(1.0, day)) for day in days[:2]])
    utc = ZoneInfo("UTC")
    assert forecast(ledger, utc, at("2026-11-02T23:00:00+00:00")).usd is None
    ledger.add("run", [a_result(day, a_call(1.0, day)) for day in days[2:]])
    found = forecast(ledger, utc, at("2026-11-11T00:00:00+00:00"))
    assert (found.a_day_usd, found.left_days, found.days) == (1.0, 20.0, 10.0)
    assert found.usd == pytest.approx(30.0)


WRITE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from costs_parts import a_call, a_result
from pytest_rag.costs.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
for n in range(100):
    ledger.add(sys.argv[2], [a_result(f"c{n}", a_call(0.001), a_call(None))])
"""


def test_many_processes_write_at_once(ledger):
    """Four begin the file together; no call is lost, and sums and calls agree."""
    command = [sys.executable, "-c", WRITE, str(ledger.path)]
    here = str(Path(__file__).parent)
    writers = [
        subprocess.Popen([*command, f"run{n}", here], env={"PYTHONPATH": str(REPOSITORY)})
        for n in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    sums = spending(ledger, "model", zone=LISBON).total
    assert (sums.calls, sums.unknown, sums.usd) == (800, 400, 0.4)
    (counted,) = ledger.read("SELECT COUNT(*), SUM(cost_nano) FROM calls")
    assert counted == (800, to_nano(0.4))


def test_what_is_no_ledger_is_left_alone(tmp_path):
    """A text, another program's database, and one of a newer pytest-rag."""
    text, other, newer = (tmp_path / name for name in ("text", "other", "newer"))
    text.write_text("no database at all, but a text that is long enough" * 9)
    for path, sql in ((other, "CREATE TABLE theirs (x)"), (newer, "PRAGMA user_version = 99")):
        connection = sqlite3.connect(path)
        connection.execute(sql)
        connection.close()
    for path, said in ((text, "cannot be used"), (other, "another program's"), (newer, "newer")):
        before = path.read_bytes()
        with pytest.raises(LedgerError, match=said):
            Ledger(path).add("run", [a_result("a", a_call())])
        assert path.read_bytes() == before


def test_a_record_without_a_run_is_refused(ledger):
    """Its calls could not be told from those of another."""
    with pytest.raises(LedgerError, match="no run_id"):
        ledger.rebuild(Run(header={}, results=()))


@pytest.mark.parametrize("cost", ["0.5", True, -1, float("inf"), None])
def test_what_is_no_amount_is_unknown(ledger, cost):
    """A record may have been written by anybody."""
    ledger.add("run", [a_result("a", a_call(cost))])
    assert spending(ledger, "stage", zone=LISBON).total.unknown == 1


def test_a_result_without_a_time_counts_as_now(ledger):
    """A record of an earlier version tells none; the run's beginning stands for it."""
    call = {key: value for key, value in a_call(0.5).items() if key != "ended"}
    header = {"run_id": "old", "started": "2026-01-31T23:59:00+00:00"}
    ledger.rebuild(Run(header=header, results=(a_result("a", call),)))
    assert list(spending(ledger, "month", zone=ZoneInfo("UTC")).rows) == ["2026-01"]


def test_names_hold_no_secret(ledger, monkeypatch):
    """A model may be named by whatever its address is."""
    monkeypatch.setenv("ACME_API_KEY", "very-secret-value")
    ledger.add("run", [a_result("a", a_call(model="https://x/very-secret-value/m"))])
    ledger.close()
    assert b"very-secret-value" not in ledger.path.read_bytes()
    assert "[redacted]" in json.dumps(list(spending(ledger, "model", zone=LISBON).rows))
