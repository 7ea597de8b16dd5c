"""Paths, tags and ids from the command line → the evalsets to run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_rag.cli.project import SUFFIXES, evalset_files
from pytest_rag.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_rag.types import EvalSet

__all__ = ["load_all", "narrow", "need_evalset_name"]


def load_all(paths: Iterable[Path]) -> list[EvalSet]:
    """Load the evalsets of files and folders.

    Raises:
        UsageError: with the problems of all files, or if there is nothing to load.
        ConfigError: if two evalsets have the same name.
    """
    from pytest_rag import evalset as evalsets

    loaded, problems = [], []
    files = {file.resolve(): file for path in paths for file in _files(path)}
    for absolute, named in files.items():
        try:
            loaded.append(replace(evalsets.load(named), path=absolute))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    _names_differ(loaded)
    return loaded


def need_evalset_name(path: Path) -> None:
    """Make sure that a file may be an evalset.

    Raises:
        UsageError: if its name has another ending.
    """
    if not path.name.endswith(SUFFIXES):
        raise UsageError(f"{path} is no evalset: its name does not end in .rag.yaml.")


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        found = list(evalset_files(path))
        if not found:
            raise UsageError(f"No *.rag.yaml file lies in {path}. Write one: pytest-rag init")
        yield from found
    elif not path.exists():
        raise UsageError(f"There is no file or folder {str(path)!r}.{_meant(path)}")
    else:
        need_evalset_name(path)
        yield path


def _meant(path: Path) -> str:
    """Return `` Did you mean 'x'?`` where something is named like a missing path."""
    from pytest_rag.registry import nearest

    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    near = nearest(path.name, sorted(there.name for there in beside))
    return "" if near is None else f" Did you mean {str(path.with_name(near))!r}?"


def _names_differ(evalsets: Iterable[EvalSet]) -> None:
    known: dict[str, EvalSet] = {}
    for evalset in evalsets:
        other = known.setdefault(evalset.name, evalset)
        if other is not evalset:
            raise ConfigError(
                f"{evalset.path} and {other.path} are both called {evalset.name!r}. Give one of "
                "them another `evalset:` name."
            )


def narrow(
    evalsets: Sequence[EvalSet], *, ids: Collection[str], tags: Collection[str]
) -> list[EvalSet]:
    """Return the evalsets with only the cases of these ids that carry one of these tags.

    Raises:
        UsageError: if no evalset has an id or tag, or no case is left.
    """
    drafts = {case.id for evalset in evalsets for case in evalset.drafts}
    _reviewed(set(ids) & drafts)
    all_ids = {case.id for evalset in evalsets for case in evalset.cases}
    all_tags = {tag for evalset in evalsets for case in evalset.cases for tag in case.tags}
    _known("id", ids, all_ids)
    _known("tag", tags, all_tags)
    narrowed = [_narrowed(evalset, frozenset(ids), frozenset(tags)) for evalset in evalsets]
    left = [evalset for evalset in narrowed if evalset.cases]
    if not left and not ids and not tags:
        _reviewed(drafts)
    if not left:
        raise UsageError("No case has both one of these ids and one of these tags.")
    return left


def _reviewed(drafts: Collection[str]) -> None:
    if drafts:
        some = ", ".join(map(repr, sorted(drafts)[:3])) + (", …" if len(drafts) > 3 else "")
        is_are = "is" if len(drafts) == 1 else "are"
        raise UsageError(
            f"{some} {is_are} not reviewed, so there is nothing to run. Look at the question, the "
            "gold and the answer, and write `reviewed: true`."
        )


def _known(kind: str, wanted: Iterable[str], there: set[str]) -> None:
    from pytest_rag.registry import did_you_mean

    for name in wanted:
        if name not in there:
            raise UsageError(f"No case has {kind} {name!r}.{did_you_mean(name, there)}")


def _narrowed(evalset: EvalSet, ids: frozenset[str], tags: frozenset[str]) -> EvalSet:
    cases = (
        case
        for case in evalset.cases
        if (not ids or case.id in ids) and (not tags or tags & set(case.tags))
    )
    return replace(evalset, cases=tuple(cases))
