"""The tests of the documentation can fail: a page that says what is not so is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from docs_output import agrees, fitted
from docs_page import read
from docs_rules import DriftError, run
from docs_stage import Stage

if TYPE_CHECKING:
    from pathlib import Path

PRINTED = """\
hr · 2 cases: 2 passed
  nDCG@10       1.000
  latency       p50 15 ms, p95 32 ms · embed 7.2 / 12 ms ·
                retrieve 1.6 / 2 ms
====== 2 passed in 0.12s ======
"""


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("hr · 2 cases: 2 passed\n…\n=== 2 passed in 3.40s ===", True),
        ("  latency   p50 9 ms, p95 1,012 ms · embed 3 / 4 ms · retrieve 1 / 2 ms", True),
        ("  nDCG@10   0.900", False),
        ("=== 2 passed in 3.40s ===\n…\nhr · 2 cases", False),
        ("hr · 2 cases: 2 passed\n=== 2 passed in 3.40s ===", False),
    ],
)
def test_times_and_widths_may_differ_and_nothing_else(said: str, same: bool) -> None:
    """Neither a figure, nor the order, nor a line that is missing without a cut."""
    assert agrees(said, PRINTED) is same


def test_an_excerpt_is_written_anew_with_its_cuts() -> None:
    """The lines that are shown get today's figures, and what was cut stays cut."""
    said = "hr · 3 cases: 3 passed\n…\n  latency   p50 1 ms, p95 2 ms\n…\n=== 3 passed ===\n"
    assert fitted(said, PRINTED).splitlines() == [
        "hr · 2 cases: 2 passed",
        "…",
        "  latency       p50 15 ms, p95 32 ms · embed 7.2 / 12 ms ·",
        "…",
        "====== 2 passed in 0.12s ======",
    ]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("```cobol\nDISPLAY 1\n```\n", "no rule for 'cobol'"),
        ("```python fast\n1\n```\n", "what is 'fast' behind the fence?"),
        ("```python\nassert 1 == 2\n```\n", ""),
        ("```python\ndef test_it():\n    assert 1 == 2\n```\n", "1 failed"),
        ("```console\n$ pytest-rag costs --buy model\n```\n", "exit status 2"),
        ("```console\n$ false\n```\n", "exit status 1"),
        ("```console\n$ echo five\nsix\n```\n", "not printed: 'six'"),
        ("```text\nsix\n```\n", "not printed: 'six'"),
        ('```bash\npip install "pytest-rag[everything]"\n```\n', "no extra ['everything']"),
        ("```yaml broken\ncases: [{id: a, query: b}]\n```\n", "nothing is wrong with it"),
        ("```bash by .ci/run\nmake coffee\n```\n", ".ci/run does not run 'make coffee'"),
        (
            "```yaml\njobs: {a: {steps: [{run: pytest --rag-mood=replay}]}}\n```\n",
            "['--rag-mood']",
        ),
    ],
)
def test_what_is_not_so_is_told(
    block: str, said: str, tmp_path: Path, pytester: pytest.Pytester
) -> None:
    """A block without a rule, that breaks, or prints something else."""
    page = tmp_path / "page.md"
    page.write_text(block, encoding="utf-8")
    (only,) = read(page)
    with pytest.raises((AssertionError, DriftError)) as error:
        run(only, Stage(pytester=pytester, counterparts={}))
    assert said in str(error.value)
