"""JSON, as the native half asks for it."""

from __future__ import annotations

import json
from typing import Any

from ._errors import EncodingError

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(value: Any) -> bytes:
    """Returns the JSON text of a value, in UTF-8."""
    try:
        return _encoder.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        text = f"JSON cannot hold this value of type {type(value).__name__}: {error}"
        raise EncodingError(text, "JSON") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"JSON has no {constant}")


# `json` takes NaN and Infinity, which JSON has not.
_decoder = json.JSONDecoder(parse_constant=_refuse)


def decode(payload: bytes) -> Any:
    """Returns the value of a JSON text."""
    try:
        return _decoder.decode(payload.decode())
    except (ValueError, RecursionError) as error:
        raise EncodingError(f"the payload is no JSON: {error}", "JSON") from error
