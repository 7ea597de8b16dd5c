"""How far judges were found to agree with people: ``calibration/NAME.json``, in git.

A metric that asks a judge is advisory until its file says ``gate`` for that judge, that version of
its prompt, and that evalset. What a check or a limit of an advisory metric finds is told, and turns
nothing red.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pytest_rag.errors import CalibrationError
from pytest_rag.files import write_atomically
from pytest_rag.stats.prediction import Labelled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_rag.types import Score

__all__ = ["USES", "Calibrations", "Use", "merged", "path_of", "read", "text_of", "write"]

Use = Literal["gate", "advise", "do not use"]
USES: tuple[Use, ...] = ("gate", "advise", "do not use")
"""What a metric is good for: to decide, to be looked at, nothing."""

SCHEMA_VERSION = 1
_DIGITS = 6
_SUFFIX = re.compile(r"(?:\.rag\.ya?ml|\.py)$")
_CONFLICT = re.compile(r"^(?:<{7}|\|{7}|={7}|>{7})(?: |$)", re.MULTILINE)
_TEXTS = ("version", "why")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrations:
    """What was found of the metrics of one evalset.

    Attributes:
        evalset: Its name, which is the domain that they hold for.
        source: Its file, for what to type; None where there is none.
        metrics: By name, what the file says of each.
    """

    evalset: str
    source: Path | None = None
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def advice(self, metric: str, score: Score) -> str | None:
        """Return why a score decides nothing; None where no judge gave it, or it may decide.

        A judge that gave none is taken at its name alone, and one that could not even be made for
        the one that was calibrated: what broke then is an error.

        Args:
            metric: Its name.
            score: With the judge that was asked for it.
        """
        if score.judge is None:
            return None
        known = self.metrics.get(metric)
        if known is None:
            who = f"judge {score.judge!r}" if score.judge else "its judge"
            domain = f" for {self.evalset!r}" if self.evalset else ""
            return f"{who} is not calibrated{domain}; {self._command(metric)}"
        if score.judge and score.judge != known["judge"]:
            was = f"calibrated was judge {known['judge']!r}, and {score.judge!r} was asked"
            return f"{was}; {self._command(metric)}"
        if score.value is not None and score.version != known["version"]:
            return f"its prompt is not the one that was calibrated; {self._command(metric)}"
        if known["use"] == "gate":
            return None
        return f"its calibration says {known['use']!r}: {known['why']}"

    def labelled(self, metric: str, version: str) -> Labelled | None:
        """Return what corrects a mean of a metric's scores of this version, or None.

        Of a metric that is no better than chance nobody wants to know.
        """
        known = self.metrics.get(metric)
        if known is None or known["version"] != version or known["use"] == "do not use":
            return None
        pairs = known.get("pairs")
        return None if pairs is None else Labelled(**pairs)

    def _command(self, metric: str) -> str:
        words = ["pytest-rag", "calibrate", "HUMAN.jsonl", "--metric", metric]
        if self.source is not None:
            words += ["--evalset", os.path.relpath(self.source)]
        return shlex.join(words)


def path_of(source: Path) -> Path:
    """Return where the calibration of an evalset's file, or of a test file's, lies."""
    return source.parent / "calibration" / f"{_SUFFIX.sub('', source.name)}.json"


# --- the file ---------------------------------------------------------------------------------


def read(source: Path, evalset: str) -> Calibrations:
    """Read what was found of an evalset's metrics; nothing where there is no file.

    Args:
        source: The evalset's file, or the test file.
        evalset: Its name.

    Raises:
        CalibrationError: if the file cannot be used, or is of another evalset.
    """
    path = path_of(source)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Calibrations(evalset=evalset, source=source)
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path} cannot be read: {error}") from error
    return Calibrations(evalset=evalset, source=source, metrics=_parsed(text, path, evalset))


def _parsed(text: str, path: Path, evalset: str) -> dict[str, dict[str, Any]]:
    mend = f"Restore it: git checkout -- {path}"
    if _CONFLICT.search(text):
        raise CalibrationError(f"{path} holds merge conflict markers. Take either side.")
    try:
        found = json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        raise CalibrationError(f"{path} is no JSON ({error}). {mend}") from None
    if not isinstance(found, dict) or "schema_version" not in found:
        raise CalibrationError(f"{path} is no calibration: it has no 'schema_version'. {mend}")
    version = found["schema_version"]
    if version != SCHEMA_VERSION:
        raise CalibrationError(
            f"{path} has schema_version {version!r}; this pytest-rag reads {SCHEMA_VERSION}. "
            "Upgrade: pip install -U pytest-rag"
        )
    if found.get("evalset") != evalset:
        raise CalibrationError(
            f"{path} is the calibration of {found.get('evalset')!r}, not of {evalset!r}: what was "
            "found in one domain says nothing of another. Take it away, and calibrate anew."
        )
    metrics = found.get("metrics")
    wrong = "metrics" if not isinstance(metrics, dict) else _wrong(metrics)
    if wrong is not None:
        raise CalibrationError(
            f"{path} is no calibration: {wrong} is not as it was written. {mend}"
        )
    return dict(metrics) if isinstance(metrics, dict) else {}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no figure")


def _wrong(metrics: Mapping[str, Any]) -> str | None:
    """Return what of the metrics cannot be relied on, or None."""
    for name, told in metrics.items():
        if not isinstance(told, dict) or told.get("use") not in USES:
            return f"'use' of {name!r}"
        if not all(isinstance(told.get(key), str) for key in _TEXTS):
            return f"{' or '.join(_TEXTS)} of {name!r}"
        if not isinstance(told.get("judge", 0), str | None):
            return f"'judge' of {name!r}"
        if not _are_pairs(told.get("pairs")):
            return f"'pairs' of {name!r}"
    return None


def _are_pairs(pairs: object) -> bool:
    if pairs is None:
        return True
    if not isinstance(pairs, dict) or pairs.keys() != set(Labelled.__slots__):
        return False
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in pairs.values())
    return numbers and pairs["n"] > 1


def merged(old: Calibrations, found: Mapping[str, Mapping[str, Any]]) -> Calibrations:
    """Return what was known, with what was found now in its place."""
    metrics = {**old.metrics, **found}
    return Calibrations(evalset=old.evalset, source=old.source, metrics=metrics)


def text_of(calibrations: Calibrations) -> str:
    """Return the file's text: keys sorted, a figure a line, floats rounded, a last newline."""
    whole = {
        "evalset": calibrations.evalset,
        "metrics": calibrations.metrics,
        "schema_version": SCHEMA_VERSION,
    }
    plain = _rounded(whole)
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, indent=2, sort_keys=True) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def write(path: Path, calibrations: Calibrations) -> bool:
    """Write a calibration in one step, and return whether anything changed."""
    text = text_of(calibrations)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_atomically(path, text)
    return True
