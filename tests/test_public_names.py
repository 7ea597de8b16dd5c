"""The package's face: every public name is there, and costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pytest_rag


@pytest.mark.parametrize("name", pytest_rag.__all__)
def test_every_public_name_can_be_had(name):
    """What ``__all__`` promises is there, documented, and listed."""
    assert getattr(pytest_rag, name).__doc__
    assert name in dir(pytest_rag)


def test_a_wrong_name_is_an_attribute_error():
    """A name that is not public is refused as Python does it."""
    with pytest.raises(AttributeError, match="no attribute 'Evalset'"):
        _ = pytest_rag.Evalset


def test_importing_the_package_imports_nothing_else():
    """``import pytest_rag`` loads one module."""
    code = "import sys, pytest_rag; print(*[m for m in sys.modules if m.startswith('pytest_rag.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
