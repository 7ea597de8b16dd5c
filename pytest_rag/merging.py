"""Records of shards → the record of the whole; the order they come in changes nothing."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pytest_rag.buildings import numbered
from pytest_rag.errors import ConfigError, RecordError
from pytest_rag.records import Run
from pytest_rag.sharding import Shard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_rag.records import Result

__all__ = ["merge"]

_SAME = ("path", "cases", "fingerprint", "gate", "mode", "deterministic")


def merge(shards: Mapping[Path, Run]) -> Run:
    """Join the records of all shards of a run.

    Id and times of the whole come from the shards, so that the same shards give the same record.

    Args:
        shards: By file, for messages.

    Raises:
        RecordError: if one is missing, cut short, no shard, or not of the same run as the others;
            or if two hold the same case.
    """
    ordered = _in_order(shards)
    _same("commits", {path: (run.header.get("git") or {}).get("commit") for path, run in ordered})
    _same("selections", {path: _options(run) for path, run in ordered})
    evalsets = _evalsets(ordered)
    results = sorted(_results(ordered).values(), key=lambda result: result.key)
    seen = {(result.evalset, result.case) for result in results}
    declared = sum(facts["cases"] for facts in evalsets.values())
    counted = sum(evalset in evalsets for evalset, _ in seen)
    return Run(
        header=_header([run for _, run in ordered], evalsets),
        results=tuple(results),
        footer={
            "ended": max(str((run.footer or {}).get("ended")) for _, run in ordered),
            "complete": counted == declared,
            "cut_short": False,
        },
    )


def _in_order(shards: Mapping[Path, Run]) -> list[tuple[Path, Run]]:
    """Return the shards by number, once it is known that each is there once and whole."""
    found: dict[int, Path] = {}
    counts = {}
    for path, run in shards.items():
        shard = _shard(path, run)
        counts[path] = shard.count
        if shard.number in found and shard.count == counts[found[shard.number]]:
            raise RecordError(f"Shard {shard} is there twice: {found[shard.number]} and {path}.")
        found[shard.number] = path
    _same("numbers of shards", counts)
    count = next(iter(counts.values()))
    missing = [f"{n}/{count}" for n in range(1, count + 1) if n not in found]
    if missing:
        raise RecordError(
            f"Shard {', '.join(missing)} is missing: nothing was written. Give the records of all "
            f"{count} shards; each is made with --rag-shard=i/{count} --rag-out=FILE."
        )
    return [(found[number], shards[found[number]]) for number in sorted(found)]


def _shard(path: Path, run: Run) -> Shard:
    text = run.header.get("config", {}).get("shard")
    if text is None:
        raise RecordError(f"{path} is no shard: it was not run with --rag-shard.")
    try:
        shard = Shard.parse(str(text))
    except ConfigError as error:
        raise RecordError(f"{path}: {error}") from None
    if run.footer is None or run.footer.get("cut_short"):
        raise RecordError(f"{path}, shard {shard}, was cut short. Run that shard again.")
    return shard


def _options(run: Run) -> dict[str, Any]:
    ignored = ("shard", "concurrency")
    return {k: v for k, v in run.header.get("config", {}).items() if k not in ignored}


def _same(what: str, found: Mapping[Path, Any]) -> None:
    """Refuse shards that differ."""
    first, value = next(iter(found.items()))
    for path, other in found.items():
        if other != value:
            raise RecordError(
                f"{first} and {path} are of different {what}: {_short(value)} and {_short(other)}. "
                "Run all shards of one commit with the same options."
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _evalsets(ordered: Sequence[tuple[Path, Run]]) -> dict[str, dict[str, Any]]:
    """Return what the headers say of each evalset, once it is known that they agree."""
    named: dict[str, dict[Path, dict[str, Any]]] = {}
    for path, run in ordered:
        for name, facts in run.header.get("evalsets", {}).items():
            named.setdefault(name, {})[path] = facts
    for name, sides in named.items():
        for key in _SAME:
            _same(f"{key} of {name}", {path: facts.get(key) for path, facts in sides.items()})
    return {name: next(iter(named[name].values())) for name in sorted(named)}


def _results(ordered: Sequence[tuple[Path, Run]]) -> dict[tuple[str, str, int], Result]:
    found: dict[tuple[str, str, int], Result] = {}
    owner: dict[tuple[str, str], Path] = {}
    for path, run in ordered:
        for result in run.results:
            other = owner.setdefault((result.evalset, result.case), path)
            if other is not path:
                raise RecordError(
                    f"{other} and {path} overlap: both hold case {result.case!r} of "
                    f"{result.evalset!r}. Run all shards with the same selection and times."
                )
            found[result.key] = result
    return found


def _header(runs: Sequence[Run], evalsets: Mapping[str, Any]) -> dict[str, Any]:
    head = runs[0].header
    machines = [run.header.get("machine") for run in runs]
    ids = ",".join(str(run.header["run_id"]) for run in runs)
    dirty = any((run.header.get("git") or {}).get("dirty") for run in runs)
    git = head.get("git")
    bills = [(each.evalset, each.calls) for run in runs for each in run.buildings]
    return {
        **head,
        "run_id": sha256(ids.encode()).hexdigest()[:32],
        "started": min(str(run.header["started"]) for run in runs),
        "git": None if git is None else {**git, "dirty": dirty},
        # Latencies of several machines are those of none.
        "machine": machines[0] if all(each == machines[0] for each in machines) else None,
        "config": {**_options(runs[0]), "merged": len(runs)},
        "evalsets": dict(evalsets),
        **({"buildings": [each.to_dict() for each in numbered(bills, 0)]} if bills else {}),
    }
