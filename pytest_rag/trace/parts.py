"""A part of a run that was measured once, and stands again where it was taken from a cache."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from pytest_rag.types import Call, SpanTime, Timing

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Part"]

_FIGURES = ("stages_ms", "self_ms", "cpu_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a part of a run took when it was live.

    Attributes:
        timing: Its latency, and where that went.
        calls: Of models, in the order they ended.
    """

    timing: Timing
    calls: tuple[Call, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the part as plain JSON values."""
        times = asdict(self.timing)
        return {
            "timing": {name: times[name] for name in ("latency_ms", *_FIGURES, "spans")},
            "calls": [_told(call) for call in self.calls],
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Part:
        """Return the part that was told.

        Raises:
            ValueError: if a figure is missing or is no number.
            TypeError: if a call or a span has a field that they have not.
        """
        times = told["timing"]
        by_stage: dict[str, Any] = {
            name: {str(k): float(v) for k, v in times[name].items()} for name in _FIGURES
        }
        spans = tuple(SpanTime(**span) for span in times.get("spans", ()))
        timing = Timing(latency_ms=float(times["latency_ms"]), spans=spans, **by_stage)
        return cls(timing=timing, calls=tuple(Call(**call) for call in told["calls"]))

    def from_cache(self) -> tuple[Call, ...]:
        """Return the calls as those that nobody made this time."""
        return tuple(replace(call, origin="cache") for call in self.calls)


def _told(call: Call) -> dict[str, Any]:
    held = {f.name: getattr(call, f.name) for f in fields(call)}
    # The price is worked out anew from the tokens, and nothing was made live.
    kept = {name: value for name, value in held.items() if name not in ("cost_usd", "origin")}
    return {name: value for name, value in kept.items() if value is not None}
