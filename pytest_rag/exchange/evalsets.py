"""A collection → an evalset with its questions and documents beside it, and back."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_rag import evalset as evalsets
from pytest_rag.errors import EvalSetError
from pytest_rag.exchange.model import Collection, ConvertError, Document, Question, file_of
from pytest_rag.pipelines.parts import document_of, documents_of, part_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_rag.types import Case, EvalSet

__all__ = ["read_evalset", "refuse_to_replace", "staged", "write_evalset"]

_SUFFIXES = (".rag.yaml", ".rag.yml")
_PAIR = re.compile(r"\\ud[89ab]..\\ud[c-f]..")


def refuse_to_replace(paths: Iterable[Path]) -> None:
    """Make sure that nothing is there yet.

    Raises:
        ConvertError: with what is.
    """
    there = [str(path) for path in paths if path.exists()]
    if there:
        raise ConvertError(
            f"Nothing was written, because {' and '.join(there)} "
            f"{'is' if len(there) == 1 else 'are'} there already. Name another place with --out."
        )


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield a folder beside the target, whose entries are moved there once all is well.

    Raises:
        ConvertError: if nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".pytest-rag-") as name:
            yield Path(name)
            for entry in sorted(
                Path(name).iterdir(), key=lambda each: each.name.endswith(_SUFFIXES)
            ):
                entry.replace(folder / entry.name)
    except OSError as error:
        raise ConvertError(f"Cannot write into {folder}: {error.strerror or error}.") from error


def _is_evalset(path: Path) -> bool:
    return path.name.endswith(_SUFFIXES)


# --- to an evalset ----------------------------------------------------------------------------


def write_evalset(collection: Collection, target: Path) -> EvalSet:
    """Write ``NAME.rag.yaml``, ``NAME.jsonl`` and, with documents, the folder ``NAME``.

    Args:
        collection: What is written; what cannot be is counted in it.
        target: The ``*.rag.yaml`` file.

    Returns:
        The evalset as it loads.

    Raises:
        ConvertError: if something is there already, or nothing would be in it.
        EvalSetError: if the questions make no evalset.
    """
    suffix = next((s for s in _SUFFIXES if target.name.endswith(s)), None)
    if suffix is None:
        raise ConvertError(f"{target} is no evalset: its name must end in .rag.yaml.")
    name = target.name.removesuffix(suffix)
    rows, corpus = target.with_name(f"{name}.jsonl"), target.with_name(name)
    refuse_to_replace([target, rows, *([corpus] if collection.documents is not None else [])])
    if not collection.questions:
        raise ConvertError(f"{collection.source}: there is no question to take over.")
    with staged(target.parent) as folder:
        known = _write_documents(collection.documents, folder / name)
        _write_questions(collection, folder / rows.name, known)
        text = _yaml(name, collection)
        (folder / target.name).write_text(text, encoding="utf-8")
        _check(folder / target.name, folder)
    return evalsets.load(target)


def _check(path: Path, folder: Path) -> None:
    try:
        evalsets.load(path)
    except EvalSetError as error:
        said = str(error).replace(f"{folder}/", "")
        raise ConvertError(
            f"Nothing was written, because this makes no evalset:\n{said}"
        ) from error


def _yaml(name: str, collection: Collection) -> str:
    head = f"# Made by pytest-rag convert from {' '.join(collection.source.split())}.\n"
    local = f"pipeline: {{local: {{corpus: {_quoted(name)}}}}}\n"
    pipeline = "" if collection.documents is None else local
    rows = _quoted(f"{name}.jsonl")
    return f"{head}evalset: {_quoted(name)}\n{pipeline}cases_from: {{path: {rows}}}\n"


def _write_documents(documents: Iterable[Document] | None, folder: Path) -> set[str] | None:
    """Write a file a document and return their ids; None where there are none."""
    if documents is None:
        return None
    known: set[str] = set()
    folder.mkdir()
    for each in documents:
        name = file_of(each.id)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        head = {"id": each.id, **({"title": each.title} if each.title else {})}
        matter = "".join(f"{key}: {_quoted(value)}\n" for key, value in head.items())
        try:
            with path.open("x", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(f"---\n{matter}---\n\n{each.text}\n")
        except FileExistsError:
            raise ConvertError(f"Two documents would be the file {name}: {each.id!r}.") from None
        known.add(each.id)
    return known


def _quoted(text: str) -> str:
    """Return a text in double quotes of YAML, which knows no pairs of surrogates."""
    return _PAIR.sub(lambda pair: str(json.loads(f'"{pair[0]}"')), json.dumps(text))


def _write_questions(collection: Collection, path: Path, known: set[str] | None) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for question in collection.questions:
            if known is not None:
                lost = sum(document not in known for document in question.relevant)
                collection.left_out["judgements of documents that the corpus does not hold"] += lost
            file.write(json.dumps(_row(question, named=known is not None)) + "\n")


def _row(question: Question, *, named: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"id": question.id, "query": question.query}
    if question.answers:
        row["answer"] = list(question.answers)
    if question.relevant:
        row["relevant"] = {
            file_of(document) if named else document: grade
            for document, grade in question.relevant.items()
        }
    if not question.answerable:
        row["answerable"] = False
    if question.meta:
        row["meta"] = dict(question.meta)
    return row


# --- from an evalset --------------------------------------------------------------------------


def read_evalset(evalset: EvalSet, corpus: Path | None, *, parts: bool) -> Collection:
    """Read an evalset as a collection; what the layouts have no place for is counted.

    Args:
        evalset: Its reviewed cases are read.
        corpus: The documents' folder; that of the local pipeline where it is None.
        parts: Whether gold that is a section, page or span stays one, a document of its own.

    Raises:
        ConfigError: if the folder is not there.
    """
    documents = _documents(evalset, corpus)
    left_out: Counter[str] = Counter()
    meta = _meta(evalset)
    texts: dict[str, Document] = {}
    questions = [
        _question(case, meta.get(case.id, {}), documents, texts if parts else None, left_out)
        for case in evalset.cases
    ]
    if evalset.drafts:
        left_out["cases that are not reviewed"] = len(evalset.drafts)
    found = Collection(questions=questions, source=evalset.name, left_out=left_out)
    if documents is not None:
        whole = [_document(each) for each in documents.values()]
        found.documents = [*whole, *texts.values()]
    return found


def _documents(evalset: EvalSet, corpus: Path | None) -> Mapping[str, Any] | None:
    """Return LlamaIndex's documents by id; None where no folder is known."""
    found = documents_of(evalset, corpus)
    return None if found is None else {document.id_: document for document in found}


