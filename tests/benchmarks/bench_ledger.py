"""A ledger of a million calls: what it takes to write, and to ask."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pytest_rag.costs.ledger import Ledger
from pytest_rag.costs.spending import BYS, spending
from pytest_rag.records import Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CALLS = 1_000_000
_A_CASE = 10
_MODELS = ("gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5", "text-embedding-3-small")
_LISBON = ZoneInfo("Europe/Lisbon")


def _results(rng: random.Random) -> Iterator[Result]:
    """Yield cases of ten calls each, over two years and eight evalsets."""
    first = datetime(2024, 11, 1, tzinfo=UTC)
    for number in range(_CALLS // _A_CASE):
        ended = first + timedelta(seconds=rng.randrange(2 * 365 * 86_400))
        calls = [
            {
                "stage": "llm",
                "model": rng.choice(_MODELS),
                "input_tokens": 1000,
                "output_tokens": 100,
                "cost_usd": rng.random() / 1000,
                "origin": "live",
                "ended": ended.isoformat(),
            }
            for _ in range(_A_CASE)
        ]
        evalset = f"evalset-{number % 8}"
        yield Result(evalset=evalset, case=f"c{number}", outcome="passed", query="?", calls=calls)


def test_a_million_calls(row, tmp_path: Path) -> None:
    """Sums are kept beside the calls, so a question reads quarters of hours."""
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    began = time.perf_counter()
    ledger.add("run", _results(random.Random(7)))
    each = (time.perf_counter() - began) / _CALLS * 1e6
    row("ledger: a call written, many at once", f"{each:.0f} µs", "", f"{_CALLS:,} calls")
    for by in BYS:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            assert spending(ledger, by, zone=_LISBON).total.calls == _CALLS
            times.append(time.perf_counter() - began)
        row(f"ledger: {_CALLS:,} calls by {by}", f"{min(times):.2f} s", "≤ 1 s", "spending()")
    began = time.perf_counter()
    ledger.cases_of("evalset-0", days=10_000)
    seconds = time.perf_counter() - began
    row("ledger: mean of an evalset's case", f"{seconds:.2f} s", "≤ 1 s", "for --rag-plan")
    ledger.close()
    began = time.perf_counter()
    command = [sys.executable, "-m", "pytest_rag", "costs", "--ledger", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - began
    row("ledger: pytest-rag costs, the whole process", f"{seconds:.2f} s", "", "by day")
