"""The recommended parameters → a JSON file, which the evalset's pipeline reads."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pytest_rag import evalset as evalsets
from pytest_rag.errors import EvalSetError, UsageError
from pytest_rag.evalset.paramsfile import params_text
from pytest_rag.evalset.problems import Problems
from pytest_rag.evalset.yamlpos import compose
from pytest_rag.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_rag.evalset.yamlpos import Node
    from pytest_rag.sweep.plan import Sweep

__all__ = ["apply", "params_file"]

_PLAIN = re.compile(r"\w[\w./-]*")


def params_file(sweep: Sweep) -> Path:
    """Return the file that holds the parameters: the one the evalset names, or one beside it."""
    path = sweep.evalset.path
    stem = path.name.removesuffix(".yaml").removesuffix(".yml").removesuffix(".rag")
    return path.parent / (sweep.pipeline.params_from or f"{stem}.params.json")


def apply(sweep: Sweep, values: Mapping[str, Any]) -> list[str]:
    """Write values to the file of parameters, and let the evalset name it.

    Other parameters in the file stay. Both files are replaced in one step each, the file of
    parameters first, so that the evalset never names what is not there.

    Args:
        sweep: Whose evalset.
        values: Of the knobs in use.

    Returns:
        What was done, a line each.

    Raises:
        UsageError: if a file cannot be written, or the evalset is not what it was.
    """
    file, path = params_file(sweep), sweep.evalset.path
    known = _known(file) if sweep.pipeline.params_from else {}
    text = params_text({**known, **values})
    try:
        before = path.read_bytes()
        write_atomically(file, text)
        said = [f"wrote {file}"]
        if sweep.pipeline.params_from is None:
            write_atomically(path, _naming(sweep, before.decode("utf-8-sig"), file.name))
            said.append(f"wrote `params_from: {file.name}` into {path}")
    except OSError as error:
        raise UsageError(f"Cannot write {error.filename}: {error.strerror or error}.") from error
    return said


def _known(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def _naming(sweep: Sweep, text: str, name: str) -> str:
    """Return the evalset's text with ``params_from`` in it, everything else as it was."""
    root = compose(text, Problems(sweep.evalset.path))
    entries: Any = {} if root is None else root.value
    node: Node | None = entries.get("pipeline", (None, None))[1]
    if node is not None:
        made = _inserted(text, node, name)
        try:
            found = evalsets.load(sweep.evalset.path, text=made.encode()).pipeline
        except EvalSetError:
            found = None
        if found is not None and (found.factory, found.params_from) == (
            sweep.pipeline.factory,
            name,
        ):
            return made
    raise UsageError(
        f"{sweep.evalset.path} could not be changed. Add `params_from: {name}` to its `pipeline`: "
        f"{{factory: …, params_from: {name}}} or {{local: …, params_from: {name}}}."
    )


def _inserted(text: str, node: Node, name: str) -> str:
    """Return the text with the line or the words that name the file."""
    written = name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
    key = f"params_from: {written}"
    first = node
    if isinstance(node.value, dict):
        first = min((key for key, _ in node.value.values()), key=lambda k: (k.line, k.column))
    lines = text.split("\n")
    line, at = lines[first.line - 1], first.column - 1
    before, after = line[:at], line[at:]
    if not isinstance(node.value, dict):
        quotes = 2 * after.startswith(("'", '"'))
        long = len(str(node.value)) + quotes
        after = f"{{factory: {after[:long]}, {key}}}{after[long:]}"
    elif before.strip():
        after = f"{key}, {after}"
    else:
        end = "\r\n" if line.endswith("\r") else "\n"
        after = f"{key}{end}{before}{after}"
    lines[first.line - 1] = before + after
    return "\n".join(lines)
