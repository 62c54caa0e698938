"""All settings of a run, as one tree of frozen models.

`FlywheelConfig` is the parameter of the `run_flywheel` flow, so the run form of the Prefect UI is made from it:
every field has a description, a unit where it has one, bounds, and a default that works. Nothing here reads a file
or the environment; `flywheel.overrides` merges YAML files and `key.path=value` settings over a tree.

Secrets never stand here. What needs one names the environment variable or the block that holds it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A share between 0 and 1, both included."""


class Settings(BaseModel):
    """Base of every part of the tree: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LogsConfig(Settings):
    """Which part of the production log a run reads."""

    path: str = Field(
        default="",
        description="File or directory of logs (JSONL, also .gz or .zst, and Parquet), read by the file log store.",
    )
    since: datetime | None = Field(
        default=None, description="Read only records logged at or after this time."
    )
    until: datetime | None = Field(default=None, description="Read only records logged before this time.")
    traffic_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the traffic to read, chosen by a hash of each record, so that it is the same next time.",
    )


class ValidationConfig(Settings):
    """Which records are good enough to learn from and to be measured against."""

    check_tool_arguments: bool = Field(
        default=True,
        description="Check each tool call's arguments against the tool's own JSON Schema and report.",
    )
    refuse_schema_violations: bool = Field(
        default=False, description="Refuse records whose tool arguments break the tool's JSON Schema."
    )
    refuse_truncated: bool = Field(
        default=True,
        description="Refuse answers that were cut off (finish_reason 'length' or 'content_filter').",
    )
    max_record_bytes: int = Field(
        default=4_000_000,
        gt=0,
        description="Longest line of a log that is read, in bytes; longer ones are refused.",
    )


class DedupConfig(Settings):
    """When two requests count as the same."""

    similarity_threshold: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Jaccard similarity of two conversations' character shingles from which they are near-duplicates.",
    )
    shingle_size: int = Field(
        default=5,
        ge=2,
        le=32,
        description="Length of a shingle, in bytes. Words miss short edits in short prompts.",
    )
    permutations: int = Field(default=128, ge=16, le=1024, description="Length of a MinHash signature.")
    merge_near_duplicates: bool = Field(
        default=True,
        description="Keep one record of each group of near-duplicates that share system prompt and tools. Off: only "
        "exact repeats are removed; near-duplicates still stay on one side of the split.",
    )
    representative: Literal["newest", "oldest"] = Field(
        default="newest", description="Which record stands for its duplicates."
    )


class DataSplitConfig(Settings):
    """How many records go where."""

    eval_size: int = Field(default=20, ge=1, description="Records held out for evaluation, exactly.")
    val_ratio: Fraction = Field(
        default=0.1,
        description="Share of the remaining records used for validation while fine-tuning; 0 is allowed.",
    )
    min_total_records: int = Field(
        default=50,
        ge=1,
        description="Fewest records, after duplicates are removed, with which a run makes sense.",
    )
    random_seed: int = Field(
        default=0, ge=0, description="Seed of every random choice about data. 0 is a seed."
    )
    limit: int | None = Field(
        default=10_000, ge=1, description="Most records read from the log, newest first; none means no limit."
    )
    parse_function_arguments: bool = Field(
        default=True,
        description="Write tool-call arguments into datasets as JSON objects; off: as the JSON strings of the API.",
    )
    method: Literal["stratified", "by_time"] = Field(
        default="stratified",
        description="'stratified' draws the evaluation set with each tool's share kept; 'by_time' takes the newest.",
    )


class LeakageConfig(Settings):
    """How evaluation items are proven absent from training, by means independent of the split."""

    on_leak: Literal["remove", "fail"] = Field(
        default="remove", description="Remove leaking rows from training, or fail the run."
    )
    ngram_size: int = Field(
        default=8, ge=3, le=50, description="Length of a word n-gram of the conversation's own text."
    )
    ngram_overlap: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="Share of an evaluation item's word n-grams found in one training row from which it is a leak.",
    )
    similarity_threshold: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Jaccard similarity of character shingles from which a pair is a leak.",
    )
    shingle_size: int = Field(
        default=4, ge=2, le=32, description="Length of a shingle for this check, in bytes."
    )
    worst_pairs: int = Field(
        default=20, ge=0, le=1000, description="Closest pairs listed in the certificate."
    )


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


class EvaluationConfig(Settings):
    """How items are asked and answers are scored."""

    concurrency: int = Field(
        default=16, ge=1, le=4096, description="Requests under way at once to one endpoint."
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
    gpus: int = Field(default=1, ge=0, le=64, description="GPU slots held while the candidate is worked on.")
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


class ConnectionsConfig(Settings):
    """Which log store, stores and platform a run speaks to.

    A value is the embedded implementation's name or `<block type slug>/<block name>` of a saved Prefect block. The
    secrets stay in the block.
    """

    home: str = Field(
        default="",
        description="Directory of the embedded stores and of local models. Empty: $FLYWHEEL_HOME, else ~/.flywheel.",
    )
    log_store: str = Field(default="files", description="'files' reads logs.path; else a saved block.")
    dataset_store: str = Field(
        default="embedded", description="'embedded' is a directory; else a saved block."
    )
    run_store: str = Field(
        default="embedded", description="'embedded' is an SQLite file; else a saved block."
    )
    platform: str = Field(
        default="local", description="'local' trains and serves on this machine; else a saved block."
    )


class FlywheelConfig(Settings):
    """One turn of the flywheel for one workload of one client."""

    workload_id: str = Field(
        min_length=1, description="The workload (route, agent node) whose calls are studied."
    )
    client_id: str = Field(min_length=1, description="Who produced the traffic.")
    description: str = Field(default="", description="What this run is for, in your words; stored with it.")
    logs: LogsConfig = Field(default=LogsConfig(), description="Which part of the log is read.")
    validation_config: ValidationConfig = Field(
        default=ValidationConfig(), description="Which records are used."
    )
    dedup_config: DedupConfig = Field(default=DedupConfig(), description="When two requests are the same.")
    data_split_config: DataSplitConfig = Field(
        default=DataSplitConfig(), description="How many records go where."
    )
    leakage_config: LeakageConfig = Field(default=LeakageConfig(), description="Proof that the test is fair.")
    icl_config: IclConfig = Field(default=IclConfig(), description="In-context examples.")
    training_config: TrainingConfig = Field(default=TrainingConfig(), description="Fine-tuning.")
    lora_config: LoraConfig = Field(default=LoraConfig(), description="Shape of the adapters.")
    evaluation_config: EvaluationConfig = Field(default=EvaluationConfig(), description="Asking and scoring.")
    connections: ConnectionsConfig = Field(
        default=ConnectionsConfig(), description="Where logs, datasets, history and models are."
    )
    gpu_slots: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Size of the Prefect concurrency limit 'gpu' if a run has to create it; an existing one is kept.",
    )
    candidates: list[CandidateConfig] = Field(
        default=[CandidateConfig(model="demo:smollm2-135m")],
        min_length=1,
        max_length=100,
        description="The models under test.",
    )

    @model_validator(mode="after")
    def _candidates_have_their_own_names(self) -> FlywheelConfig:
        names = [candidate.name for candidate in self.candidates if candidate.name]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two candidates are named {twice[0]!r}; give each its own name")
        return self

    def training_for(self, candidate: CandidateConfig) -> TrainingConfig:
        """The candidate's own training settings, else the run's."""
        return candidate.training_config or self.training_config

    def lora_for(self, candidate: CandidateConfig) -> LoraConfig:
        """The candidate's own adapter settings, else the run's."""
        return candidate.lora_config or self.lora_config
