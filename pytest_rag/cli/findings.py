"""What ``pytest-rag doctor`` looks at, as plain findings."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from textwrap import wrap
from typing import TYPE_CHECKING, Literal

from pytest_rag import __version__
from pytest_rag.errors import UsageError, message_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from packaging.requirements import Requirement

__all__ = ["Finding", "extras", "judges", "keys", "models", "project", "telemetry", "versions"]

_PACKAGES = ("pytest", "llama-index-core", "openai", "numpy", "pydantic")
_NOT_FOR_USERS = frozenset({"test", "dev"})
_KEYS = (
    "ANTHROPIC_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AZURE_OPENAI_API_KEY",
    "COHERE_API_KEY",
    "DEEPSEEK_API_KEY",
    "GOOGLE_API_KEY",
    "GROQ_API_KEY",
    "HF_TOKEN",
    "JINA_API_KEY",
    "MISTRAL_API_KEY",
    "OPENAI_API_KEY",
    "OPENROUTER_API_KEY",
    "VOYAGE_API_KEY",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        state: ``broken`` is the only one that fails.
        name: What was looked at.
        text: What was found; one line or more.
    """

    state: Literal["ok", "broken", "missing", "note", "not set"]
    name: str
    text: str


# --- what is installed ------------------------------------------------------------------------


def versions() -> Iterator[Finding]:
    """Yield the versions of Python, of pytest-rag and of what it works with."""
    yield Finding(state="ok", name="Python", text=platform.python_version())
    yield Finding(state="ok", name="pytest-rag", text=__version__)
    for name in _PACKAGES:
        found = _version(name)
        yield Finding(
            state="missing" if found is None else "ok", name=name, text=found or "not installed"
        )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def extras() -> Iterator[Finding]:
    """Yield what the installed package needs and whether each of its extras is complete."""
    try:
        installed = metadata.distribution("pytest-rag")
    except metadata.PackageNotFoundError:
        text = "pytest-rag runs from a folder and is not installed: pytest does not load its plugin"
        yield Finding(state="note", name="pytest-rag", text=text)
        return
    needed = _requirements(installed, "")
    wrong = [why for each in needed if (why := _unmet(each)) is not None]
    yield Finding(
        state="broken" if wrong else "ok",
        name="pytest-rag itself",
        text="\n".join(wrong) or "everything it needs is there",
    )
    for extra in sorted(set(installed.metadata.get_all("Provides-Extra") or ()) - _NOT_FOR_USERS):
        yield _extra(installed, extra)


def _extra(installed: metadata.Distribution, extra: str) -> Finding:
    needed = _requirements(installed, extra)
    wrong = [each for each in needed if _unmet(each) is not None]
    if not wrong:
        return Finding(state="ok", name=extra, text="complete")
    lacking = ", ".join(filter(None, map(_unmet, wrong)))
    present = any(_version(each.name) is not None for each in wrong)
    return Finding(
        state="broken" if present else "missing",
        name=extra,
        text=f"{lacking}\npip install 'pytest-rag[{extra}]'",
    )


def _requirements(installed: metadata.Distribution, extra: str) -> list[Requirement]:
    """Return what the package needs here, or what an extra adds to that."""
    from packaging.requirements import Requirement

    found: list[Requirement] = []
    for each in map(Requirement, installed.requires or ()):
        always = each.marker is None or each.marker.evaluate({"extra": ""})
        if always != (not extra) or not (always or _applies(each, extra)):
            continue
        if each.name == installed.metadata["Name"]:
            nested = (_requirements(installed, inner) for inner in sorted(each.extras))
            found.extend(one for several in nested for one in several)
        else:
            found.append(each)
    return found


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


def _unmet(requirement: Requirement) -> str | None:
    """Return what is wrong with an installed requirement in a clause, or None."""
    version = _version(requirement.name)
    if version is None:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} {version} is installed, {requirement.specifier} is needed"
    return None


# --- what works -------------------------------------------------------------------------------


def models() -> Iterator[Finding]:
    """Yield whether the embedded embedding model loads and embeds a sentence."""
    if find_spec("wordllama") is None or find_spec("llama_index") is None:
        text = "not installed: pip install 'pytest-rag[demo]'"
        yield Finding(state="missing", name="wordllama", text=text)
        return
    yield _tried("wordllama", _wordllama)


