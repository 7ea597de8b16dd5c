"""SQuAD 1.1 and 2.0: articles of paragraphs, and answers as spans of them (Rajpurkar et al.)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_rag.exchange.model import Collection, ConvertError, Document, Question, hashed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["is_squad", "read_squad", "write_squad"]

_MOST = 512 << 20


def is_squad(path: Path) -> bool:
    """Tell whether a JSON file begins as this layout does."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    return b'"data"' in head and (b'"paragraphs"' in head or b'"title"' in head)


def read_squad(path: Path) -> Collection:
    """Read a file; every paragraph is a document.

    Raises:
        ConvertError: if it is not of this layout.
    """
    if path.stat().st_size > _MOST:
        raise ConvertError(f"{path} is larger than {_MOST >> 20} MiB.")
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConvertError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(data, dict) or not isinstance(data.get("data"), list):
        raise ConvertError(f"{path} has no list under 'data'.")
    found = Collection(questions=[], source=f"squad {path.name}")
    documents: list[Document] = []
    for place, paragraph, document in _paragraphs(data["data"], path):
        documents.append(document)
        for number, asked in enumerate(paragraph.get("qas") or ()):
            found.questions.append(_question(asked, document.id, f"{place}.qas[{number}]", path))
    found.documents = documents
    return found


def _paragraphs(data: list[Any], path: Path) -> Iterator[tuple[str, dict[str, Any], Document]]:
    taken: set[str] = set()
    for number, article in enumerate(data):
        place = f"data[{number}]"
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list):
            raise ConvertError(f"{path}: {place} has no list under 'paragraphs'.")
        title = str(article.get("title") or f"article {number}")
        name = title.replace(" ", "_").replace("/", "_")
        name = f"{name}-{number}" if name.casefold() in taken else name
        taken.add(name.casefold())
        for index, paragraph in enumerate(paragraphs):
            here = f"{place}.paragraphs[{index}]"
            text = paragraph.get("context") if isinstance(paragraph, dict) else None
            if not isinstance(text, str):
                raise ConvertError(f"{path}: {here} has no text under 'context'.")
            yield here, paragraph, Document(id=f"{name}/{index:04d}", text=text, title=title)


def _question(asked: Any, document: str, place: str, path: Path) -> Question:
    query = asked.get("question") if isinstance(asked, dict) else None
    if not isinstance(query, str) or not query.strip():
        raise ConvertError(f"{path}: {place} has no text under 'question'.")
    answerable = not asked.get("is_impossible", False)
    answers = asked.get("answers") or []
    if not isinstance(answers, list) or not all(_is_answer(each) for each in answers):
        raise ConvertError(f"{path}: {place}.answers is no list of {{text, answer_start}}.")
    texts = tuple(dict.fromkeys(each["text"] for each in answers if each["text"].strip()))
    return Question(
        id=str(asked.get("id") or f"q-{hashed(place + query)}"),
        query=query,
        answers=texts if answerable else (),
        relevant={document: 1} if answerable else {},
        answerable=answerable,
        meta={"squad": {"paragraph": document, "answers": answers}},
    )


def _is_answer(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("text"), str)


def write_squad(collection: Collection, folder: Path) -> None:
    """Write ``squad.json``: every question below the paragraph that its answer stands in.

    A question whose answer stands word for word in none of its gold documents is left out.

    Args:
        collection: With documents.
        folder: That is there already.

    Raises:
        ConvertError: if there are no documents.
    """
    if collection.documents is None:
        raise ConvertError("SQuAD keeps questions below paragraphs: name the documents, --corpus.")
    documents = {each.id: each for each in collection.documents}
    below: dict[str, list[dict[str, Any]]] = {}
    for question in collection.questions:
        placed = _placed(question, documents)
        if isinstance(placed, str):
            collection.left_out[placed] += 1
        else:
            document, answers = placed
            entry: dict[str, Any] = {"id": question.id, "question": question.query}
            entry |= {"answers": answers, "is_impossible": not question.answerable}
            below.setdefault(document, []).append(entry)
    articles: dict[str, list[dict[str, Any]]] = {}
    for name, each in documents.items():
        paragraph = {"context": each.text, "qas": below.get(name, [])}
        articles.setdefault(each.title or name.partition("/")[0], []).append(paragraph)
    data = [{"title": title, "paragraphs": of} for title, of in articles.items()]
    text = json.dumps({"version": "v2.0", "data": data}, ensure_ascii=False)
    (folder / "squad.json").write_text(text + "\n", encoding="utf-8")


def _placed(
    question: Question, documents: dict[str, Document]
) -> tuple[str, list[dict[str, Any]]] | str:
    """Return the paragraph of a question and its answers in it, or why there is none."""
    noted = question.meta.get("squad")
    noted = noted if isinstance(noted, dict) else {}
    if noted.get("paragraph") in documents:
        text = documents[noted["paragraph"]].text
        given = noted.get("answers") or []
        if all(text.startswith(a["text"], a.get("answer_start", -1)) for a in given):
            return noted["paragraph"], given
    if not question.answerable:
        return "unanswerable questions without a paragraph"
    for name, grade in question.relevant.items():
        text = documents[name].text if grade and name in documents else ""
        found = [
            {"text": answer, "answer_start": text.index(answer)}
            for answer in question.answers
            if answer in text
        ]
        if found:
            return name, found
    return "questions whose answer stands word for word in no gold document"
