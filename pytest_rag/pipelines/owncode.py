"""The source of a project's own components, so that a result of other code is not taken for theirs.

Of a class or function it is the statement that defines it, and every statement at the top of a
module whose name that one uses, in all modules that are installed nowhere. Comments do not count.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.util
import sys
import sysconfig
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["code_of"]

_INSTALLED = tuple({str(Path(sysconfig.get_paths()[n])) for n in ("stdlib", "purelib", "platlib")})
_OWN = str(Path(__file__).parents[1])
_PARSING = threading.Lock()
_TRIES = 10
_Place = tuple[str, str]
"""A module and a name in it."""


def code_of(things: Iterable[Any]) -> str | None:
    """Return a digest of the code of classes and functions.

    Returns:
        None where some code of the project cannot be read: made by ``exec``, or at a prompt.
    """
    made = hashlib.sha256()
    todo = list(_places(things))
    seen: set[_Place] = set()
    told = []
    while todo:
        place = todo.pop()
        if place in seen:
            continue
        seen.add(place)
        found = _statement(*place)
        if found is None:
            return None
        text, named = found
        told.append(f"{place[1]}:{text}")
        todo += named
    for text in sorted(told):
        made.update(text.encode("utf-8", "surrogatepass"))
    return made.hexdigest()[:16]


def _places(things: Iterable[Any]) -> Iterator[_Place]:
    for thing in things:
        of = getattr(thing, "__mro__", (thing,))
        for part in of:
            module = getattr(part, "__module__", None)
            if isinstance(module, str) and _is_project(module):
                yield module, part.__qualname__.partition(".")[0]


@functools.cache
def _is_project(module: str) -> bool:
    """Tell whether a module is a project's own; what is installed changes with its version."""
    found = sys.modules.get(module)
    if found is None or module == "builtins" or module in sys.builtin_module_names:
        return False
    path = getattr(found, "__file__", None)
    if path is None:
        return module == "__main__"
    where = str(Path(path))
    return not where.startswith((*_INSTALLED, _OWN)) and "site-packages" not in where


def _statement(module: str, name: str) -> tuple[str, list[_Place]] | None:
    """Return the text of what binds a name in a module, and the places that it uses."""
    tops = _tops(module)
    if tops is None:
        return None
    texts, places = [], []
    for node in tops.get(name, ()):
        texts.append(ast.dump(node))
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        places += [(module, each) for each in sorted(used - {name}) if each in tops]
        places += _imported(module, node, name)
    return "\n".join(texts), places


def _imported(module: str, node: ast.stmt, name: str) -> list[_Place]:
    """Return where a project's module has what an import brings in."""
    if not isinstance(node, ast.ImportFrom):
        return []
    package = getattr(sys.modules.get(module), "__package__", None)
    try:
        source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    except (ImportError, ValueError):
        return []
    if not _is_project(source):
        return []
    names = [a.name for a in node.names if (a.asname or a.name) in (name, "*")]
    return [(source, name if each == "*" else each) for each in names]


def _tops(module: str) -> Mapping[str, list[ast.stmt]] | None:
    """Return the statements at the top of a module by the names that they bind."""
    path = getattr(sys.modules.get(module), "__file__", None)
    try:
        status = Path(path).stat() if path else None
    except OSError:
        return None
    if path is None or status is None:
        return None
    return _parsed(module, path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1024)
def _parsed(
    module: str,
    path: str,
    changed_ns: int,  # noqa: ARG001 - another time or size is another text
    size: int,  # noqa: ARG001
) -> Mapping[str, list[ast.stmt]] | None:
    try:
        tree = _tree(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    found: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        for name in _bound(node, module):
            found.setdefault(name, []).append(node)
    return found


def _tree(text: bytes) -> ast.Module:
    """Parse a module, also where other threads parse at the same time.

    In Python 3.11 all threads share one count of how deep a tree is, and who finds it changed by
    another raises SystemError. Our own threads wait for each other; somebody else's do not.
    """
    for _ in range(_TRIES):
        with _PARSING, contextlib.suppress(SystemError):
            return ast.parse(text)
    raise ValueError("The module could not be parsed.")


def _bound(node: ast.stmt, module: str) -> set[str]:
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and _stores(n)}
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    for each in ast.walk(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(each.name)
        if isinstance(each, ast.Import | ast.ImportFrom):
            names |= {(a.asname or a.name).partition(".")[0] for a in each.names}
    if "*" in names:
        names.discard("*")
        names |= set(vars(sys.modules.get(module, object())) if module in sys.modules else ())
    return names


def _stores(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)
