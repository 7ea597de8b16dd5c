"""A run as CSV, a row a run of a case, for spreadsheets."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from pytest_rag.report.layout import cut, harmless
from pytest_rag.report.troubles import case_reasons

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
    writer.writerow([*_COLUMNS, *_FIGURES, *map(harmless, metrics)])
    for result in results:
        writer.writerow([*_texts(result), *_figures(result, metrics)])
    return file.getvalue()


def _texts(result: Result) -> Iterator[str | int]:
    yield harmless(cut(result.evalset, _TEXT))
    yield harmless(cut(result.case, _TEXT))
    yield result.repeat
    yield result.outcome
    yield harmless(cut(result.query, _TEXT))
    yield harmless(cut(result.answer or "", _TEXT))
    yield harmless(cut("; ".join(case_reasons([result])), _TEXT))


def _figures(result: Result, metrics: Sequence[str]) -> Iterator[object]:
    yield from (getattr(result, name) for name in _FIGURES)
    yield from (result.scores.get(name, {}).get("value") for name in metrics)
