"""An adapter computed as one product gives what PEFT gives."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from blocks.local_platform.training.lora_product import compute_adapters_as_one


class Stack(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.first = nn.Linear(12, 20, bias=bias)
        self.second = nn.Linear(20, 7, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.second(torch.tanh(self.first(x)))
        return result


def adapted(bias: bool, **settings: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["first", "second"], **settings)
        model = peft.get_peft_model(Stack(bias), config)  # type: ignore[arg-type]
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # begins at zero, which would hide half of the gradients
                nn.init.normal_(parameter, std=0.1)
    return model


def losses_and_gradients(model: Any, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    loss = model(x).square().sum()
    loss.backward()
    assert x.grad is not None
    return [loss.detach(), x.grad, *(p.grad for p in model.parameters() if p.requires_grad)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 12), (1, 9, 12), (2, 3, 4, 12)])
def test_outputs_and_gradients_are_those_of_peft(bias: bool, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    plain, ours = adapted(bias), adapted(bias)
    assert compute_adapters_as_one(ours) == 2
    expected = losses_and_gradients(plain, x)
    assert len(expected) == 2 + 4
    for one, other in zip(expected, losses_and_gradients(ours, x), strict=True):
        assert float(one.abs().max()) > 0
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    model = adapted(bias=True)
    compute_adapters_as_one(model)
    x = torch.ones(2, 12)
    model(x).sum().backward()
    assert x.grad is None
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_what_is_saved_is_still_pefts_own() -> None:
    plain, ours = adapted(bias=True), adapted(bias=True)
    compute_adapters_as_one(ours)
    for name, tensor in peft.get_peft_model_state_dict(plain).items():
        torch.testing.assert_close(tensor, peft.get_peft_model_state_dict(ours)[name])


@pytest.mark.parametrize("settings", [{"lora_dropout": 0.5}, {"use_dora": True}])
def test_an_adapter_that_is_more_than_two_matrices_is_left_alone(settings: dict[str, Any]) -> None:
    assert compute_adapters_as_one(adapted(bias=True, **settings)) == 0