def _wordllama() -> str:
    started = time.perf_counter()
    from pytest_rag.pipelines.embedding import WordLlamaEmbedding

    vector = WordLlamaEmbedding().get_text_embedding("Does it work?")
    seconds = time.perf_counter() - started
    return f"embeds a sentence in {len(vector)} dimensions ({seconds:.1f} s with all imports)"


def judges(root: Path) -> Iterator[Finding]:
    """Yield whether a judge is configured and can be made, and whether ragas imports."""
    from pytest_rag import config
    from pytest_rag.judging import Models

    try:
        settings = config.load(root).judge
    except UsageError:
        return  # told with the project
    if settings.model is None:
        text = "none configured: rubrics and judged metrics need [tool.pytest-rag.judge] model = …"
        yield Finding(state="not set", name="judge", text=text)
    else:
        yield _tried("judge", lambda: f"{Models(settings, root).made().model}, not asked")
    if _version("ragas") is None:
        text = "not installed: pip install 'pytest-rag[ragas]'"
        yield Finding(state="missing", name="ragas", text=text)
    else:
        yield _tried("ragas", _ragas)


def _ragas() -> str:
    from pytest_rag.metrics import ragas

    started = time.perf_counter()
    ragas.load()
    return f"{_version('ragas')} imports ({time.perf_counter() - started:.1f} s)"


def _tried(name: str, work: Callable[[], str]) -> Finding:
    try:
        return Finding(state="ok", name=name, text=work())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        text = f"does not load: {type(error).__name__}: {message_of(error)}"
        return Finding(state="broken", name=name, text=text)


def keys() -> Iterator[Finding]:
    """Yield which keys of well-known providers are set; never what they are."""
    for name in _KEYS:
        if os.environ.get(name):
            yield Finding(state="ok", name=name, text="set")
    others = [name for name in _KEYS if not os.environ.get(name)]
    if others:
        yield Finding(state="not set", name="", text="\n".join(wrap(", ".join(others), 70)))


def telemetry() -> Iterator[Finding]:
    """Yield what other packages send or cost, and how to stop it."""
    yield Finding(state="ok", name="pytest-rag", text="sends nothing")
    for point in metadata.entry_points(group="pytest11"):
        if point.value.startswith("langsmith"):
            text = f"its pytest plugin slows every start of pytest: pytest -p no:{point.name}"
            yield Finding(state="note", name="langsmith", text=text)
    if any(_is_true(name) for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2")):
        text = "tracing is on: questions and answers are sent to LangSmith"
        yield Finding(state="note", name="langsmith", text=text)
    if _version("ragas") is not None and not _is_true("RAGAS_DO_NOT_TRACK"):
        text = "tells its makers where you use it yourself: export RAGAS_DO_NOT_TRACK=true"
        yield Finding(state="note", name="tracking", text=text)


def _is_true(name: str) -> bool:
    return os.environ.get(name, "").casefold() in ("true", "1")


# --- the project ------------------------------------------------------------------------------


def project(root: Path) -> Iterator[Finding]:
    """Yield whether the configuration is valid and every evalset below the root loads."""
    from pytest_rag.cli.project import evalset_files

    yield _configuration(root)
    files = list(evalset_files(root))
    if not files:
        text = "none below this folder; to write one: pytest-rag init"
        yield Finding(state="missing", name="evalsets", text=text)
    for path in files:
        yield _evalset(path, str(path.relative_to(root)))


def _configuration(root: Path) -> Finding:
    from pytest_rag import config

    name = "[tool.pytest-rag]"
    try:
        settings = config.load(root)
    except UsageError as error:
        return Finding(state="broken", name=name, text=str(error))
    if settings == config.Config(root=root):
        return Finding(state="ok", name=name, text="nothing set: the defaults hold")
    return Finding(state="ok", name=name, text="valid")


def _evalset(path: Path, shown: str) -> Finding:
    from pytest_rag import evalset

    try:
        loaded = evalset.load(path)
    except UsageError as error:
        return Finding(state="broken", name=shown, text=str(error))
    number = len(loaded.cases)
    return Finding(state="ok", name=shown, text=f"{number:,} {'case' if number == 1 else 'cases'}")
