"""Imports what the extra ``all`` brings and every module of ours, in whatever environment."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import warnings
from importlib.metadata import distribution, distributions, packages_distributions

import pytest_rag

HEAVY = re.compile(r"torch|triton|nvidia-.*|tensorflow.*|jax.*|cupy.*")


def main() -> int:
    """Print what cannot be imported, and what should not be there; 0 where all is well."""
    warnings.simplefilter("ignore")  # of what others import
    broken = [told for name in (*ours(), *theirs()) if (told := trouble(name))]
    names = {each.metadata["Name"].lower() for each in distributions()}
    broken += [f"{name} was installed" for name in sorted(names) if HEAVY.fullmatch(name)]
    for line in broken:
        sys.stderr.write(f"{line}\n")
    return int(bool(broken))


def ours():
    """Yield our modules; what is there to be copied is none."""
    for found in pkgutil.walk_packages(pytest_rag.__path__, "pytest_rag."):
        if found.name != "pytest_rag.__main__" and ".starter" not in found.name:
            yield found.name
    yield from (f"pytest_rag:{name}" for name in pytest_rag.__all__)


def theirs():
    """Yield a module of every package that the extra ``all`` brings."""
    modules = {canonical(d): m for m, names in packages_distributions().items() for d in names}
    for line in distribution("pytest-rag").requires or ():
        name = canonical(re.match(r"[\w.-]+", line)[0])
        if "extra == 'all'" in line.replace('"', "'"):
            _, _, rest = name.partition("llama-index-")
            kind, _, what = rest.replace("-", "_").partition("_")
            yield f"llama_index.{kind}.{what}" if rest else modules.get(name, name)


def canonical(name):
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def trouble(name):
    """Return why a module, or a public name behind a colon, cannot be had; None where it can."""
    module, _, public = name.partition(":")
    try:
        found = importlib.import_module(module)
        if public:
            getattr(found, public)
    except Exception as error:  # noqa: BLE001 - whatever it raises is told
        return f"{name}: {type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main())
