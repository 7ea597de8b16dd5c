"""Plain JSON values out of whatever travels to a model and back."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from typing import Any

__all__ = ["Given", "Vector", "canonical", "pack", "plain", "unpack"]

Vector = Sequence[float] | Mapping[int, float]
"""Of an embedding: values by place, a sparse one without those that are 0."""

_PLACES = "|i8:"
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """Return the one text of a JSON value, whatever the order of its keys."""
    return _CANONICAL.encode(value)


def plain(value: Any) -> Any:
    """Return a value as JSON knows it; what has no plain form is named by its type.

    Nothing is left of keys whose value is None, since providers take both alike. Bytes, such as
    images, are replaced by their hash.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, bytes | bytearray):
        return f"sha256:{hashlib.sha256(value).hexdigest()}"
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, Set):
        return sorted((plain(v) for v in value), key=canonical)
    if isinstance(value, Sequence):
        return [plain(v) for v in value]
    return _of_object(value)


def _of_object(value: Any) -> Any:
    if isinstance(value, type):
        schema = getattr(value, "model_json_schema", None)
        return schema() if callable(schema) else f"{value.__module__}.{value.__qualname__}"
    if callable(getattr(value, "tolist", None)):  # NumPy's
        return plain(value.tolist())
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return plain(dump())
    metadata = getattr(value, "metadata", None)  # a tool of LlamaIndex's
    if metadata is not None and hasattr(metadata, "get_parameters_dict"):
        told = (metadata.name, metadata.description, metadata.get_parameters_dict())
        return plain(dict(zip(("name", "description", "parameters"), told, strict=True)))
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def pack(vector: Vector) -> str:
    """Return a vector as base64 of little-endian 64-bit floats, or 32-bit where none is lost.

    A sparse one, which maps places to values, has the 64-bit whole numbers of its places behind.
    """
    if isinstance(vector, Mapping):
        places = struct.pack(f"<{len(vector)}q", *vector)
        return f"{pack(list(vector.values()))}{_PLACES}{_coded(places)}"
    short = struct.pack(f"<{len(vector)}f", *vector)
    exact = list(struct.unpack(f"<{len(vector)}f", short)) == list(vector)
    data = short if exact else struct.pack(f"<{len(vector)}d", *vector)
    return f"{'f4' if exact else 'f8'}:{_coded(data)}"


def unpack(text: str) -> Any:
    """Return the vector that `pack` was given."""
    text, is_sparse, places = text.partition(_PLACES)
    kind, _, coded = text.partition(":")
    values = _unpacked(coded, *(("f", 4) if kind == "f4" else ("d", 8)))
    return dict(zip(_unpacked(places, "q", 8), values, strict=True)) if is_sparse else values


def _coded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unpacked(coded: str, letter: str, size: int) -> list[Any]:
    data = base64.b64decode(coded)
    return list(struct.unpack(f"<{len(data) // size}{letter}", data))


class Given(dict[str, Any]):
    """A mapping whose keys can be read as attributes, as providers' own objects are."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    @classmethod
    def of(cls, value: Any) -> Any:
        """Return a JSON value with every mapping in it made one of these."""
        if isinstance(value, dict):
            return cls({key: cls.of(inner) for key, inner in value.items()})
        return [cls.of(inner) for inner in value] if isinstance(value, list) else value
