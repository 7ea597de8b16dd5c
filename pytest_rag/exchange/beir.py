"""BEIR: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/SPLIT.tsv`` (Thakur et al. 2021)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_rag.exchange.model import Collection, ConvertError, Document, Question
from pytest_rag.exchange.rows import need, rows, text_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["is_beir", "qrels_of", "read_beir", "write_beir"]

_HEADER = "query-id\tcorpus-id\tscore"


def is_beir(path: Path) -> bool:
    """Tell whether a folder has this layout."""
    return (path / "queries.jsonl").is_file() and (path / "qrels").is_dir()


def read_beir(path: Path, split: str = "") -> Collection:
    """Read a folder; queries that the split does not judge are left out.

    Args:
        path: The folder.
        split: Which file of ``qrels``; ``test``, or the only one, where none is named.

    Raises:
        ConvertError: if a file is missing or wrong.
    """
    name, qrels_file = _split(path, split)
    found = Collection(questions=[], source=f"beir {path.name}, split {name}")
    qrels = qrels_of(qrels_file, found)
    queries = path / "queries.jsonl"
    for number, row in rows(queries):
        query = need(row, ("_id",), queries, number)
        if query not in qrels:
            found.left_out["queries that the split does not judge"] += 1
            continue
        meta = row.get("metadata") if isinstance(row.get("metadata"), dict) else None
        found.questions.append(_question(query, need(row, ("text",), queries, number), qrels, meta))
    missing = qrels.keys() - {question.id for question in found.questions}
    if missing:
        found.left_out["judged queries that queries.jsonl does not hold"] = len(missing)
    if (path / "corpus.jsonl").is_file():
        found.documents = _documents(path / "corpus.jsonl")
    return found


def _question(
    name: str, text: str, qrels: dict[str, dict[str, int]], meta: dict[str, object] | None
) -> Question:
    answers = (meta or {}).get("answers")
    kept = tuple(a for a in answers if isinstance(a, str)) if isinstance(answers, list) else ()
    return Question(
        id=name,
        query=text,
        answers=kept,
        relevant=qrels[name],
        meta={k: v for k, v in (meta or {}).items() if k != "answers"},
    )


def _split(path: Path, wanted: str) -> tuple[str, Path]:
    known = sorted(file.stem for file in (path / "qrels").glob("*.tsv"))
    if not known:
        raise ConvertError(f"{path / 'qrels'} holds no .tsv file.")
    name = wanted or ("test" if "test" in known else known[0] if len(known) == 1 else "")
    if name not in known:
        what = f"no split {wanted!r}" if wanted else "no split test"
        raise ConvertError(f"{path} has {what}; it has {', '.join(known)}: --split {known[0]}.")
    return name, path / "qrels" / f"{name}.tsv"


def qrels_of(path: Path, found: Collection) -> dict[str, dict[str, int]]:
    """Return ``{query: {document: grade}}`` of a qrels file: BEIR's three columns or TREC's four.

    A grade below 0 is 0: it was looked at, and is not relevant.

    Raises:
        ConvertError: if a line is neither.
    """
    qrels: dict[str, dict[str, int]] = {}
    for number, line in text_lines(path):
        cells = line.split("\t") if "\t" in line else line.split()
        if number == 1 and cells[-1].strip() in ("score", "relevance", "rel"):
            continue
        if len(cells) not in (3, 4):
            raise ConvertError.at(
                path, number, f"A judgement has 3 or 4 columns, and this line {len(cells)}."
            )
        query, document, written = cells[0], cells[-2], cells[-1].strip()
        try:
            grade = int(written)
        except ValueError:
            raise ConvertError.at(
                path, number, f"The grade {written!r} is no whole number."
            ) from None
        if grade < 0:
            found.left_out["grades below 0, which became 0"] += 1
        qrels.setdefault(query, {})[document] = max(0, grade)
    return qrels


def _documents(path: Path) -> Iterator[Document]:
    for number, row in rows(path):
        text, title = row.get("text"), row.get("title")
        yield Document(
            id=need(row, ("_id",), path, number),
            text=text if isinstance(text, str) else "",
            title=title if isinstance(title, str) else "",
        )


def write_beir(collection: Collection, folder: Path) -> None:
    """Write a folder; reference answers go into a query's ``metadata``.

    Args:
        collection: With questions and, if there are any, documents.
        folder: That is there already.
    """
    (folder / "qrels").mkdir()
    with (folder / "queries.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for question in collection.questions:
            meta = {**question.meta, **({"answers": question.answers} if question.answers else {})}
            row = {"_id": question.id, "text": question.query, "metadata": meta}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    with (folder / "qrels" / "test.tsv").open("w", encoding="utf-8", newline="\n") as file:
        file.write(_HEADER + "\n")
        for question in collection.questions:
            for document, grade in question.relevant.items():
                file.write(f"{question.id}\t{document}\t{grade}\n")
            if not question.relevant:
                collection.left_out["questions without judgements, which no split holds"] += 1
    if collection.documents is not None:
        with (folder / "corpus.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for each in collection.documents:
                row = {"_id": each.id, "title": each.title, "text": each.text, "metadata": {}}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
