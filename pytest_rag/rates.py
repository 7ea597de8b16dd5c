"""What one model may be asked in a minute."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RateLimit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """What one model may be asked; None where there is no limit.

    Attributes:
        rpm: Requests a minute.
        tpm: Tokens a minute, in and out.
        concurrency: Calls at a time.
    """

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
