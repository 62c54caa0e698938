"""A linear layer with its adapter as one differentiable product.

PEFT keeps the adapter's parameters, names and file format; its own forward pass makes six full-size tensors where two
are enough, which on CPUs took longer than the frozen layer itself. The result is the same, up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class LoraProduct(torch.autograd.Function):  # type: ignore[misc]
    """x W^T + bias + scale (x A^T) B^T, with gradients for x, A and B; W and the bias are frozen.

    Source of the form: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        """Shapes: x (..., inputs), weight (outputs, inputs), down A (rank, inputs), up B (outputs, rank)."""
        flat = x.reshape(-1, x.shape[-1])
        low = flat @ down.t()
        result = functional.linear(flat, weight, bias).addmm_(low, up.t(), alpha=scale)
        ctx.save_for_backward(flat, weight, down, up, low)
        ctx.scale, ctx.shape = scale, x.shape
        return result.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients in the order of the arguments of `forward`."""
        flat, weight, down, up, low = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, weight.shape[0])
        of_low = (gradient @ up).mul_(ctx.scale)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (gradient @ weight).addmm_(of_low, down).view(ctx.shape)
        of_down = of_low.t() @ flat
        of_up = (gradient.t() @ low).mul_(ctx.scale)
        return of_x, None, None, of_down, of_up, None


def compute_adapters_as_one(model: torch.nn.Module, adapter: str = "default") -> int:
    """Let the adapted linear layers of a PEFT model compute by `LoraProduct`; returns how many do.

    Layers with dropout, or of a kind that is more than A and B (DoRA, a quantised base), keep PEFT's own way.
    """
    from peft.tuners.lora.layer import Linear

    changed = 0
    for layer in model.modules():
        if type(layer) is Linear and _is_plain(layer, adapter):
            layer.forward = _Forward(layer, adapter)
            changed += 1
    return changed


class _Forward:
    """The forward pass of one layer."""

    def __init__(self, layer: Any, adapter: str) -> None:
        self._base = layer.base_layer
        self._down = layer.lora_A[adapter]
        self._up = layer.lora_B[adapter]
        self._scale = float(layer.scaling[adapter])

    def __call__(self, x: Tensor) -> Tensor:
        base = self._base
        return LoraProduct.apply(x, base.weight, base.bias, self._down.weight, self._up.weight, self._scale)


def _is_plain(layer: Any, adapter: str) -> bool:
    return (
        type(layer.base_layer) is torch.nn.Linear
        and isinstance(layer.lora_dropout[adapter], torch.nn.Identity)
        and not getattr(layer, "use_dora", {}).get(adapter, False)
        and layer.lora_A[adapter].bias is None
        and layer.lora_B[adapter].bias is None
        and list(layer.active_adapters) == [adapter]
    )
