"""Tells whether a pull request changes anything an evaluation could see.

Writes ``run=true`` or ``run=false`` to GITHUB_OUTPUT. What cannot be told is ``true``: a file that
matches no pattern, that an evalset or a pipeline names, or a clone that is too shallow.
Environment: RAG_IGNORE (patterns, one a line), GITHUB_EVENT_NAME, GITHUB_BASE_REF, GITHUB_OUTPUT.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WORD = re.compile(r"[^\s\"'`,:;(){}\[\]|<>=]+")
_FACTORY = re.compile(r"\b([A-Za-z_][\w.]*):[A-Za-z_]\w*")
_DOTS = re.compile(r":[ \t]*[\"']?(\.[./]*)[\"']?[ \t]*(?:[,}#]|$)", re.MULTILINE)
_SHOWN = 5


def main() -> int:
    """Decide, say why, and write the output."""
    run, why = decide(os.environ)
    print(f"{'The evaluation runs' if run else 'Nothing to evaluate'}: {why}")
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(f"run={'true' if run else 'false'}\n")
    return 0


def decide(environ: os._Environ[str] | dict[str, str]) -> tuple[bool, str]:
    """Return whether to evaluate, and why."""
    patterns = [line.strip() for line in environ.get("RAG_IGNORE", "").splitlines()]
    patterns = [line for line in patterns if line]
    target = environ.get("GITHUB_BASE_REF", "")
    if environ.get("GITHUB_EVENT_NAME") != "pull_request" or not target:
        return True, "this is no pull request"
    if not patterns:
        return True, "no file is to be ignored"
    changed = changes(target)
    if not changed:
        return True, "what has changed cannot be told; is fetch-depth 0 at actions/checkout?"
    seen = [name for name in changed if not any(matches(name, each) for each in patterns)]
    if seen:
        return True, f"{shown(seen)} changed"
    read = set(named(git("ls-files", "-z").split("\0")))
    used = [name for name in changed if any(is_below(name, place) for place in read)]
    if used:
        return True, f"{shown(used)} changed, which an evalset or its pipeline names"
    return False, f"only {shown(changed)} changed, which the input `ignore` names"


def changes(target: str) -> list[str]:
    """Return the files that differ from the merge base with a branch; none where git fails."""
    words = ("diff", "--name-only", "--no-renames", "-z", f"refs/remotes/origin/{target}...HEAD")
    return [name for name in git(*words).split("\0") if name]


def git(*words: str) -> str:
    """Return what git prints, or nothing where it fails."""
    done = subprocess.run(["git", *words], capture_output=True, check=False)
    return "" if done.returncode else done.stdout.decode("utf-8", "surrogateescape")


def matches(name: str, pattern: str) -> bool:
    """Tell whether a path matches a pattern from the root: ``*`` within a folder, ``**`` across."""
    parts = (
        ".*" if part == "**" else "[^/]*" if part == "*" else "[^/]" if part == "?"
        else re.escape(part)
        for part in re.split(r"(\*\*|\*|\?)", pattern.lstrip("/"))
    )  # fmt: skip
    return re.fullmatch("".join(parts), name, re.DOTALL) is not None


def named(files: Iterable[str]) -> Iterator[str]:
    """Yield what exists of what evalsets, their pipelines' modules and fixtures name."""
    for name in files:
        path = Path(name)
        if name.endswith((".rag.yaml", ".rag.yml")):
            text = text_of(path)
            yield from existing(text, path.parent)
            yield from (os.path.normpath(path.parent / dots) for dots in _DOTS.findall(text))
            for module in set(_FACTORY.findall(text)):
                for source in sources(module, path.parent):
                    yield from existing(text_of(source), source.parent)
        elif path.name == "conftest.py":
            text = text_of(path)
            yield from existing(text, path.parent) if "rag_pipeline" in text else ()


def sources(module: str, folder: Path) -> Iterator[Path]:
    """Yield where the code of a module may lie: below root, ``src``, or the evalset's folder."""
    stem = module.replace(".", "/")
    for top in (Path(), Path("src"), folder):
        for path in (top / f"{stem}.py", top / stem / "__init__.py"):
            if path.is_file():
                yield path


def existing(text: str, folder: Path) -> Iterator[str]:
    """Yield every word of a text that is a file or folder, from a folder or from the root."""
    for word in set(_WORD.findall(text)):
        for start in (folder, Path()):
            place = os.path.normpath(start / word)
            if place not in (".", "/") and not place.startswith("..") and is_there(place):
                yield place.replace(os.sep, "/")


def is_there(place: str) -> bool:
    """Tell whether a path exists; a word may be no path at all."""
    try:
        return Path(place).exists()
    except (OSError, ValueError):
        return False


def is_below(name: str, place: str) -> bool:
    """Tell whether a file is a place or lies below it; all lie below the root and what is above."""
    return not place.strip("./") or name == place or name.startswith(f"{place}/")


def text_of(path: Path) -> str:
    """Return a file's text; what is no text names nothing."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def shown(names: list[str]) -> str:
    """Return a few names for the log, in which nothing may look like a command."""
    some = ", ".join(ascii(name) for name in names[:_SHOWN])
    return f"{some} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else some


if __name__ == "__main__":
    sys.exit(main())
