"""Loading a model the way this machine runs it fastest."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch

from blocks.local_platform.models import packed_attention
from flywheel.errors import ConfigError


def pick_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it faster than float32, tried with a product of matrices; else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    # The first round prepares. In turns, since a busy machine takes the core away for longer than several products.
    for _ in range(8):
        for dtype, best in seconds.items():
            seconds[dtype] = min(best, _seconds_of_product(dtype))
    return torch.bfloat16 if seconds[torch.bfloat16] < 0.8 * seconds[torch.float32] else torch.float32


def _seconds_of_product(dtype: torch.dtype) -> float:
    left, right = torch.ones(256, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
    started = time.perf_counter()
    left @ right
    return time.perf_counter() - started


def use_cores() -> None:
    """As many threads as this process may use; no more than 16, where small models stop to gain."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, min(usable, 16)))


def load_model(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """The model with packed attention, in evaluation mode, without gradients of its own.

    Raises: ConfigError where transformers does not know the architecture or it cannot take packed attention.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    packed_attention.register()
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=packed_attention.NAME,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
        )
    except (ValueError, OSError) as error:
        raise ConfigError(f"The model in {folder} cannot be loaded: {str(error).splitlines()[0]}") from error
    model.to(device).eval().requires_grad_(False)
    return model
