"""The documentation says what the code does: names, options and links.

Examples, commands and what they print are executed by ``tests/docs/test_pages.py``.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
import yaml
from docs_commands import rag_options

from pytest_rag import cli, config, metrics
from pytest_rag.checks import BUDGETS
from pytest_rag.evalset import model
from pytest_rag.metrics import ranking
from pytest_rag.pipelines.params import LocalParams
from pytest_rag.plugin.markers import parametrise
from pytest_rag.records import Result
from pytest_rag.sweep.model import SweepModel
from pytest_rag.types import AGGREGATES, OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])


def page(name: str) -> str:
    """Return the text of a page below ``docs``."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


# --- names ------------------------------------------------------------------------------------

MODELS = {
    "file": model.FileModel,
    "case": model.CaseModel,
    "defaults": model.DefaultsModel,
    "factory": model.FactoryModel,
    "local": model.LocalModel,
    "bulk": model.BulkModel,
}


@pytest.mark.parametrize("each", MODELS.values(), ids=MODELS)
def test_every_key_of_an_evalset_is_described(each: Any) -> None:
    """A key that the loader takes stands in the page on evalsets."""
    missing = [key for key in each.model_fields if not re.search(rf"\b{key}\b", page("evalsets"))]
    assert missing == []


def test_every_budget_and_aggregate_is_described() -> None:
    """What a check or a gate may name stands in the page on evalsets."""
    assert [name for name in (*BUDGETS, *AGGREGATES) if f"`{name}`" not in page("evalsets")] == []


def test_every_metric_is_described() -> None:
    """Ranking measures and answer metrics each have a cell of the table."""
    cells = re.findall(r"^\| (`[^|]+) \|", page("metrics"), re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    assert {*ranking.MEASURES, *metrics.METRICS.names()} - named == set()


def test_the_default_metrics_are_named() -> None:
    """Both pages that tell the default metrics tell those of the code."""
    listed = ", ".join(f'"{name}"' for name in config.DEFAULT_METRICS)
    assert f"`[{listed}]`" in page("running")
    prose = ", ".join(f"`{name}`" for name in config.DEFAULT_METRICS[:-1])
    assert f"{prose} and `{config.DEFAULT_METRICS[-1]}`" in page("metrics").replace("\n", " ")


def test_every_name_from_elsewhere_leads_to_ours() -> None:
    """What the page says of another tool's name is what the message says."""
    table = page("metrics").partition("## Names from elsewhere")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z].*?) \| (.*?) \|$", table, re.MULTILINE)
    for theirs, ours in rows[1:]:
        targets = {*re.findall(r"`([^`@]+)", ours)}
        for name in theirs.split(", "):
            with pytest.raises(config.ConfigError) as error:
                metrics.get(name)
            meant = str(error.value).partition("Did you mean ")[2].strip("'?")
            assert meant.partition("@")[0] in targets, name
    assert len(rows) > 10


def test_every_setting_is_described() -> None:
    """The table of settings has the keys of ``[tool.pytest-rag]``."""
    keys = {f.name for f in dataclasses.fields(config.Config)} - {"root", "mode"}
    assert {key for key in keys if f"| `{key}` |" not in page("running")} == set()


def test_every_price_is_described() -> None:
    """What a price is made of stands in the page on pipelines."""
    names = [f.name for f in dataclasses.fields(config.Price)]
    assert [name for name in names if f"{name} = " not in page("pipelines")] == []


