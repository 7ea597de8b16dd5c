"""``pytest-rag calibrate``: how far metrics agree with people, and what they may decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_rag.calibrating.chosen import Chosen
    from pytest_rag.calibrating.corrected import Corrected
    from pytest_rag.calibrating.findings import Finding
    from pytest_rag.calibrating.measured import Measuring
    from pytest_rag.calibrating.people import People
    from pytest_rag.records import Run
    from pytest_rag.types import EvalSet

__all__ = ["calibrate"]

_INTERRUPTED = 130


def calibrate(
    human: Annotated[
        Path, typer.Argument(metavar="HUMAN.jsonl", help="Answers that people judged, one a line.")
    ],
    metric: Annotated[
        list[str],
        typer.Option(
            "--metric",
            "-m",
            metavar="NAME",
            help="A metric, a rubric of the evalset, module:function, or `all` that ask no judge; "
            "repeatable.",
        ),
    ],
    evalset: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The *.rag.yaml, or test file, that it is for: calibration/NAME.json beside it.",
        ),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=KEY", help="Which key is which field; repeatable."),
    ] = None,
    good: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="A label that means good; repeatable."),
    ] = None,
    repeat: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=100, help="How often a judge judges 50 answers."),
    ] = 3,
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN.jsonl", help="Correct the means of this run by the labels."),
    ] = None,
    max_cost: Annotated[
        str | None,
        typer.Option(metavar="USD", help="Ask no judge that could make it cost more."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of folds and resampling.")] = 0,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say everything of each of many metrics.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was found as one JSON document.")
    ] = False,
) -> None:
    """Tell how far metrics agree with people, and let the gate know."""
    from pytest_rag import config, records
    from pytest_rag.calibrating import human as file
    from pytest_rag.calibrating.chosen import choose
    from pytest_rag.calibrating.measured import Measuring
    from pytest_rag.calibrating.people import people_of
    from pytest_rag.cli.project import find_root
    from pytest_rag.cli.run import amount

    limit = amount(max_cost)
    settings = config.load(find_root(Path.cwd()))
    known = _evalset(evalset)
    people = people_of(file.read(human, _mapping(fields or ())), good or ())
    chosen = choose(metric, people.rows, settings, known)
    earlier = None if run is None else records.read(run)
    measuring = Measuring(people.rows, settings, human, repeat=repeat, limit=limit)
    findings = _measured(measuring, chosen, people, seed)
    means = {} if earlier is None else _corrected(earlier, findings, people, known)
    said = _keep(findings, people, human, evalset, known)
    costs = measuring.told_costs()
    if as_json:
        typer.echo(_document(findings, people, means))
    else:
        _tell(findings, people, means, [*costs, *said], verbose=verbose)
    raise typer.Exit(0 if any(each.answers for each in findings) else 3)


def _evalset(path: Path | None) -> EvalSet | None:
    from pytest_rag.cli.selection import load_all
    from pytest_rag.errors import UsageError

    if path is None or (path.suffix == ".py" and path.is_file()):
        return None
    found = load_all([path])
    if len(found) > 1:
        raise UsageError(f"--evalset {path} holds {len(found)} evalsets; name the file of one.")
    return found[0]


def _mapping(words: Sequence[str]) -> dict[str, str]:
    from pytest_rag.errors import UsageError

    found = {}
    for word in words:
        name, sign, key = word.partition("=")
        if not (sign and name and key):
            raise UsageError(f"--map takes FIELD=KEY, as in question=prompt, not {word!r}.")
        found[name.strip()] = key.strip()
    return found


def _measured(
    measuring: Measuring, chosen: Sequence[Chosen], people: People, seed: int
) -> list[Finding]:
    from pytest_rag.calibrating.findings import find
    from pytest_rag.cli.terminal import progress

    try:
        with progress(measuring.total(chosen)) as advance:
            found = measuring.run(chosen, advance)
    except KeyboardInterrupt:
        typer.echo("Interrupted: nothing was written.", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    return [find(each, found[each.metric.name], people, seed=seed) for each in chosen]


def _corrected(
    run: Run, findings: Sequence[Finding], people: People, known: EvalSet | None
) -> dict[str, Corrected]:
    from pytest_rag.calibrating.corrected import correct
    from pytest_rag.errors import UsageError

    names = list(dict.fromkeys(result.evalset for result in run.results))
    name = names[0] if known is None and len(names) == 1 else getattr(known, "name", None)
    if name not in names:
        raise UsageError(f"Which evalset of the run? It holds {', '.join(names)}: --evalset FILE")
    results = [result for result in run.results if result.evalset == name]
    return {each.metric: correct(each, people.rows, results) for each in findings}


# --- what is kept -----------------------------------------------------------------------------


def _keep(
    findings: Sequence[Finding],
    people: People,
    human: Path,
    source: Path | None,
    known: EvalSet | None,
) -> list[tuple[str, str]]:
    """Write what was found beside the evalset, and return what to say of it, with a style."""
    from pytest_rag import calibration

    if source is None:
        told = "Nothing was written. To let a gate know, say what it is for: --evalset FILE"
        return [(told, "dim")]
    whole = [each for each in findings if each.whole]
    labels = {**_labels(people), "file": human.name}
    entries = {each.metric: {**each.to_dict(), "labels": labels} for each in whole}
    name = source.stem if known is None else known.name
    path = calibration.path_of(source)
    said = [
        (f"{each.metric} is not written: {each.lost} answers got no score.", "bad")
        for each in findings
        if not each.whole
    ]
    if not entries:
        return said
    new = calibration.merged(calibration.read(source, name), entries)
    verb = "written" if not path.exists() else "updated"
    changed = calibration.write(path, new)
    told = f"calibration {verb}: {path}. Review it and commit it."
    return [*said, (told if changed else f"calibration unchanged: {path}", "bold")]


def _labels(people: People) -> dict[str, Any]:
    return {
        "answers": len(people.rows),
        "fingerprint": people.fingerprint,
        "good": list(people.good),
        "kind": people.kind,
    }


# --- what is said -----------------------------------------------------------------------------


def _document(findings: Sequence[Finding], people: People, means: Mapping[str, Corrected]) -> str:
    from dataclasses import asdict

    metrics = {each.metric: each.to_dict() for each in findings}
    whole: dict[str, Any] = {"labels": _labels(people), "metrics": metrics}
    if means:
        whole["corrected"] = {name: asdict(mean) for name, mean in means.items()}
    return json.dumps(whole, ensure_ascii=False, allow_nan=False, indent=2)


def _tell(
    findings: Sequence[Finding],
    people: People,
    means: Mapping[str, Corrected],
    said: Sequence[tuple[str, str]],
    *,
    verbose: bool,
) -> None:
    from pytest_rag.cli.terminal import say, width
    from pytest_rag.report.calibration import calibration_lines, corrected_lines

    say(calibration_lines(people, findings, verbose=verbose, width=width()))
    for name, mean in means.items():
        say(corrected_lines(name, mean, width=width()))
    say(said)
