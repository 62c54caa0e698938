"""LoRA adapters in PEFT's own format, merged into a copy of their base for serving."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

from flywheel.errors import ConfigError


def merged(base: Any, folder: Path) -> Any:
    """A copy of `base` with the adapter added into its weights; `base` stays as it is.

    An adapter kept apart costs two more small products in every layer for every token.

    Raises: ConfigError where the folder holds no adapter of this base.
    """
    if not (folder / "adapter_config.json").is_file():
        raise ConfigError(f"{folder} holds no adapter (adapter_config.json is missing).")
    if not (folder / "adapter_model.safetensors").is_file():
        raise ConfigError(
            f"{folder} holds no adapter_model.safetensors. Other formats are not read: loading a pickle runs whatever "
            "code is in it."
        )
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers, nothing of ours
            model = PeftModel.from_pretrained(copy.deepcopy(base), str(folder), autocast_adapter_dtype=True)
            return model.merge_and_unload().eval().requires_grad_(False)
    except (ValueError, RuntimeError, KeyError) as error:
        raise ConfigError(
            f"The adapter in {folder} does not fit this model: {str(error).splitlines()[0]}"
        ) from error