def test_every_parameter_of_the_local_pipeline_is_described() -> None:
    """The table has each parameter with its default."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", page("pipelines"), re.MULTILINE))
    for parameter in dataclasses.fields(LocalParams):
        default = parameter.default
        if default is dataclasses.MISSING:
            default = {}
        written = rows[parameter.name].strip("`")
        assert parameter.name == "corpus" or yaml.safe_load(written) == default, parameter.name


def test_every_option_is_described() -> None:
    """Each ``--rag-`` option has a row, and no page names one that does not exist."""
    options = rag_options()
    assert [name for name in options if f"| `{name}" not in page("running")] == []
    written = {o for p in PAGES for o in re.findall(r"--rag-[a-z-]+", p.read_text("utf-8"))}
    assert written <= set(options)


def test_every_command_and_its_options_are_described() -> None:
    """Each command of the command line has a row, each option a mention."""
    command: Any = typer.main.get_command(cli.app)
    for name, each in command.commands.items():
        assert f"| `pytest-rag {name}" in page("running")
        for parameter in each.params:
            for option in parameter.opts:
                assert not option.startswith("-") or f"`{option}" in page("running"), option


def test_every_marker_keyword_is_described() -> None:
    """The keywords of the markers stand where the markers are described."""
    keys = parametrise.__globals__["_RAG_KEYS"]
    assert f"@pytest.mark.rag({', '.join(f'{key}=…' for key in keys)})" in page("running")


def test_every_field_of_a_result_is_described() -> None:
    """The table of the run record has each field of a result, and each outcome has its row."""
    fields = [f.name for f in dataclasses.fields(Result)]
    assert [name for name in fields if f"`{name}`" not in page("running")] == []
    assert [name for name in OUTCOMES if f"| `{name}` |" not in page("running")] == []


def test_the_example_of_a_sweep_is_the_one_beside_the_handbook() -> None:
    """And every key of the format has its row."""
    shown = page("sweeps").partition("```yaml")[2].partition("\n")[2].partition("```")[0]
    real = ROOT / "evalsets" / "handbook.sweep.yaml"
    assert yaml.safe_load(shown) == yaml.safe_load(real.read_text(encoding="utf-8"))
    keys = SweepModel.model_fields
    assert [key for key in keys if f"| `{key}` |" not in page("sweeps")] == []


# --- the house --------------------------------------------------------------------------------


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    paths = sorted((ROOT / "pytest_rag").rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


def test_every_module_has_its_sentence() -> None:
    """The page on architecture names each module that exists and no other."""
    known = {name.removeprefix("pytest_rag.") for name in modules()}
    body = page("architecture").partition("## Shared")[2]
    told = {name.removeprefix("pytest_rag.") for name in re.findall(r"`([\w.]+)`[:,]", body)}
    assert known - told == set()
    assert told - known == set()


def test_imports_point_down() -> None:
    """What a module imports stands below it in the picture, or beside it for a few."""
    picture = page("architecture").partition("```text imports\n")[2].partition("```")[0]
    place = {unit: n for n, line in enumerate(picture.splitlines()) for unit in line.split()}
    upward = [
        f"{name} -> {other}"
        for name, path in modules().items()
        if (unit := name.split(".")[1:2]) and unit != ["__main__"]
        for other in imported(path)
        if other != unit[0] and place[other] <= place[unit[0]]
    ]
    assert upward == []
    assert place.keys() == {n.split(".")[1] for n in modules() if "." in n} - {"__main__"}


def imported(path: Path) -> Iterator[str]:
    """Yield the parts of the package that a file imports when it runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in typing_only and node.module:
            package, _, rest = node.module.partition(".")
            if package == "pytest_rag":
                names = [rest.split(".")[0]] if rest else [a.name for a in node.names]
                yield from (name for name in names if name != "__version__")


# --- links ------------------------------------------------------------------------------------


def slugs(text: str) -> set[str]:
    """Return the anchors GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_the_index() -> None:
    """A page has its line in ``docs/index.md``, from which the site's navigation is made."""
    listed = {*re.findall(r"^- \[.*?\]\(([\w./-]+\.md)\)", page("index"), re.MULTILINE), "index.md"}
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert there == listed


@pytest.mark.parametrize("path", PAGES, ids=[path.name for path in PAGES])
def test_every_link_leads_somewhere(path: Path) -> None:
    """Files and headings that a page links to exist."""
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), target
        assert not anchor or anchor in slugs(there.read_text(encoding="utf-8")), target
