"""ragas' and LlamaIndex's layouts: a question, its answer, and the texts that hold it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_rag.evalset.bulk import made_id
from pytest_rag.exchange.model import Collection, ConvertError, Document, Question, hashed
from pytest_rag.exchange.rows import rows, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["is_llamaindex", "is_ragas", "read_llamaindex", "read_ragas", "write_llamaindex"]
__all__ += ["write_ragas"]

_QUERY = ("user_input", "question", "query")
_ANSWER = ("reference", "ground_truth", "ground_truths", "reference_answer")
_FIRST = frozenset({"ground_truth", "ground_truths", "contexts"})
_HEAD = 65_536
_BY = ("query_by", "reference_answer_by")


def is_llamaindex(path: Path) -> bool:
    """Tell whether a JSON file begins as a `LabelledRagDataset`, or a folder holds one."""
    file = path / "rag_dataset.json" if path.is_dir() else path
    if file.suffix.lower() != ".json" or not file.is_file():
        return False
    with file.open("rb") as opened:
        head = opened.read(_HEAD)
    return b'"examples"' in head and b'"query"' in head


def is_ragas(path: Path) -> bool:
    """Tell whether a table has ragas' columns, of today or of its first releases."""
    if not path.exists() or (path.is_dir() and not (path / "state.json").is_file()):
        return False
    try:
        _, row = next(rows(path))
    except (StopIteration, ConvertError):
        return False
    return "user_input" in row or (
        "question" in row and ("ground_truth" in row or "contexts" in row)
    )


def read_llamaindex(path: Path) -> Collection:
    """Read what `LabelledRagDataset.save_json` wrote; ``rag_dataset.json`` of a folder.

    Raises:
        ConvertError: if it is not of this layout.
    """
    file = path / "rag_dataset.json" if path.is_dir() else path
    found = _Reader(f"llamaindex {file.name}")
    for number, row in rows(file):
        by = {key: row[key] for key in _BY if row.get(key)}
        found.add(row, ("query",), ("reference_answer",), file, number, by)
    return found.collection()


def read_ragas(path: Path) -> Collection:
    """Read an `EvaluationDataset` or test set; responses and what was retrieved are no gold.

    Raises:
        ConvertError: if it is not of this layout.
    """
    found = _Reader(f"ragas {path.name}")
    for number, row in rows(path):
        if any(isinstance(row.get(key), list) for key in _QUERY):
            found.left_out("conversations of several turns")
        else:
            found.add(row, _QUERY, _ANSWER, path, number, {})
    return found.collection()


class _Reader:
    """Makes questions and, of their contexts, documents, each once."""

    def __init__(self, source: str) -> None:
        self._found = Collection(questions=[], source=source)
        self._documents: dict[str, Document] = {}
        self._taken: set[str] = set()

    def left_out(self, reason: str) -> None:
        """Count something that is not taken over."""
        self._found.left_out[reason] += 1

    def add(
        self,
        row: Mapping[str, Any],
        query_keys: Iterable[str],
        answer_keys: Iterable[str],
        path: Path,
        number: int,
        meta: Mapping[str, Any],
    ) -> None:
        """Take in one row.

        Raises:
            ConvertError: if it has no question.
        """
        query = next((q for key in query_keys if isinstance(q := row.get(key), str)), "")
        if not query.strip():
            keys = " or ".join(map(repr, query_keys))
            raise ConvertError.at(path, number, f"There is no text under {keys}.")
        answers = [a for key in answer_keys for a in texts(row.get(key)) if a.strip()]
        golds = [self._document(text) for text in texts(row.get("reference_contexts"))]
        self._found.questions.append(
            Question(
                id=made_id(query, self._taken),
                query=query,
                answers=tuple(dict.fromkeys(answers)),
                relevant=dict.fromkeys(golds, 1),
                meta=meta,
            )
        )

    def _document(self, text: str) -> str:
        name = f"context-{hashed(text)}"
        self._documents.setdefault(name, Document(id=name, text=text))
        return name

    def collection(self) -> Collection:
        """Return what was read."""
        if self._documents:
            self._found.documents = list(self._documents.values())
        return self._found


# --- and back ---------------------------------------------------------------------------------


def write_ragas(collection: Collection, folder: Path) -> None:
    """Write ``ragas.jsonl``, which `EvaluationDataset.from_jsonl` reads.

    Args:
        collection: What is written; of several reference answers the first.
        folder: That is there already.
    """
    with (folder / "ragas.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for question, contexts in _with_contexts(collection):
            row: dict[str, Any] = {"user_input": question.query}
            if contexts:
                row["reference_contexts"] = contexts
            if question.answers:
                row["reference"] = question.answers[0]
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_llamaindex(collection: Collection, folder: Path) -> None:
    """Write ``rag_dataset.json``, which `LabelledRagDataset.from_json` reads.

    Args:
        collection: What is written; of several reference answers the first.
        folder: That is there already.
    """
    human = {"model_name": "", "type": "human"}
    examples = [
        {
            "query": question.query,
            "query_by": question.meta.get("query_by", human),
            "reference_contexts": contexts,
            "reference_answer": question.answers[0] if question.answers else "",
            "reference_answer_by": question.meta.get("reference_answer_by", human),
        }
        for question, contexts in _with_contexts(collection)
    ]
    text = json.dumps({"examples": examples}, ensure_ascii=False, indent=4)
    (folder / "rag_dataset.json").write_text(text + "\n", encoding="utf-8")


def _with_contexts(collection: Collection) -> Iterator[tuple[Question, list[str]]]:
    known = {each.id: each.text for each in collection.documents or ()}
    for question in collection.questions:
        golds = [name for name, grade in question.relevant.items() if grade]
        lost = sum(name not in known for name in golds)
        if lost:
            collection.left_out["gold documents whose text is not known"] += lost
        collection.left_out["further reference answers"] += max(0, len(question.answers) - 1)
        if not question.answerable:
            collection.left_out["that a question has no answer, which has no place here"] += 1
        yield question, [known[name] for name in golds if name in known]
