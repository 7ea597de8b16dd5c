"""The exceptions of pytest-rag.

::

    RagError                     everything we raise on purpose
    ├── UsageError               the person at the terminal can mend it; exit status 2
    │   ├── ConfigError          [tool.pytest-rag], an option, a marker
    │   ├── EvalSetError         one or more problems in an evalset file
    │   ├── BaselineError        a baseline that cannot be used, or found
    │   ├── CalibrationError     human labels, or a calibration, that cannot be used
    │   ├── LedgerError          the ledger of costs cannot be read or written
    │   └── MissingExtraError    an optional dependency is not installed
    ├── PipelineError            the system under test could not be built or gave something unusable
    │   ├── MissingKeyError      it needs a key that is not set: the case is `not_run`
    │   ├── CassetteError        replay mode has no recorded answer, or something went past it
    │   ├── PacingError          a call would wait for longer than its case may take
    │   └── BrokenAnswerError    a model's answer ended before it was complete
    ├── BudgetError              the ceiling on the run's cost stops it: the case is `not_run`
    ├── JudgeError               a model that judges gave no judgement
    ├── TraceError               the instrumentation broke: no measurement can be trusted
    └── RecordError              a run record that cannot be read
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BaselineError",
    "BrokenAnswerError",
    "BudgetError",
    "CalibrationError",
    "CassetteError",
    "ConfigError",
    "EvalSetError",
    "JudgeError",
    "LedgerError",
    "MissingExtraError",
    "MissingKeyError",
    "PacingError",
    "PipelineError",
    "Problem",
    "RagError",
    "RecordError",
    "TraceError",
    "UsageError",
    "explained",
    "message_of",
]


class RagError(Exception):
    """The root of every exception pytest-rag raises on purpose."""


class UsageError(RagError):
    """Something the person at the terminal can mend: what, where, the nearest right thing."""


class ConfigError(UsageError):
    """A setting, an option or a marker keyword is wrong."""


class BaselineError(UsageError):
    """A baseline cannot be read, or is not where it was said to be."""


class CalibrationError(UsageError):
    """A file of human labels, or a calibration made of one, cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in a file.

    Attributes:
        message: What is wrong, and what to write instead.
        path: The file as the person named it.
        line: 1-based line, or None where a position makes no sense.
        column: 1-based column, or None.
    """

    message: str
    path: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        """Render as ``path:line:column: message``."""
        place = [self.path, *(str(n) for n in (self.line, self.column) if n is not None)]
        return f"{':'.join(place)}: {self.message}"


class EvalSetError(UsageError):
    """An evalset file cannot be used; carries every problem found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class MissingExtraError(UsageError):
    """An optional dependency is not installed; the message says which extra brings it."""


class LedgerError(UsageError):
    """The ledger is out of reach, damaged, or of a newer schema."""


class BudgetError(RagError):
    """What would be run next could pass the run's ceiling, so the case is `not_run`."""


class PipelineError(RagError):
    """The pipeline cannot be built, or returned something that is no answer."""


class MissingKeyError(PipelineError):
    """A remote model needs a key that is not set, so the case is `not_run` and not an `error`."""


class CassetteError(PipelineError):
    """In replay mode a call has no recorded answer, or something went past the cassette."""


class JudgeError(RagError):
    """A judge's answer holds no judgement; the score is None, and this is its reason."""


class PacingError(PipelineError):
    """A call of a model would have to wait for longer than its case may take."""


class BrokenAnswerError(PipelineError):
    """A model's answer ended before it was complete, though nothing said so."""


class TraceError(RagError):
    """The instrumentation broke or saw no root span, so no figure of the case can be trusted."""


class RecordError(UsageError):
    """A run record is of a newer schema, truncated in the middle, or not a run record."""


def explained(error: BaseException) -> str:
    """Return what an exception says, with the notes it was given on its way."""
    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    return "\n".join([message_of(error), *notes])


def message_of(error: BaseException) -> str:
    """Return what an exception says, its type's name where that is nothing; never raises."""
    try:
        return str(error) or type(error).__name__
    except Exception as broken:  # noqa: BLE001 - foreign code, which may raise anything
        return f"{type(error).__name__}, whose text raised {type(broken).__name__}"
