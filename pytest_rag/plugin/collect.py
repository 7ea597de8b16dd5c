"""A ``*.rag.yaml`` file → one pytest item a case."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rag import evalset as evalsets
from pytest_rag.errors import UsageError
from pytest_rag.evaluation import need_judge, with_repeat
from pytest_rag.plugin import session_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_rag.types import Case, EvalSet

__all__ = ["DRAFT", "CaseFailure", "DraftItem", "EvalSetFile", "RagItem"]

DRAFT = "rag_draft"
"""Keyword of the items that nobody has reviewed."""


class CaseFailure(Exception):  # noqa: N818 - a verdict, not an error
    """A case did not pass.

    Args:
        head: One line, for lists of failures.
        details: All there is to say, for a section of the report.
    """

    def __init__(self, head: str, details: str) -> None:
        super().__init__(head)
        self.details = details


class EvalSetFile(pytest.File):
    """An evalset; its cases are the items."""

    def collect(self) -> Iterator[RagItem | DraftItem]:
        """Load the file, strictly, and yield an item for every case."""
        session = session_of(self.config)
        try:
            repeat = session.settings.repeat
            project = session.load_project()
            evalset = session.add(evalsets.load(self.path))
            need_judge(evalset, project)
            session.find_bar(evalset)
        except UsageError as error:
            here = f"{self.config.invocation_params.dir}{os.sep}"
            raise self.CollectError(str(error).replace(here, "")) from error
        self._register_tags(evalset)
        for case in evalset.cases:
            yield RagItem.from_parent(
                self,
                name=case.id,
                callobj=_run,
                evalset=evalset,
                case=with_repeat(case, repeat),
            )
        for case in evalset.drafts:
            yield DraftItem.from_parent(self, name=case.id, callobj=_draft, case=case)

    def _register_tags(self, evalset: EvalSet) -> None:
        """Declare tags as markers, so that ``--strict-markers`` knows them."""
        cases = (*evalset.cases, *evalset.drafts)
        for tag in sorted({tag for case in cases for tag in case.tags}):
            self.config.addinivalue_line("markers", f"{tag}: a tag of {evalset.name}.")


def _run(request: pytest.FixtureRequest) -> None:
    """Run the case of the item that asks."""
    session_of(request.config).run_item(request)


_run.__signature__ = inspect.signature(_run)  # type: ignore[attr-defined]  # asked for by every item


def _draft() -> None:
    """Stand for a case that is not run."""


class DraftItem(pytest.Function):
    """A case that nobody has reviewed: it is shown and skipped."""

    def __init__(self, *, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case
        for tag in case.tags:
            self.add_marker(tag)
        self.keywords[DRAFT] = True
        self.add_marker(pytest.mark.skip(reason="not reviewed: look at it, write reviewed: true"))

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Point at the case's line in its file."""
        return _where(self.case, self.path), max(0, self.case.line - 1), self.name


def _where(case: Case, path: Path) -> Path:
    return case.path or path


class RagItem(pytest.Function):
    """One case: fixtures, marks, ``-k``, ``--lf``, ``-x`` and xdist work as for any function."""

    def __init__(self, *, evalset: EvalSet, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.evalset = evalset
        self.case = case
        for tag in case.tags:
            self.add_marker(tag)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Point at the case's line in its file."""
        return _where(self.case, self.path), max(0, self.case.line - 1), self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any) -> Any:
        """Show a verdict as its line; anything else as pytest does."""
        if isinstance(excinfo.value, CaseFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, *args)
