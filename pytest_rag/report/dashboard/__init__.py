"""Run records → one HTML page that needs no network, no server and no other file."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pytest_rag.extras import require
from pytest_rag.report.dashboard import cases, panels
from pytest_rag.report.dashboard.history import RunView, histories
from pytest_rag.report.dashboard.verdict import verdict
from pytest_rag.report.layout import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_rag.config import Alerts
    from pytest_rag.report.dashboard.history import History

__all__ = ["RunView", "dashboard"]


def dashboard(runs: Iterable[RunView], *, alerts: Alerts | None = None) -> str:
    """Return the page.

    What pipelines and documents say reaches it as text alone: the template escapes, the script
    sets text and never markup, and the page's policy lets no other script run.

    Args:
        runs: In any order; the newest of each evalset is told in full, beside the one before.
        alerts: What a day and a month may cost; None where nobody said.

    Raises:
        MissingExtraError: if the packages for it are not installed.
    """
    jinja2 = require("jinja2", "report")
    runs = list(runs)
    found = histories(runs)
    style, script = _asset("style.css"), _asset("app.js")
    folder = str(files(__package__) / "templates")
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(folder),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    text: str = environment.get_template("page.html").render(
        policy=_policy(style, script),
        style=jinja2.utils.markupsafe.Markup(style),
        script=jinja2.utils.markupsafe.Markup(script),
        title=_title(found),
        lead=panels.lead(runs),
        evalsets=[_evalset(n, history) for n, history in enumerate(found)],
        cost=panels.cost(runs, alerts),
    )
    return text


def _title(found: Sequence[History]) -> str:
    """Return what the browser's tab says: the verdict where there is one evalset."""
    if len(found) != 1:
        return "RAG evaluation"
    return printable(f"{verdict(found[0]).word}: {found[0].name} · RAG evaluation")


def _asset(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Return a policy under which only this style and this script count, and nothing is loaded."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _evalset(number: int, history: History) -> dict[str, Any]:
    return {
        "key": f"e{number}",
        **panels.evalset(history),
        "data": dict(_data(f"e{number}", history)),
    }


def _data(key: str, history: History) -> Iterator[tuple[str, str]]:
    yield f"{key}-table", cases.packed(cases.columns(history))
    for number, chunk in enumerate(cases.details(history)):
        yield f"{key}-{number}", cases.packed(chunk)
