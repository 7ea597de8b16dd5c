"""``pytest-rag capture``: a question, the pipeline's answer and a person's judgement → a case."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_rag.authoring.asking import Seen
    from pytest_rag.types import EvalSet

__all__ = ["capture", "in_terminal"]

_PLACE = re.compile(r"(\d+)(?:=(\d+))?")
_SNIPPET = 96
_LONGEST = 200
_NONE = "-"


def capture(
    evalset: Annotated[Path, typer.Argument(metavar="EVALSET", help="The file it is put into.")],
    query: Annotated[
        str | None, typer.Argument(metavar="[QUESTION]", help="Asked for if left out.")
    ] = None,
    relevant: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A gold document, or its number; repeatable."),
    ] = None,
    answer: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The reference answer; - for none.")
    ] = None,
    accept_answer: Annotated[
        bool, typer.Option("--accept-answer", help="The pipeline's answer is the reference.")
    ] = False,
    unanswerable: Annotated[
        bool, typer.Option("--unanswerable", help="A refusal is the right answer.")
    ] = False,
    id: Annotated[  # noqa: A002 - the option's name
        str | None, typer.Option(metavar="ID", help="Of the case; else of the question's words.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="T", help="A tag of the case; repeatable.")
    ] = None,
) -> None:
    """Ask the pipeline a question, say what is right, and keep it as a case."""
    from pytest_rag import config
    from pytest_rag import evalset as evalsets
    from pytest_rag.authoring.asking import ask_once
    from pytest_rag.authoring.casefile import add_case
    from pytest_rag.cli.project import find_root
    from pytest_rag.cli.run import need_pipelines
    from pytest_rag.cli.selection import need_evalset_name

    need_evalset_name(evalset)
    given = _Given(tuple(relevant or ()), answer, accept_answer, unanswerable)
    loaded = evalsets.load(evalset)
    need_pipelines([loaded])
    given.check(query)
    query = query if query is not None else typer.prompt("Question").strip()
    _refuse_twice(query, loaded)
    seen = ask_once(loaded, query, config.load(find_root(Path.cwd())))
    _show(seen)
    golds = given.golds(seen)
    reference = None if golds is None else given.reference(seen)
    values = _values(loaded, query, golds, reference, id, tag or ())
    notes = _notes(loaded, query, values, seen)
    for note in notes:
        typer.echo(f"note: {note}")
    if notes and in_terminal() and not typer.confirm("Keep it?", default=True):
        raise typer.Exit(1)
    add_case(evalset, values)
    typer.echo(f"wrote {evalset}: case {values['id']}")


def in_terminal() -> bool:
    """Tell whether somebody can be asked."""
    return sys.stdin.isatty()


@dataclass(frozen=True, slots=True)
class _Given:
    """What was said on the command line; what was not is asked for in the terminal."""

    relevant: tuple[str, ...]
    answer: str | None
    accept: bool
    unanswerable: bool

    def check(self, query: str | None) -> None:
        """Make sure that what is said fits together, and that the rest can be asked for.

        Raises:
            UsageError: if not.
        """
        from pytest_rag.errors import UsageError

        if self.unanswerable and (self.relevant or self.answer is not None or self.accept):
            raise UsageError("--unanswerable goes without --relevant, --answer, --accept-answer.")
        if self.answer is not None and self.accept:
            raise UsageError("--answer and --accept-answer cannot stand together.")
        judged = self.unanswerable or (self.relevant and (self.answer is not None or self.accept))
        if not in_terminal() and (query is None or not judged):
            raise UsageError(
                "This is no terminal to ask in. Say it all: QUESTION, and --unanswerable, or "
                "--relevant ID with --accept-answer or --answer TEXT (- for none)."
            )

    def golds(self, seen: Seen) -> dict[str, int] | None:
        """Return grades by gold id; None where the question has no answer."""
        from pytest_rag.errors import UsageError

        if self.unanswerable:
            return None
        if self.relevant:
            return _graded(self.relevant, seen)
        while True:
            said = typer.prompt(
                "Which documents answer it? Numbers or ids (2=2 for grade 2), - for none: it "
                "cannot be answered"
            )
            if said.strip() == _NONE:
                return None
            try:
                return _graded(said.replace(",", " ").split(), seen)
            except UsageError as error:
                typer.echo(str(error))

    def reference(self, seen: Seen) -> str | None:
        """Return the reference answer, or None."""
        told = " ".join((seen.observation.answer or "").split())
        if self.accept:
            return told or None
        said = self.answer
        if said is None:
            hint = "Reference answer (Enter takes the pipeline's, - none)"
            said = typer.prompt(hint, default=told or _NONE, show_default=not told)
        said = " ".join(said.split())
        return None if said in ("", _NONE) else said


def _graded(said: Sequence[str], seen: Seen) -> dict[str, int]:
    """Return grades by id of numbers and ids.

    Raises:
        UsageError: for a number that is not shown, or a document that the index does not hold.
    """
    from pytest_rag.authoring.asking import distinct
    from pytest_rag.errors import UsageError
    from pytest_rag.registry import did_you_mean

    shown = distinct(seen.observation)
    golds: dict[str, int] = {}
    for word in said:
        place = _PLACE.fullmatch(word)
        if place is not None and (seen.documents is None or word not in seen.documents):
            number = int(place[1])
            if not 1 <= number <= len(shown):
                raise UsageError(f"There is no document number {number}; {len(shown)} are shown.")
            golds[shown[number - 1].id] = int(place[2] or 1)
        elif seen.documents is not None and word.partition("#")[0] not in seen.documents:
            hint = did_you_mean(word, seen.documents)
            raise UsageError(
                f"The index holds no document {word!r}.{hint if len(hint) < 200 else ''}"
            )
        else:
            golds[word] = 1
    if not golds:
        raise UsageError("Name at least one document, or - where none answers it.")
    return golds


def _show(seen: Seen) -> None:
    from pytest_rag.authoring.asking import distinct

    typer.echo(f"answer     {' '.join((seen.observation.answer or 'none').split())}")
    if seen.observation.retrieved is None:
        typer.echo("The pipeline does not tell what it retrieved.")
    for number, node in enumerate(distinct(seen.observation), start=1):
        text = " ".join(node.text.split())
        short = text if len(text) <= _SNIPPET else f"{text[: _SNIPPET - 1]}…"
        score = "" if node.score is None else f"  {node.score:.4g}"
        typer.echo(f"{number:>2}  {node.id}{score}\n    {short}")


def _refuse_twice(query: str, loaded: EvalSet) -> None:
    from pytest_rag.errors import UsageError
    from pytest_rag.metrics.text import normalise

    if not query.strip():
        raise UsageError("The question is blank.")
    for case in (*loaded.cases, *loaded.drafts):
        if normalise(case.query) == normalise(query):
            raise UsageError(f"{case.path}:{case.line}: {case.id!r} asks this already.")


def _values(
    loaded: EvalSet,
    query: str,
    golds: dict[str, int] | None,
    reference: str | None,
    name: str | None,
    tags: Sequence[str],
) -> dict[str, Any]:
    from pytest_rag.authoring.casefile import slug_of
    from pytest_rag.errors import UsageError

    taken = {case.id for case in (*loaded.cases, *loaded.drafts)}
    if name in taken:
        raise UsageError(f"Id {name!r} is taken in {loaded.path}.")
    values: dict[str, Any] = {"id": name or slug_of(query, taken), "query": query}
    if golds is None:
        values["answerable"] = False
    else:
        if reference is not None:
            values["answer"] = reference
        values["relevant"] = list(golds) if set(golds.values()) == {1} else golds
    if tags:
        values["tags"] = list(tags)
    if loaded.drafts:  # the file may say of all its cases that nobody has reviewed them
        values["reviewed"] = True
    return values


def _notes(loaded: EvalSet, query: str, values: dict[str, Any], seen: Seen) -> list[str]:
    """Return what is suspicious about the case."""
    from pytest_rag.authoring.flags import SUPPORTED, Twins, leak, support
    from pytest_rag.metrics.text import words

    cases, twins = (*loaded.cases, *loaded.drafts), Twins()
    notes = []
    twin = twins.of(query, [case.query for case in cases])
    if twin is not None:
        other = cases[twin[0]]
        notes.append(f"{other.id!r} asks nearly the same: {other.query} ({twins.method})")
    answer = values.get("answer")
    if answer is not None and leak(query, [answer]) is not None:
        notes.append(f"the question holds its answer: {answer!r}")
    golds = {str(gold).partition("#")[0] for gold in values.get("relevant", ())}
    texts = [node.text for node in seen.observation.retrieved or () if node.id in golds]
    if answer is not None and texts and support(answer, set(words(" ".join(texts)))) < SUPPORTED:
        notes.append(f"little of the answer stands in what was retrieved of its gold: {answer!r}")
    return notes
