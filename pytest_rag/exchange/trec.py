"""TREC: a qrels file, topics as SGML or as columns, documents as JSONL, columns or SGML."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_rag.exchange.beir import qrels_of
from pytest_rag.exchange.model import Collection, ConvertError, Document, Question
from pytest_rag.exchange.rows import need, rows, text_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["is_trec", "read_trec", "write_trec"]

_TOPIC = re.compile(r"<top>(.*?)</top>", re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(r"<(\w+)>\s*(.*?)(?=<\w+>|</|\Z)", re.DOTALL)
_LABEL = re.compile(r"^(?:Number|Topic)\s*:\s*", re.IGNORECASE)
_DOC = re.compile(r"<DOC>(.*?)</DOC>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
_ID = ("_id", "id", "docid", "doc_id", "docno")
_TEXT = ("text", "contents", "content", "body")
_MOST_TOPICS = 64 << 20


def is_trec(path: Path) -> bool:
    """Tell whether the first line of a file is a judgement: ``query iteration document grade``."""
    if not path.is_file():
        return False
    try:
        _, line = next(text_lines(path))
    except (StopIteration, ConvertError):
        return False
    cells = line.split()
    return len(cells) == 4 and cells[3].lstrip("-").isdigit()


def read_trec(path: Path, queries: Path | None, corpus: Path | None) -> Collection:
    """Read judgements, the questions they are of and, if named, documents.

    Args:
        path: The qrels file.
        queries: Topics: SGML, ``id<TAB>text``, or JSONL with ``_id`` and ``text``.
        corpus: Documents: JSONL, ``id<TAB>text``, or SGML; a file.

    Raises:
        ConvertError: if a file is missing or wrong.
    """
    if queries is None:
        raise ConvertError(f"{path} holds no questions. Name the file that does: --queries FILE.")
    found = Collection(questions=[], source=f"trec {path.name}")
    qrels = qrels_of(path, found)
    asked = _topics(queries)
    for query, text in asked.items():
        if query in qrels:
            found.questions.append(Question(id=query, query=text, relevant=qrels[query]))
        else:
            found.left_out["topics without judgements"] += 1
    lost = len(qrels.keys() - asked.keys())
    if lost:
        found.left_out[f"judged queries that {queries.name} does not hold"] = lost
    if corpus is not None:
        found.documents = _documents(corpus)
    return found


def _topics(path: Path) -> dict[str, str]:
    if path.suffix in (".jsonl", ".ndjson"):
        return {
            need(row, _ID, path, number): need(row, (*_TEXT, "query", "question"), path, number)
            for number, row in rows(path)
        }
    first = next(text_lines(path), (0, ""))[1]
    if first.lstrip().startswith("<"):
        return _sgml_topics(path)
    return dict(_pair(path, number, line) for number, line in text_lines(path))


def _pair(path: Path, number: int, line: str) -> tuple[str, str]:
    name, tab, text = line.partition("\t")
    if not tab or not text.strip():
        raise ConvertError.at(path, number, "A line is an id, a tab and a text.")
    return name.strip(), text.strip()


def _sgml_topics(path: Path) -> dict[str, str]:
    if path.stat().st_size > _MOST_TOPICS:
        raise ConvertError(f"{path} is too large for a file of topics.")
    topics: dict[str, str] = {}
    text = "\n".join(line for _, line in text_lines(path))
    for found in _TOPIC.finditer(text):
        fields = {name.lower(): " ".join(value.split()) for name, value in _FIELD.findall(found[1])}
        number, title = (_LABEL.sub("", fields.get(key, "")) for key in ("num", "title"))
        if not number or not title:
            line = text[: found.start()].count("\n") + 1
            raise ConvertError.at(path, line, "A topic has no <num> or no <title>.")
        topics[number] = title
    if not topics:
        raise ConvertError(f"{path} holds no <top> … </top>.")
    return topics


def _documents(path: Path) -> Iterator[Document]:
    if path.suffix in (".jsonl", ".ndjson"):
        for number, row in rows(path):
            title = row.get("title")
            yield Document(
                id=need(row, _ID, path, number),
                text=need(row, _TEXT, path, number),
                title=title if isinstance(title, str) else "",
            )
        return
    first = next(text_lines(path), (0, ""))[1]
    if first.lstrip().startswith("<"):
        yield from _sgml_documents(path)
        return
    for number, line in text_lines(path):
        name, text = _pair(path, number, line)
        yield Document(id=name, text=text)


def _sgml_documents(path: Path) -> Iterator[Document]:
    kept: list[str] = []
    for number, line in text_lines(path):
        kept.append(line)
        if "</DOC>" not in line:
            continue
        found = _DOC.search("\n".join(kept))
        kept.clear()
        name = found and re.search(r"<DOCNO>\s*(.*?)\s*</DOCNO>", found[1])
        if not found or not name:
            raise ConvertError.at(path, number, "A document has no <DOCNO>.")
        body = found[1].replace(name[0], "")
        title = re.search(r"<(?:TITLE|HEADLINE)>(.*?)</(?:TITLE|HEADLINE)>", body, re.DOTALL)
        text = _TAG.sub(" ", body.replace(title[0], "") if title else body)
        yield Document(
            id=name[1], text=text.strip(), title=" ".join(title[1].split()) if title else ""
        )


def write_trec(collection: Collection, folder: Path) -> None:
    """Write ``qrels.txt``, ``queries.tsv`` and, with documents, ``corpus.jsonl``.

    Args:
        collection: What is written; reference answers have no place in this layout.
        folder: That is there already.
    """
    import json

    with (
        (folder / "qrels.txt").open("w", encoding="utf-8", newline="\n") as qrels,
        (folder / "queries.tsv").open("w", encoding="utf-8", newline="\n") as queries,
    ):
        for question in collection.questions:
            if not question.relevant:
                collection.left_out["questions without judgements"] += 1
                continue
            collection.left_out["reference answers, which have no place here"] += bool(
                question.answers
            )
            queries.write(f"{question.id}\t{' '.join(question.query.split())}\n")
            for document, grade in question.relevant.items():
                qrels.write(f"{question.id} 0 {document} {grade}\n")
    if collection.documents is not None:
        with (folder / "corpus.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for each in collection.documents:
                row = {"id": each.id, "title": each.title, "contents": each.text}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
