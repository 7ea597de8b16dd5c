"""``pytest-rag cache``: what a cache holds and saved; empty it, or let go of what has expired."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_rag.cache import Cache, CacheStats

__all__ = ["cache"]

cache = typer.Typer(name="cache", help="Look at a cache, or empty it.", no_args_is_help=True)

_Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="sqlite:PATH or redis://…; by default the project's [tool.pytest-rag] cache.",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_USE = {
    "hits": "hits",
    "stale_hits": "stale hits",
    "semantic_hits": "similar questions",
    "shared": "asked at the same time",
    "misses": "misses",
    "refreshes": "made anew",
    "errors": "errors",
    "stored": "answers kept",
    "not_stored": "answers not kept",
    "corrupt": "torn or foreign",
}


@cache.command()
def stats(url: _Url = None, as_json: _Json = False) -> None:
    """Show what a cache holds, how often it answered, and what that saved."""
    from pytest_rag.cli.terminal import say

    opened = _open(url)
    found = opened.stats()  # says itself why it cannot, and needs not write
    if as_json:
        typer.echo(json.dumps({"cache": opened.url, **_plain(found)}, indent=2))
    else:
        say(_lines(opened, found))


@cache.command()
def clear(
    url: _Url = None,
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", metavar="NAME", help="Only this namespace and those below."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Forget everything a cache holds, or one namespace of it."""
    opened = _open(url)
    opened.check()
    _tell(opened, "cleared", opened.clear(namespace), as_json=as_json)


@cache.command()
def prune(url: _Url = None, as_json: _Json = False) -> None:
    """Forget what has expired, and give its space back."""
    opened = _open(url)
    opened.check()
    _tell(opened, "pruned", opened.prune(), as_json=as_json)


def _open(url: str | None) -> Cache:
    """Return the cache that is meant.

    Raises:
        UsageError: if none is configured, it is this process's memory, or there is none yet.
    """
    from pytest_rag import config
    from pytest_rag.cache import check_url, open_cache
    from pytest_rag.cli.project import find_root
    from pytest_rag.errors import UsageError

    root = find_root(Path.cwd())
    meant = url if url is not None else config.load(root).cache
    if meant == "off":
        raise UsageError(
            'No cache is configured: name one, --url sqlite:PATH, or set cache = "sqlite" in '
            "[tool.pytest-rag]."
        )
    if check_url(meant) == "memory":
        raise UsageError("A cache in memory ends with its process, so nothing is left to look at.")
    opened = open_cache(meant, Path.cwd() if url is not None else root)
    path = getattr(opened, "path", None)
    if isinstance(path, Path) and not path.exists():
        raise UsageError(f"There is no cache at {path}: nothing has been kept there yet.")
    return opened


def _tell(opened: Cache, done: str, number: int, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"cache": opened.url, done: number}))
    else:
        typer.echo(f"{opened.url}: {done} {_count(number, 'entry', 'entries')}.")
    opened.close()


def _plain(found: CacheStats) -> dict[str, Any]:
    from pytest_rag.pipelines.counting import CacheUse

    use = CacheUse.of(found.totals)
    rest = {k: v for k, v in sorted(found.totals.items()) if k not in CacheUse.__dataclass_fields__}
    plain = {k: v for k, v in asdict(found).items() if k != "totals"}
    return {**plain, "namespaces": dict(found.namespaces), "use": asdict(use), "others": rest}


def _lines(opened: Cache, found: CacheStats) -> Iterator[tuple[str, str]]:
    from pytest_rag.pipelines.counting import CacheUse

    use = CacheUse.of(found.totals)
    yield opened.url, "bold"
    held = f"{_count(found.entries, 'entry', 'entries')}, {_size(found.bytes)}"
    notes = [f"{found.expired:,} expired"] * bool(found.expired)
    notes += [f"{found.leases:,} being computed"] * bool(found.leases)
    yield f"  {'holds':<24}{'; '.join([held, *notes])}", ""
    for name, number in sorted(found.namespaces.items()):
        yield f"    {name:<22}{number:,}", "dim"
    asked = use.answered + use.misses
    if not asked:
        yield "  no question has been asked of it", "dim"
        return
    share = use.answered / asked
    yield f"  {'questions':<24}{asked:,}, of which {share:.0%} from the cache", ""
    for name, label in _USE.items():
        number = getattr(use, name)
        if number or name in ("hits", "misses"):
            yield f"    {label:<22}{number:,}", "bad" if name == "corrupt" else ""
    yield f"  {'saved':<24}{_saved(use)}", "good"


def _saved(use: Any) -> str:
    from pytest_rag.report.layout import duration, money

    text = f"{duration(use.saved_ms)}, {money(use.saved_usd)}"
    if use.unpriced_hits:
        text += f", and {_count(use.unpriced_hits, 'hit', 'hits')} whose price is not known"
    return text


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
