"""A component's code is told by several threads at once, as cases that run side by side do."""

from __future__ import annotations

import gc
import importlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_rag.pipelines.owncode import code_of

MODULES = 24
THREADS = 4


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Return modules of a project that are large enough to be parsed for a while."""
    monkeypatch.syspath_prepend(tmp_path)
    part = "def part{n}(a, b=({n}, [1, 2])):\n    return a + b[0]"
    text = "\n".join(part.format(n=n) for n in range(200))
    names = [f"owncode_of_thread_{n}" for n in range(MODULES)]
    for name in names:
        (tmp_path / f"{name}.py").write_text(text)
    yield [importlib.import_module(name) for name in names]
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def switching():
    """Change threads as often as can be, also in the middle of the parser."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(20)
    callback = lambda *_: sum(range(200))  # noqa: E731 - a function of Python's, which gives way
    gc.callbacks.append(callback)
    yield
    gc.callbacks.remove(callback)
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("switching")
def test_threads_that_look_at_once_all_see_the_code(modules):
    """None of them takes the project's code for one that cannot be read."""
    start = threading.Barrier(THREADS)

    def look(first):
        start.wait()
        return [code_of([module.part1]) for module in modules[first::THREADS]]

    with ThreadPoolExecutor(THREADS) as pool:
        told = [code for codes in pool.map(look, range(THREADS)) for code in codes]
    assert len(set(told)) == 1
    assert None not in told
