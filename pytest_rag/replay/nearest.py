"""What to say where a request was not recorded: the nearest one, and what differs."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_rag.replay.values import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_rag.replay.cassette import Cassette, Entry, Place
    from pytest_rag.replay.requests import Request

__all__ = ["no_answer"]

_LOOKED_AT = 500
_COMPARED = 4000
_SHOWN_LINES = 10
_SHOWN_CHARS = 160


def no_answer(cassette: Cassette, request: Request, place: Place, command: str) -> str:
    """Return the message for a request that has no recorded answer.

    Args:
        cassette: That has none.
        request: What was asked.
        place: By whom.
        command: What to type to record it.
    """
    case, repeat, _ = place
    who = f"case {case!r}" if case else "the building of the pipeline"
    if repeat:
        who += f", repeat {repeat + 1}"
    what = request.kind.replace("_", " ")
    lines = [f"{_name(cassette)} has no recorded answer to this {what} of {request.model} ({who})."]
    group = cassette.group(request.key)
    if group:
        known = len([asked for asked, _, _ in group if asked == case])
        times = "once" if known == 1 else f"{known} times"
        lines.append(f"The same request was recorded {times} for this case, and this is one more.")
    else:
        lines.extend(_difference(cassette, request, case))
    return "\n".join([*lines, f"Record it: {command}"])


def _name(cassette: Cassette) -> str:
    here = Path.cwd()
    path = cassette.path
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _difference(cassette: Cassette, request: Request, case: str) -> Iterator[str]:
    if not len(cassette):
        there = "holds no call" if cassette.path.exists() else "is not there"
        yield f"The cassette {there}."
        return
    near = _nearest(cassette, request, case)
    if near is None:
        yield f"It holds no {request.kind.replace('_', ' ')} at all."
        return
    asked_by = f" (case {near.case!r})" if near.case and near.case != case else ""
    yield f"The nearest recorded request{asked_by} differs in:"
    before = _flat({"model": near.model, **near.request})
    now = _flat({"model": request.model, **request.body})
    shown = [line for name in sorted({*before, *now}) for line in _changed(name, before, now)]
    yield from shown[:_SHOWN_LINES]
    if len(shown) > _SHOWN_LINES:
        yield f"  … and {len(shown) - _SHOWN_LINES} lines more"


def _nearest(cassette: Cassette, request: Request, case: str) -> Entry | None:
    wanted = canonical([request.model, request.body])[:_COMPARED]
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    best: tuple[float, Entry | None] = (-1.0, None)
    for entry in cassette.alike(request.kind, case, _LOOKED_AT):
        matcher.set_seq1(canonical([entry.model, entry.request])[:_COMPARED])
        near = matcher.quick_ratio() + (1.0 if entry.case == case else 0.0)
        if near > best[0]:
            best = (near, entry)
    return best[1]


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Return every leaf of a JSON value by its path."""
    if isinstance(value, dict):
        inner = ((f"{name}.{key}" if name else key, each) for key, each in value.items())
    elif isinstance(value, list):
        inner = ((f"{name}[{place}]", each) for place, each in enumerate(value))
    else:
        return {name: value if isinstance(value, str) else json.dumps(value)}
    return {path: leaf for at, each in inner for path, leaf in _flat(each, at).items()}


def _changed(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    old, new = before.get(name), now.get(name)
    if old == new:
        return []
    if old is None or new is None or ("\n" not in old + new and len(old + new) < _SHOWN_CHARS):
        return [f"  {name}: {_short(old)} → {_short(new)}"]
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    changed = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    if not changed:  # line ends alone
        return [f"  {name}: {_short(old)} → {_short(new)}"]
    return [f"  {name}:", *(f"    {_around(line, changed)}" for line in changed)]


def _short(text: str | None) -> str:
    if text is None:
        return "nothing"
    return repr(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…")


def _around(line: str, lines: list[str]) -> str:
    """Return a changed line, cut to where it differs where it is long."""
    if len(line) <= _SHOWN_CHARS:
        return line
    other = next((o for o in lines if o[0] != line[0]), "")
    same = next((i for i, (a, b) in enumerate(zip(line[1:], other[1:], strict=False)) if a != b), 0)
    start = max(0, same - _SHOWN_CHARS // 4)
    cut = line[1 + start : 1 + start + _SHOWN_CHARS]
    return f"{line[0]}{'…' if start else ''}{cut}…"
