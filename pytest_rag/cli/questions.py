"""Which questions base answers: head's, asked through base's own pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.errors import UsageError
from pytest_rag.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_rag.types import EvalSet

__all__ = ["own_file", "placed"]


def own_file(evalset: EvalSet, file: Path) -> Path:
    """Return base's own file of an evalset.

    Raises:
        UsageError: if base has none, or it has problems or another name there.
    """
    from pytest_rag.cli.selection import load_all

    if not file.exists():
        raise UsageError(
            f"base has no {evalset.path.name} in that place. Leave --own-evalsets out, and base "
            "answers the questions of head."
        )
    (found,) = load_all([file])
    if found.name != evalset.name:
        raise UsageError(
            f"{evalset.path.name} is called {found.name!r} on base and {evalset.name!r} on head. "
            "Leave --own-evalsets out, and base answers the questions of head."
        )
    return file


def placed(evalset: EvalSet, file: Path, root: Path) -> str | None:
    """Put head's questions where base looks for them, and say what a person should know of it.

    What asks the questions is what is compared, so `pipeline` stays that of base's own file, where
    it has one. Bulk files are read where head has them.

    Args:
        evalset: As head has it.
        file: Its place in base's checkout.
        root: Of that checkout, beyond which nothing is written.

    Raises:
        UsageError: if the place leads out of the checkout.
    """
    import yaml

    document = _composed(evalset.path)
    for scalar in _bulk_paths(document):
        scalar.value = str(evalset.path.parent / scalar.value)
    note = _keep_pipeline(document, evalset.name, file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.parent.resolve().is_relative_to(root):
        raise UsageError(f"{evalset.path.name} lies behind a link that leads out of base's files.")
    text = yaml.serialize(document, Dumper=yaml.SafeDumper, allow_unicode=True, width=1000)
    write_atomically(file, text)
    return note


def _composed(file: Path) -> Any:
    """Return the nodes of a YAML file, so that nothing of how it is written is lost."""
    import yaml

    return yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)


def _keys(mapping: Any) -> Mapping[str, Any]:
    import yaml

    if not isinstance(mapping, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in mapping.value}


def _bulk_paths(document: Any) -> Iterator[Any]:
    import yaml

    found = _keys(document).get("cases_from")
    several = found.value if isinstance(found, yaml.SequenceNode) else [found]
    for bulk in several:
        path = _keys(bulk).get("path")
        if path is not None:
            yield path


def _keep_pipeline(document: Any, name: str, file: Path) -> str | None:
    """Take `pipeline` from base's own file into head's."""
    import yaml

    try:
        before = _keys(_composed(file)).get("pipeline")
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        before = None
    now = _keys(document).get("pipeline")
    if before is None or now is None:
        return f"{name} is new: base is asked through head's `pipeline:`."
    if yaml.serialize(before) == yaml.serialize(now):
        return None
    document.value = [
        (key, before if key.value == "pipeline" else value) for key, value in document.value
    ]
    return f"{name}: `pipeline:` differs, and each side is asked through its own."
