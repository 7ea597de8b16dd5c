"""Ten thousand cases whose pipeline does nothing, beside as many empty tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processes import in_turn, median, python, ratio, spread

if TYPE_CHECKING:
    from pathlib import Path

_CASES = 10_000
_PAIRS = 5

_PIPELINE = """
DOCS = [{"id": f"doc-{n}.md", "score": 1 - n / 20} for n in range(10)]

def build():
    return lambda query: {"retrieved": DOCS}
"""
_HEAD = """
pipeline: pipe:build
defaults:
  checks: {R@5: 0.5, nDCG@10: 0.1, RR: 0.1}
cases:
"""
_EMPTY = f"""
import pytest

@pytest.mark.parametrize("n", range({_CASES}))
def test(n):
    pass
"""


def _folders(root: Path) -> tuple[Path, Path]:
    cases, empty = root / "cases", root / "empty"
    for folder in (cases, empty):
        folder.mkdir()
        (folder / "pytest.ini").write_text("[pytest]\n")
    entries = (
        f"  - id: q{n}\n    query: What is asked in question {n}?\n    relevant: [doc-{n % 5}.md]"
        for n in range(_CASES)
    )
    (cases / "pipe.py").write_text(_PIPELINE)
    (cases / "many.rag.yaml").write_text(_HEAD + "\n".join(entries) + "\n")
    (empty / "test_empty.py").write_text(_EMPTY)
    return cases, empty


def test_ten_thousand_cases(row, tmp_path, monkeypatch) -> None:
    """Collecting and running cases costs little more than pytest itself."""
    cases, empty = _folders(tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # other plugins weigh on both alike
    args = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    pairs = in_turn(
        lambda: python(*args, "-p", "pytest_rag.plugin", cwd=cases),
        lambda: python(*args, cwd=empty),
        _PAIRS,
    )
    ours = [mine for mine, _ in pairs]
    theirs = [other for _, other in pairs]
    name = f"{_CASES:,} cases"
    how = f"{median(ours, 'wall'):.1f} s to {median(theirs, 'wall'):.1f} s; {spread(pairs, 'wall')}"
    row(f"{name}: wall", f"{ratio(pairs, 'wall'):.2f}x", "≤ 2.5x", how)
    row(f"{name}: user CPU", f"{ratio(pairs, 'user'):.2f}x", "≤ 2.5x", spread(pairs, "user"))
    row(f"{name}: peak memory", f"{max(used.rss for used in ours):.0f} MB", "≤ 600 MB")
