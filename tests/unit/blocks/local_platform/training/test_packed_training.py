"""Training behind a shared prefix is training on separate rows, only faster."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from blocks.local_platform.models.chat_format import Example
from blocks.local_platform.models.model_loading import load_model
from blocks.local_platform.training.lora_training import LoraTraining, order_of_rows
from blocks.local_platform.training.training_rows import passes
from flywheel.config import LoraConfig, TrainingConfig
from flywheel.errors import ConfigError
from tests.fakes.toy_model import write_toy_model

CPU = torch.device("cpu")
SHARED = [(7 * i) % 250 for i in range(40)]
EXAMPLES = [
    Example([*SHARED, *range(row, row + 3 + row)], [200 + row, 100, 50 + row][: 1 + row % 3])
    for row in range(5)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("model"), weights=True)


def training(folder: Path, dropout: float = 0.0, steps: int = 20, rate: float = 1e-2) -> LoraTraining:
    settings = TrainingConfig(learning_rate=rate, epochs=1)
    lora = LoraConfig(adapter_dim=4, adapter_alpha=8, adapter_dropout=dropout)
    return LoraTraining(load_model(folder, CPU, torch.float32), settings, lora, steps)


def plain_loss(folder: Path) -> float:
    """Mean loss per answer token by transformers' own attention, one row at a time."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    total, count = 0.0, 0
    with torch.no_grad():
        for prompt, answer in EXAMPLES:
            logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
            total += float(functional.cross_entropy(logits, torch.tensor(answer), reduction="sum"))
            count += len(answer)
    return total / count


def test_the_packed_loss_is_that_of_separate_rows(folder: Path) -> None:
    assert len(passes(EXAMPLES)) == 1
    assert passes(EXAMPLES)[0].prefix >= 40
    assert training(folder).validate(EXAMPLES) == pytest.approx(plain_loss(folder), rel=1e-5)


def test_packed_gradients_are_those_of_separate_rows(folder: Path) -> None:
    model = training(folder)
    for number in range(2):  # the second matrix of LoRA begins at zero, and so does the gradient of the first
        model.step(number, EXAMPLES)
    together = model.gradients(EXAMPLES)
    tokens = sum(len(example.answer) for example in EXAMPLES)
    separate = [torch.zeros_like(part) for part in together]
    for example in EXAMPLES:
        for total, part in zip(separate, model.gradients([example]), strict=True):
            total += part * len(example.answer) / tokens
    assert any(float(part.abs().max()) > 1e-4 for part in separate)
    for one, other in zip(together, separate, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_training_lowers_the_loss_and_leaves_the_base_alone(folder: Path) -> None:
    model = training(folder)
    before = model.validate(EXAMPLES)
    for number in range(20):
        model.step(number, EXAMPLES)
    after = model.validate(EXAMPLES)
    assert before is not None
    assert after is not None
    assert after < 0.5 * before
    assert training(folder).validate(EXAMPLES) == before


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_restored_training_goes_on_as_if_it_had_not_stopped(
    folder: Path, tmp_path: Path, dropout: float
) -> None:
    whole, first = training(folder, dropout), training(folder, dropout)
    expected = [whole.step(number, EXAMPLES)[0] for number in range(6)]
    for number in range(3):
        first.step(number, EXAMPLES)
    torch.save(first.state(), tmp_path / "state.pt")
    second = training(folder, dropout)
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [second.step(number, EXAMPLES)[0] for number in range(3, 6)] == expected[3:]


def test_a_loss_that_is_no_number_any_more_stops_the_training(folder: Path) -> None:
    model = training(folder, rate=1.0, steps=1)
    model.restore(
        {**model.state(), "masters": [torch.full_like(m, float("nan")) for m in model.state()["masters"]]}
    )
    with pytest.raises(ConfigError, match="learning_rate"):
        model.step(0, EXAMPLES)


def test_rows_come_in_another_order_each_epoch_and_the_same_for_a_seed() -> None:
    assert sorted(order_of_rows(20, 0, 0)) == list(range(20))
    assert order_of_rows(20, 0, 0) == order_of_rows(20, 0, 0)
    assert order_of_rows(20, 0, 0) != order_of_rows(20, 0, 1)
    assert order_of_rows(20, 0, 0) != order_of_rows(20, 1, 0)


def test_training_leaves_torchs_own_generator_alone(folder: Path) -> None:
    torch.rand(1)
    before = torch.random.get_rng_state()
    training(folder, dropout=0.3).step(0, EXAMPLES)
    assert torch.equal(torch.random.get_rng_state(), before)
