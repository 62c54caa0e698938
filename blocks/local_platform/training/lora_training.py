"""One LoRA fine-tune: the model, its optimiser, single steps, and what a checkpoint holds."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from blocks.local_platform.models.chat_format import Example
from blocks.local_platform.models.packed_attention import PackedRows
from blocks.local_platform.training.lora_product import compute_adapters_as_one
from blocks.local_platform.training.training_rows import Packed, passes
from flywheel.config import LoraConfig, TrainingConfig
from flywheel.errors import ConfigError

LARGEST_GRADIENT = 1.0


class LoraTraining:
    """An adapter in training on a frozen base.

    The adapter computes in the model's precision, which on CPUs is several times faster than mixing two; the optimiser
    keeps its own float32 copy, so that small updates are not rounded away.

    Args:
        model: Loaded with packed attention; it is changed, do not use it otherwise.
        total_steps: Optimiser steps in all: the learning rate rises, then falls on a cosine to a tenth.
    """

    def __init__(self, model: Any, training: TrainingConfig, lora: LoraConfig, total_steps: int) -> None:
        import peft

        self._training = training
        self._total_steps = total_steps
        settings = peft.LoraConfig(
            r=lora.adapter_dim,
            lora_alpha=lora.adapter_alpha,
            lora_dropout=lora.adapter_dropout,
            target_modules=lora.target_modules,
            task_type="CAUSAL_LM",
        )
        try:
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", FutureWarning
                )  # between peft and transformers, nothing of ours
                torch.manual_seed(training.seed)
                self._model = peft.get_peft_model(model, settings, autocast_adapter_dtype=False)
        except ValueError as error:
            raise ConfigError(f"lora_config does not fit this model: {error}") from error
        compute_adapters_as_one(self._model)
        self._best: list[torch.Tensor] = []
        self._has_dropout = lora.adapter_dropout > 0
        self._parameters = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        self._masters = [parameter.detach().float().clone() for parameter in self._parameters]
        self._optimiser = torch.optim.AdamW(
            self._masters, lr=training.learning_rate, weight_decay=training.weight_decay
        )

    def step(self, number: int, examples: list[Example]) -> tuple[float, int]:
        """One optimiser step; returns the mean loss per answer token and the tokens that were computed."""
        self._model.train()
        packed = passes(examples)
        answer_tokens = sum(len(part.targets) for part in packed)
        total = 0.0
        for master in self._masters:
            master.grad = torch.zeros_like(master)
        for position, part in enumerate(packed):
            loss = self._loss(part, seed=(number, position)) / answer_tokens
            loss.backward()
            total += float(loss.detach())
            for parameter, master in zip(self._parameters, self._masters, strict=True):
                if parameter.grad is not None and master.grad is not None:
                    master.grad += parameter.grad
                parameter.grad = None
        torch.nn.utils.clip_grad_norm_(self._masters, LARGEST_GRADIENT)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate(number)
        self._optimiser.step()
        self._publish()
        if not math.isfinite(total):
            raise ConfigError(
                f"The loss is {total} at step {number + 1}; lower training_config.learning_rate."
            )
        return total, sum(len(part.tokens) for part in packed)

    def validate(self, examples: list[Example]) -> float | None:
        """Mean loss per answer token without training; None without rows."""
        if not examples:
            return None
        self._model.eval()
        total, tokens = 0.0, 0
        with torch.no_grad():
            for part in passes(examples):
                total += float(self._loss(part, seed=(0, 0)))
                tokens += len(part.targets)
        return total / tokens

    def answering(self) -> Any:
        """The model as it is now, to be asked until the next step."""
        self._model.eval()
        return self._model

    def gradients(self, examples: list[Example]) -> list[torch.Tensor]:
        """Gradients of the mean loss per answer token, without a step: what a test compares."""
        packed = passes(examples)
        answer_tokens = sum(len(part.targets) for part in packed)
        for part in packed:
            (self._loss(part, seed=(0, 0)) / answer_tokens).backward()
        found = [parameter.grad for parameter in self._parameters]
        for parameter in self._parameters:
            parameter.grad = None
        return [torch.zeros(0) if gradient is None else gradient for gradient in found]

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on as if nothing had happened."""
        return {"masters": self._masters, "best": self._best, "optimiser": self._optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `state`."""
        with torch.no_grad():
            for master, saved in zip(self._masters, state["masters"], strict=True):
                master.copy_(saved)
        self._best = list(state.get("best", ()))  # checkpoints of earlier versions have none
        self._optimiser.load_state_dict(state["optimiser"])
        self._publish()

    def remember(self) -> None:
        """Take a copy of the weights as they are, in place of an earlier one."""
        self._best = [master.detach().clone() for master in self._masters]

    def go_back(self) -> None:
        """Make the weights those of the last `remember`, if there was one."""
        with torch.no_grad():
            for master, best in zip(self._masters, self._best or self._masters, strict=True):
                master.copy_(best)
        self._publish()

    def save_adapter(self, folder: Path, base_model: str) -> None:
        """Write adapter_model.safetensors and adapter_config.json, in float32; `base_model` is named in the latter."""
        self._model.peft_config["default"].base_model_name_or_path = base_model
        with torch.no_grad():
            for parameter, master in zip(self._parameters, self._masters, strict=True):
                parameter.data = master.detach().clone()
        self._model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
        with torch.no_grad():
            for parameter in self._parameters:
                parameter.data = parameter.data.to(self._model.dtype)

    def _loss(self, part: Packed, seed: tuple[int, int]) -> torch.Tensor:
        """Sum of the losses of the answer tokens of one pass."""
        device = self._model.device
        layout = PackedRows(part.prefix, part.lengths, device)

        def forward() -> torch.Tensor:
            logits = self._model(
                input_ids=torch.tensor([part.tokens], device=device),
                position_ids=layout.positions(),
                layout=layout,
                use_cache=False,
                logits_to_keep=torch.tensor(part.predictors, device=device),
            ).logits[0]
            targets = torch.tensor(part.targets, device=device)
            return functional.cross_entropy(logits.float(), targets, reduction="sum")

        if not (self._has_dropout and self._model.training):
            return forward()
        # Dropout draws from torch's own generator: given its place in the training, a resumed run draws the same.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(np.random.SeedSequence([self._training.seed, *seed]).generate_state(1)[0]))
            return forward()

    def _rate(self, step: int) -> float:
        warm_up = max(1, round(self._training.warmup_ratio * self._total_steps))
        if step < warm_up:
            return self._training.learning_rate * (step + 1) / warm_up
        done = (step - warm_up) / max(1, self._total_steps - warm_up)
        return self._training.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))

    def _publish(self) -> None:
        with torch.no_grad():
            for parameter, master in zip(self._parameters, self._masters, strict=True):
                parameter.copy_(master)


def order_of_rows(rows: int, seed: int, epoch: int) -> list[int]:
    """The order of the rows in one epoch: the same for a seed, another in each epoch."""
    return [int(row) for row in np.random.default_rng([seed, epoch]).permutation(rows)]
