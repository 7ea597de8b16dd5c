"""A run as CSV, a row a run of a case, for spreadsheets."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from pytest_rag.report.layout import cut, printable
from pytest_rag.report.summary import case_reasons

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_rag.records import Result

__all__ = ["sheet"]

_COLUMNS = ("evalset", "case", "repeat", "outcome", "query", "answer", "why")
_FIGURES = ("latency_ms", "cost_usd", "input_tokens", "output_tokens")
_TEXT = 2000


def sheet(results: Sequence[Result]) -> str:
    """Return the rows; what is unknown is empty, and no text is a formula in a spreadsheet."""
    metrics = sorted({name for result in results for name in result.scores})
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*_COLUMNS, *_FIGURES, *map(_harmless, metrics)])
    for result in results:
        writer.writerow([*_texts(result), *_figures(result, metrics)])
    return file.getvalue()


def _texts(result: Result) -> Iterator[str | int]:
    yield _harmless(result.evalset)
    yield _harmless(result.case)
    yield result.repeat
    yield result.outcome
    yield _harmless(result.query)
    yield _harmless(result.answer or "")
    yield _harmless("; ".join(case_reasons([result])))


def _figures(result: Result, metrics: Sequence[str]) -> Iterator[object]:
    yield from (getattr(result, name) for name in _FIGURES)
    yield from (result.scores.get(name, {}).get("value") for name in metrics)


def _harmless(text: str) -> str:
    """Return a text on one line that no spreadsheet takes for a formula."""
    line = printable(cut(text, _TEXT))
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
