"""Rounding of the conversion; that the whole of it is right shows in what the converted model knows."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from blocks.local_platform.models.gguf_conversion import to_bfloat16

FINITE = st.floats(width=32, allow_nan=False, min_value=-(2.0**120), max_value=2.0**120)


@given(st.lists(FINITE, min_size=1))
def test_rounding_to_bfloat16_is_torchs(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    expected = torch.from_numpy(array).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(to_bfloat16(array), expected)
