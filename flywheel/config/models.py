"""Settings of what is done with a model: in-context examples, fine-tuning, evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from flywheel.config.base import Fraction, Settings
from flywheel.config.endpoints import EmbedderConfig
from flywheel.config.platforms import CustomizerConfig, DeploymentConfig


class IclConfig(Settings):
    """In-context examples: how many, which, and where they stand."""

    max_context_length: int = Field(
        default=32_768,
        ge=128,
        description="Context length, in tokens, when the candidate does not state its own; the smaller one counts.",
    )
    reserved_tokens: int = Field(
        default=512,
        ge=0,
        description="Tokens kept free for the answer; more is kept if max_tokens asks for it.",
    )
    max_examples: int = Field(default=3, ge=1, le=100, description="Most examples for one item.")
    min_examples: int = Field(
        default=1, ge=1, le=100, description="With fewer examples than this an item gets no icl-eval."
    )
    example_selection: Literal["uniform_distribution", "semantic_similarity"] = Field(
        default="semantic_similarity",
        description="'semantic_similarity' takes the examples closest to the item; 'uniform_distribution' spreads "
        "them evenly over the tools.",
    )
    relevance_ratio: Fraction = Field(
        default=0.7,
        description="With semantic_similarity: share of the examples chosen by closeness, the rest by tool coverage.",
    )
    placement: Literal["turns", "system_text"] = Field(
        default="turns",
        description="Examples as chat turns before the item, or as text at the end of the system message.",
    )
    max_similarity: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="An example at least this close to the item (Jaccard of shingles) is a copy and is not used.",
    )
    embedder: EmbedderConfig = Field(
        default=EmbedderConfig(), description="Says how close texts are, for semantic_similarity."
    )

    @model_validator(mode="after")
    def _bounds_agree(self) -> IclConfig:
        if self.min_examples > self.max_examples:
            raise ValueError(
                f"min_examples ({self.min_examples}) is larger than max_examples ({self.max_examples})"
            )
        return self


class LoraConfig(Settings):
    """Shape of the adapter."""

    adapter_dim: int = Field(default=16, ge=1, le=1024, description="Rank of the LoRA matrices.")
    adapter_alpha: int = Field(
        default=32, ge=1, description="Scale of the adapter; alpha/rank multiplies its output."
    )
    adapter_dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    target_modules: list[str] | Literal["all-linear"] = Field(
        default="all-linear", description="Names of the layers that get an adapter."
    )


class TrainingConfig(Settings):
    """Supervised fine-tuning on production answers (distillation)."""

    training_type: Literal["sft"] = Field(default="sft", description="Supervised fine-tuning.")
    finetuning_type: Literal["lora"] = Field(default="lora", description="What is trained.")
    epochs: int = Field(default=2, ge=1, le=100, description="Passes over the training rows.")
    batch_size: int = Field(default=8, ge=1, le=4096, description="Rows in one optimiser step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Peak learning rate.")
    warmup_ratio: float = Field(
        default=0.05, ge=0, lt=1, description="Share of the steps with a rising rate."
    )
    weight_decay: float = Field(default=0.0, ge=0, description="Weight decay of AdamW.")
    max_seq_length: int = Field(
        default=2048, ge=16, description="Longest training row, in tokens; longer: left out."
    )
    seed: int = Field(default=0, ge=0, description="Seed of initialisation and row order.")
    keep: Literal["last", "best", "best_score"] = Field(
        default="last",
        description="Which epoch's weights are kept where this machine trains (local and vllm): the last; 'best', the "
        "one with the lowest validation loss; 'best_score', the one whose answers to validation items score highest. "
        "The last where there are no validation rows. Services choose between the first two themselves.",
    )
    score_items: int = Field(
        default=32,
        ge=1,
        le=1000,
        description="Validation items that are answered after each epoch for keep: best_score.",
    )
    patience_epochs: int | None = Field(
        default=None,
        ge=1,
        description="Stop after so many epochs without a lower validation loss, or with keep: best_score without a "
        "better score, where this machine trains; none trains all epochs.",
    )
    max_hours: float | None = Field(
        default=None,
        gt=0,
        description="Longest time of one fine-tune, in hours, without the queue and the start; none is no bound.",
    )
    at_max_hours: Literal["keep", "fail"] = Field(
        default="keep",
        description="At max_hours, where this machine trains: 'keep' the weights as `keep` says of what was trained "
        "until then, or 'fail'. Jobs of services are cancelled, which leaves nothing to keep: they fail.",
    )


class EvaluationConfig(Settings):
    """How items are asked and answers are scored."""

    concurrency: int = Field(
        default=16, ge=1, le=4096, description="Requests under way at once to one endpoint."
    )
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="Most requests a minute to one endpoint; none is no bound."
    )
    tokens_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Most tokens a minute, prompts and answers, to one endpoint; none is no bound.",
    )
    circuit_seconds: float = Field(
        default=60,
        ge=0,
        description="Longest wait, in seconds, for an endpoint that is down before its evaluation stops.",
    )
    stream: bool = Field(
        default=False,
        description="Ask for streamed answers and record the time to the first token; the platform must stream.",
    )
    logprobs: bool = Field(
        default=False,
        description="Ask for the log-probabilities of the answers' tokens, from which the cascade curve takes how sure "
        "the candidate is. Predictions grow; an endpoint that refuses them is asked without.",
    )
    timeout_seconds: float = Field(default=300, gt=0, description="Longest wait for one answer, in seconds.")
    max_attempts: int = Field(default=4, ge=1, le=20, description="Tries for one item, first one included.")
    temperature: float | None = Field(
        default=None, ge=0, description="Overrides the logged temperature; none replays what production used."
    )
    max_tokens: int | None = Field(
        default=None, ge=1, description="Overrides the logged max_tokens; none replays what production used."
    )
    default_max_tokens: int = Field(
        default=512, ge=1, description="Longest answer, in tokens, where the logged request set no bound."
    )
    confidence_level: float = Field(default=0.95, gt=0.5, lt=1, description="Level of every interval.")
    reuse_answers: bool = Field(
        default=False,
        description="Take answers of earlier runs of the workload in place of asking again: of the same model at the "
        "same address, to the same request, at temperature 0 alone. They are counted, and have no latencies.",
    )
    extra_items: str = Field(
        default="",
        description="JSONL file of further items, such as `flywheel divergent RUN --export` writes. They are asked as "
        "well, of the base and of the fine-tuned model, and scored apart as specialist/<metric>. Near-copies of "
        "training rows are left out.",
    )
    evaluator: Literal["flywheel", "nemo"] = Field(
        default="flywheel",
        description="Who asks the items: 'flywheel' itself, or jobs of the NeMo Evaluator where that is the platform.",
    )
    nemo_judge_model: str = Field(
        default="",
        max_length=400,
        description="Model, as the NIM knows it, that rates plain answers in jobs of the NeMo Evaluator. Empty: none.",
    )


class CandidateConfig(Settings):
    """A model under test with its settings."""

    name: str = Field(
        default="",
        max_length=100,
        description="The candidate's id; one model may stand in several candidates. Empty: made from the model.",
    )
    model: str = Field(
        min_length=1,
        description="Model name or path as the platform knows it; 'demo:smollm2-135m' needs no model hub.",
    )
    gpus: int = Field(
        default=1,
        ge=0,
        le=64,
        description="GPU slots of the deployment, held while the candidate is worked on.",
    )
    training_gpus: int = Field(
        default=0,
        ge=0,
        le=64,
        description="GPU slots of the fine-tune beside those of the deployment, held until it is over. 0: it needs "
        "none of its own, as on one machine.",
    )
    context_length: int | None = Field(
        default=None, ge=128, description="Context length, in tokens; none asks the platform."
    )
    customize: bool = Field(default=True, description="Fine-tune this candidate and evaluate the result.")
    icl: bool = Field(default=True, description="Evaluate this candidate with in-context examples.")
    training_config: TrainingConfig | None = Field(
        default=None, description="Training settings of this candidate alone; none takes the run's."
    )
    lora_config: LoraConfig | None = Field(
        default=None, description="Adapter settings of this candidate alone; none takes the run's."
    )
    deployment_config: DeploymentConfig = Field(
        default=DeploymentConfig(), description="How a platform with GPUs of its own deploys this candidate."
    )
    customizer_config: CustomizerConfig = Field(
        default=CustomizerConfig(),
        description="How a platform with GPUs of its own fine-tunes this candidate.",
    )
