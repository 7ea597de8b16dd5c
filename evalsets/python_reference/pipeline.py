"""The pipeline of the python_reference evalset: the language reference inside CPython."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_index.core import Document

    from pytest_rag.pipelines.local import LocalPipeline

__all__ = ["build", "documents"]

_LEVELS = {"*": 1, "=": 2, "-": 3, "~": 4, "^": 5, '"': 6}
_RULED = re.compile(r"^(\S.*)\n([*=\-~^\"])\2{2,}$", re.MULTILINE)
_ROLE = re.compile(r":[a-z][\w:+-]*:`([^`]*)`")


def build(**params: Any) -> LocalPipeline:
    """Index every topic of ``pydoc_data.topics`` as one document whose id is the topic's name.

    Args:
        **params: Parameters of the local pipeline, such as ``top_k``.
    """
    from pytest_rag.pipelines.local import LocalPipeline

    return LocalPipeline.from_documents(documents(), **params)


def documents() -> list[Document]:
    """Return the topics this CPython ships, ordered by name."""
    from pydoc_data.topics import topics

    from llama_index.core import Document

    texts = {name: _markdown(source) for name, source in topics.items()}
    return [
        Document(id_=name, text=texts[name], metadata={"title": _title(texts[name], name)})
        for name in sorted(texts)
    ]


def _markdown(source: str) -> str:
    """Turn ruled headings into Markdown headings and drop what else only marks up."""
    text = _RULED.sub(lambda found: f"{'#' * _LEVELS[found[2]]} {found[1]}", source.expandtabs())
    text = _ROLE.sub(r"\1", text.replace("``", "`"))
    return text.strip() + "\n"


def _title(text: str, name: str) -> str:
    heading = re.search(r"^#+ (.+)$", text, re.MULTILINE)
    return heading[1].replace('"', "").replace("`", "") if heading else name
