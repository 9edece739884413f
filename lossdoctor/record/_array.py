"""How a NumPy array stands in a record's JSON: exact, compact, and never pickle."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import core_schema

_KINDS = "biuf"


def _encode(array: NDArray[Any]) -> dict[str, Any]:
    array = np.ascontiguousarray(array)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {
        "dtype": little.dtype.str,
        "shape": list(array.shape),
        "base64": base64.b64encode(little.tobytes()).decode("ascii"),
    }


def _decode(value: object) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "base64"}:
        raise ValueError("expected an array as {dtype, shape, base64}")
    dtype = np.dtype(str(value["dtype"]))
    if dtype.kind not in _KINDS:
        raise ValueError(f"arrays of dtype {dtype} are not part of a record")
    try:
        raw = base64.b64decode(value["base64"], validate=True)
    except (binascii.Error, TypeError) as error:
        raise ValueError(f"array data is not base64: {error}") from error
    array: NDArray[Any] = np.frombuffer(raw, dtype=dtype).reshape(value["shape"])
    return array


class ArrayCodec:
    """Pydantic annotation that stores an array as `{dtype, shape, base64}`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _decode,
            serialization=core_schema.plain_serializer_function_ser_schema(_encode),
        )
