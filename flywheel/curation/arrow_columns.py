"""Python values to Arrow columns without `pyarrow.array`, whose first call spends half a second on importing pandas.

Integers, floats, text and bytes, each nullable, and lists of hashes: what the tables of curation are made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """An array of the type `kind`; None is null.

    Raises: TypeError for a type that is not among those above.
    """
    if pa.types.is_list(kind):
        inner = column(list(chain.from_iterable(values)), kind.value_type)
        offsets = pa.Array.from_buffers(pa.int32(), len(values) + 1, [None, _offsets(values, np.int32)])
        return pa.ListArray.from_arrays(offsets, inner, type=kind)
    values = values if isinstance(values, list) else list(values)
    validity, nulls = _validity(values)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = [0 if v is None else v for v in values] if nulls else values
        buffers = [validity, pa.py_buffer(np.array(numbers, dtype=kind.to_pandas_dtype()))]
    elif pa.types.is_fixed_size_binary(kind):
        zero = bytes(kind.byte_width)
        buffers = [validity, pa.py_buffer(b"".join(_filled(values, nulls, zero)))]
    elif pa.types.is_large_binary(kind):
        parts = _filled(values, nulls, b"")
        buffers = [validity, _offsets(parts, np.int64), pa.py_buffer(b"".join(parts))]
    elif pa.types.is_string(kind):
        parts = list(map(str.encode, _filled(values, nulls, "")))
        buffers = [validity, _offsets(parts, np.int32), pa.py_buffer(b"".join(parts))]
    else:
        raise TypeError(f"no column of type {kind}")
    return pa.Array.from_buffers(kind, len(values), buffers, nulls)


def _filled(values: list[Any], nulls: int, empty: Any) -> list[Any]:
    if not nulls:
        return values
    return [empty] * nulls if nulls == len(values) else [empty if v is None else v for v in values]


def _offsets(parts: Sequence[Any], dtype: type[np.int32] | type[np.int64]) -> pa.Buffer:
    offsets = np.zeros(len(parts) + 1, dtype=dtype)
    np.cumsum(list(map(len, parts)), out=offsets[1:])
    return pa.py_buffer(offsets)


def _validity(values: list[Any]) -> tuple[pa.Buffer | None, int]:
    nulls = values.count(None)
    if not nulls:
        return None, 0
    valid = np.array([value is not None for value in values], dtype=bool)
    return pa.py_buffer(np.packbits(valid, bitorder="little")), nulls
