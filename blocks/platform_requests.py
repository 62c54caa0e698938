"""What a platform is asked for, and where a model of it answers."""

from __future__ import annotations

from pathlib import Path

import msgspec

from flywheel.config import CustomizerConfig, EvaluationConfig, LoraConfig, MetricsConfig, TrainingConfig
from flywheel.results import EvalItem


class Endpoint(msgspec.Struct, frozen=True):
    """A model that answers over the OpenAI chat protocol at `{base_url}/chat/completions`.

    `api_key_env` names the environment variable that holds the key; the key itself never travels. `revision` changes
    with the weights that answer, where the platform can tell; empty: address and name are all that is known of them.
    """

    base_url: str
    model: str
    api_key_env: str | None = None
    revision: str = ""


class FineTuneRequest(msgspec.Struct, frozen=True):
    """One fine-tune. `name` is derived from run, candidate and content: submitting it twice trains once."""

    name: str
    model: str
    train: Path  # directory with training.jsonl and validation.jsonl
    training: TrainingConfig
    lora: LoraConfig
    customizer: CustomizerConfig = CustomizerConfig()
    metrics: MetricsConfig = MetricsConfig()  # by which epochs are compared, where answers compare them


class EvaluationRequest(msgspec.Struct, frozen=True):
    """One evaluation that the platform itself carries out. `name`: submitting it twice asks once."""

    name: str
    endpoint: Endpoint
    items: list[EvalItem]
    settings: EvaluationConfig
