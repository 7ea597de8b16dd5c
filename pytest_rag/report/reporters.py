"""Reporters by name, what they are asked for, and the files they write."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pytest_rag.errors import ConfigError, MissingExtraError
from pytest_rag.registry import Registry
from pytest_rag.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_rag.buildings import Building
    from pytest_rag.config import Alerts
    from pytest_rag.records import Result
    from pytest_rag.report.summary import Summary
    from pytest_rag.types import EvalSet

__all__ = ["REPORTERS", "Reporter", "View", "Wanted", "parse", "parse_all", "write_reports"]

_NEEDS = {"html": ("jinja2", "vl_convert")}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a reporter renders.

    Attributes:
        summary: Of the run, with what was decided.
        header: Of the run record, whether one was written or not.
        results: Of the run, in the order they were made.
        buildings: Of pipelines, those that asked models for something.
        record: Where the run record is, or None.
        alerts: What a day and a month may cost, or None.
        places: File and line by evalset and case, where they are known; the evalset's own file
            under the case None. A line is 0 where there is none.
    """

    summary: Summary
    header: Mapping[str, Any]
    results: tuple[Result, ...]
    buildings: tuple[Building, ...] = ()
    record: str | None = None
    alerts: Alerts | None = None
    places: Mapping[tuple[str, str | None], tuple[Path, int]] = field(default_factory=dict)

    def knowing(self, evalsets: Iterable[EvalSet]) -> View:
        """Return it with what the files of evalsets tell: where their cases stand."""
        places: dict[tuple[str, str | None], tuple[Path, int]] = {}
        for each in evalsets:
            places[each.name, None] = each.path, 0
            for case in each.cases:
                if case.path is not None:
                    places[each.name, case.id] = case.path, case.line
        return replace(self, places=places)


class Reporter(Protocol):
    """Renders a run as the text of one file."""

    def __call__(self, view: View, /) -> str:
        """Return the text."""
        ...


REPORTERS: Registry[Reporter] = Registry("report format", "pytest_rag.reporters")
"""Reporters by the word in front of the colon in ``--rag-report=FORMAT:PATH``."""


def _markdown(view: View) -> str:
    from pytest_rag.costs.running import told_buildings
    from pytest_rag.report.dashboard.spend import saved
    from pytest_rag.report.markdown import markdown

    return markdown(
        view.summary,
        record=view.record,
        built=told_buildings(view.buildings),
        saved_usd=saved(view.results),
    )


def _json(view: View) -> str:
    from pytest_rag.report.document import document

    return document(view)


def _csv(view: View) -> str:
    from pytest_rag.report.sheet import sheet

    return sheet(view.results)


def _github(view: View) -> str:
    from pytest_rag.report.annotations import workflow_commands

    return workflow_commands(view)


def _html(view: View) -> str:
    from pytest_rag.report.dashboard import RunView, dashboard

    held = {each.name: each.held.to_dict() for each in view.summary.evalsets}
    run = RunView(header=view.header, results=view.results, verdicts=held, buildings=view.buildings)
    return dashboard([run], alerts=view.alerts)


for _name, _reporter in (
    ("md", _markdown),
    ("html", _html),
    ("json", _json),
    ("csv", _csv),
    ("github", _github),
):
    REPORTERS.register(_name, _reporter)


# --- what is asked for --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One report that is asked for.

    Attributes:
        format: A reporter's name.
        path: Where it goes.
    """

    format: str
    path: Path


def parse(text: str, folder: Path) -> Wanted:
    """Read ``FORMAT:PATH``, so that what is wrong with it shows before anything is paid for.

    Args:
        text: As it was typed.
        folder: What a relative path starts from.

    Raises:
        ConfigError: for another form, an unknown format, or a path no file can go to.
        MissingExtraError: if the format needs what is not installed.
    """
    name, colon, path = text.partition(":")
    if not colon or not name or not path:
        known = name if name in REPORTERS.names() else "md"
        raise ConfigError(f"{text!r} is not FORMAT:PATH. Write {known}:report.{known}")
    REPORTERS.get(name)
    for module in _NEEDS.get(name, ()):
        if find_spec(module) is None:
            raise MissingExtraError(
                f"{name} needs {module}, which is not installed: pip install 'pytest-rag[report]'"
            )
    return Wanted(format=name, path=_writable(folder / path, name))


def parse_all(texts: Iterable[str], folder: Path) -> tuple[Wanted, ...]:
    """Read every ``FORMAT:PATH``.

    Raises:
        ConfigError: as `parse`, and where two reports would go to one file.
        MissingExtraError: as `parse`.
    """
    wanted = tuple(parse(text, folder) for text in texts)
    seen: set[Path] = set()
    for each in wanted:
        if each.path.resolve() in seen:
            raise ConfigError(f"Two reports would go to {each.path}. Give each a file of its own.")
        seen.add(each.path.resolve())
    return wanted


def _writable(path: Path, name: str) -> Path:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder. Name a file in it: {path / f'report.{name}'}")
    folder = next(parent for parent in path.resolve().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"{path} cannot be written: {folder} is no folder one may write in.")
    return path


# --- writing ------------------------------------------------------------------------------------


def write_reports(
    wanted: Sequence[Wanted], view: View, environ: Mapping[str, str]
) -> Iterator[tuple[str, bool]]:
    """Write what was asked for; yield what to say of each, and whether it is well.

    In GitHub Actions the Markdown goes to the job's summary unasked, unless it was asked for. What
    goes to that file is appended, since other steps write there too. A report that cannot be made
    takes no other with it.

    Args:
        wanted: Reports, in the order they were asked for.
        view: What they show; nothing is written where it holds no result.
        environ: Where ``GITHUB_STEP_SUMMARY`` may be set.
    """
    if not view.results:
        return
    page = environ.get("GITHUB_STEP_SUMMARY") or None
    step = None if page is None else Path(page)
    asked = tuple(wanted)
    if (
        step is not None
        and environ.get("GITHUB_ACTIONS") == "true"
        and all(each.format != "md" for each in asked)
    ):
        wanted = [*wanted, Wanted(format="md", path=step)]
    for each in wanted:
        try:
            text = REPORTERS.get(each.format)(view)
            _write(each.path, text, appended=step is not None and _same(each.path, step))
        except Exception as error:  # noqa: BLE001 - a reporter may be anybody's; the run is kept
            yield f"report {each.format} could not be written: {error}", each not in asked
        else:
            yield f"report: {_near(each.path)}", True


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _write(path: Path, text: str, *, appended: bool) -> None:
    if not appended:
        write_atomically(path, text)
        return
    with path.open("a", encoding="utf-8", newline="\n", errors="backslashreplace") as file:
        file.write(text)


def _near(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