def _document(document: Any) -> Document:
    name = _own_id(document)
    title = str(document.metadata["title"]) if _is_titled(document) else ""
    text = document.text if name == document.id_ else document.text.removesuffix("\n")
    return Document(id=name, text=text, title=title)


def _own_id(document: Any) -> str:
    """Return the id that a converted document had in its layout; any other's is its path."""
    told = document.metadata.get("id")
    return told if isinstance(told, str) and file_of(told) == document.id_ else str(document.id_)


def _is_titled(document: Any) -> bool:
    """Tell whether a converted document had a title: without, its file's name stands in for it."""
    stem = Path(document.id_).stem.replace("-", " ").replace("_", " ").strip()
    return bool(_own_id(document) == document.id_ or document.metadata.get("title") != stem)


def _meta(evalset: EvalSet) -> dict[str, Mapping[str, Any]]:
    """Return what a conversion kept for the way back, by case id."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in {case.path for case in evalset.cases if case.path is not None}:
        if path.suffix != ".jsonl":
            continue
        with path.open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line) if line.strip() else {}
                if isinstance(row.get("meta"), dict):
                    found[str(row.get("id"))] = row["meta"]
    return found


def _question(
    case: Case,
    meta: Mapping[str, Any],
    documents: Mapping[str, Any] | None,
    parts: dict[str, Document] | None,
    left_out: Counter[str],
) -> Question:
    relevant: dict[str, int] = {}
    for gold, grade in case.relevant.items():
        for name in _named(gold, documents, parts, left_out):
            relevant[name] = max(grade, relevant.get(name, grade))
    return Question(
        id=case.id,
        query=case.query,
        answers=case.answers,
        relevant=relevant,
        answerable=case.answerable,
        meta=meta,
    )


def _named(
    gold: str,
    documents: Mapping[str, Any] | None,
    parts: dict[str, Document] | None,
    left_out: Counter[str],
) -> list[str]:
    """Return the documents, or the part of one, that a gold id names."""
    from pytest_rag.metrics.gold import matches

    if documents is None:
        return [gold]
    found = document_of(gold, documents)
    if found is None:
        globbed = [_own_id(documents[name]) for name in documents if matches(gold, name)]
        left_out["gold that names no document of the corpus"] += not globbed
        return globbed
    name, fragment = found
    document = documents[name]
    if not fragment:
        return [_own_id(document)]
    text = part_of(document.text, document.metadata, fragment)
    if parts is None or text is None:
        left_out["sections, pages and spans, which became whole documents"] += 1
        return [_own_id(document)]
    parts[gold] = Document(id=gold, text=text.strip())
    return [gold]
