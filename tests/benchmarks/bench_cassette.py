"""A cassette of 100,000 calls: how long it takes to open, and to find one of them."""

from __future__ import annotations

import random
import time

from pytest_rag.replay.cassette import Cassette, Entry

_CALLS = 100_000
_LOOKUPS = 2_000
_OPENINGS = 5


def _entries(count: int):
    rng = random.Random(7)
    for number in range(count):
        yield Entry(
            key=f"{rng.getrandbits(128):032x}",
            case=f"case-{number}",
            kind="chat",
            model="gpt-4o-mini",
            request={
                "messages": [{"role": "user", "content": f"Question {number}: " + "x " * 200}]
            },
            response={"message": {"role": "assistant", "content": "An answer. " * 20}},
            usage={"input_tokens": 200, "output_tokens": 60},
            latency_ms=812.5,
        )


def _lookup_us(cassette: Cassette, wanted: list[Entry]) -> float:
    start = time.perf_counter()
    for entry in wanted:
        assert cassette.find(entry.key, entry.place) is not None
    return (time.perf_counter() - start) / len(wanted) * 1e6


def test_a_big_cassette_opens_and_is_searched(tmp_path, row):
    """Lines are indexed by key and read when they are asked for."""
    lookups = {}
    for count in (_CALLS // 100, _CALLS):
        path = tmp_path / f"{count}.jsonl"
        entries = list(_entries(count))
        Cassette(path).write("bench", entries)
        wanted = random.Random(1).sample(entries, min(count, _LOOKUPS))
        opened = []
        for _ in range(_OPENINGS):
            start = time.perf_counter()
            cassette = Cassette(path)
            opened.append(time.perf_counter() - start)
        lookups[count] = _lookup_us(cassette, wanted)
    size = f"{path.stat().st_size / 1e6:.0f} MB"
    row(f"cassette of {_CALLS:,} calls: open", f"{sorted(opened)[2]:.2f} s", "≤ 1 s", size)
    ratio = lookups[_CALLS] / lookups[_CALLS // 100]
    found = f"{lookups[_CALLS]:.0f} µs"
    row("… first look-up of a call", found, "", f"{ratio:.2f}x one of {_CALLS // 100:,}")
