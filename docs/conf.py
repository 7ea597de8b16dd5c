"""The documentation as a site: ``pip install -e ".[docs]" && sphinx-build -W docs site``.

Pages are plain Markdown, as GitHub shows them. What the site adds is made here: its navigation from
the lists of ``index.md``, the changelog as a page, and the two JSON Schemas.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pygments.lexers.data import JsonLexer
from pygments.lexers.special import TextLexer

import pytest_rag
from pytest_rag.evalset import json_schema
from pytest_rag.report.document import document_schema

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
SCHEMAS = {"evalset.schema.json": json_schema, "report.schema.json": document_schema}

project = "pytest-rag"
author = "The pytest-rag authors"
copyright = author  # noqa: A001  # the name is Sphinx's
version = release = pytest_rag.__version__

extensions = ["myst_parser"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # an output that is cut is no whole JSON
exclude_patterns = ["ci"]

html_theme = "furo"
html_title = "pytest-rag"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5c7a", "color-brand-content": "#0b5c7a"},
    "dark_css_variables": {"color-brand-primary": "#6cc3e0", "color-brand-content": "#6cc3e0"},
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what the site adds to the pages."""
    app.add_lexer("csv", TextLexer)
    app.add_lexer("jsonl", JsonLexer)
    app.connect("source-read", _complete)
    app.connect("build-finished", _write_schemas)
    return {"parallel_read_safe": True}


def _complete(_: Sphinx, docname: str, source: list[str]) -> None:
    """Leave out what only the tests need; add navigation, schemas and the changes."""
    text = source[0]
    if docname == "changes":
        text = (HERE.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    text = re.sub(r"^<!--.*?-->\n", "", text, flags=re.MULTILINE | re.DOTALL)
    if docname == "index":
        text += _schema_links() + "".join(_navigation(text))
    source[0] = text


def _navigation(text: str) -> list[str]:
    """Return a table of contents for each section of the index that lists pages."""
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    listed = [
        (
            section.partition("\n")[0],
            re.findall(r"^- \[.*?\]\(([\w./-]+)\.md\)", section, re.MULTILINE),
        )
        for section in sections
    ]
    return [
        f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(pages) + "\n```\n"
        for title, pages in listed
        if pages
    ]


def _schema_links() -> str:
    links = " and ".join(f'<a href="{name}"><code>{name}</code></a>' for name in SCHEMAS)
    return (
        f"\nThe JSON Schemas of evalsets and of the `json:` report lie beside this page: {links}.\n"
    )


def _write_schemas(app: Sphinx, failure: Exception | None) -> None:
    if failure is None and app.builder.format == "html":
        for name, schema in SCHEMAS.items():
            text = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
            (Path(app.outdir) / name).write_text(text, encoding="utf-8")
