"""Settings of the data half: from the log to fair datasets."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from flywheel.config.base import Fraction, Settings


class LogsConfig(Settings):
    """Which part of the production log a run reads."""

    path: str = Field(
        default="",
        description="File or directory of logs (JSONL, also .gz or .zst, Parquet, and OpenTelemetry spans in "
        "OTLP/JSON), read by the file log store.",
    )
    workload_from: list[str] = Field(
        default=[],
        description="Of calls that a tracing tool recorded: attributes that name the workload; the first that a call "
        "has counts. Empty: those that the page of the source lists.",
    )
    client_from: list[str] = Field(
        default=[], description="The same for the client. Empty: those that the page of the source lists."
    )
    since: datetime | None = Field(
        default=None, description="Read only records logged at or after this time."
    )
    until: datetime | None = Field(default=None, description="Read only records logged before this time.")
    partition_megabytes: float = Field(
        default=256.0,
        gt=0,
        description="Size of a partition where connections.curation_cluster is set, in megabytes of files as they lie. "
        "A file is never cut.",
    )
    since_last_run: bool = Field(
        default=False,
        description="Read only what was logged after the workload's last finished run began; everything if there is "
        "none. It counts together with `since`.",
    )
    overlap_minutes: float = Field(
        default=15.0,
        ge=0,
        description="How far before that run's begin to read again, in minutes: for records that reach the log late, "
        "and for clocks that are not right.",
    )
    traffic_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the traffic to read, chosen by a hash of each record, so that it is the same next time.",
    )
    sampling: Literal["newest", "uniform", "stratified"] = Field(
        default="newest",
        description="Which records are read where there are more than data_split_config.limit: the newest, a uniform "
        "choice, or one stratified by the tools that the answers call, so that rare tools stay.",
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


class SemanticDedupConfig(Settings):
    """Repeats in other words, found by the vectors of icl_config.embedder."""

    mode: Literal["off", "report", "merge"] = Field(
        default="off",
        description="Compare requests under one system prompt and set of tools by meaning: 'report' counts and lists "
        "those that mean the same, 'merge' keeps one record of each group of them. Needs icl_config.embedder.",
    )
    similarity_threshold: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Cosine of two requests' vectors from which they mean the same. It depends on the embedder: look "
        "at the pairs that 'report' lists.",
    )


class SemanticLeakageConfig(Settings):
    """Leaks in other words, found by the vectors of icl_config.embedder."""

    mode: Literal["off", "report", "remove"] = Field(
        default="off",
        description="Compare evaluation items with training by meaning, under one system prompt and set of tools: "
        "'report' lists the closest pairs, 'remove' takes those above the threshold for leaks, of which on_leak says "
        "what becomes. Needs icl_config.embedder.",
    )
    similarity_threshold: float = Field(
        default=0.95, gt=0, le=1, description="Cosine of two vectors from which a pair means the same."
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
    leave_out_fixed_text: bool = Field(
        default=True,
        description="Leave a long text that many requests hold word for word (a template in the user's message) out "
        "where requests are compared: for repeats, for leakage, for near-copies among examples. Off: as they stand.",
    )
    semantic: SemanticDedupConfig = Field(
        default=SemanticDedupConfig(), description="Repeats in other words; not looked for by default."
    )
    representative: Literal["newest", "oldest"] = Field(
        default="newest", description="Which record stands for its duplicates."
    )
    contradictions: Literal["keep", "drop", "majority"] = Field(
        default="keep",
        description="What becomes of a request that production answered in materially different ways (other calls, or "
        "words that hardly agree): 'drop' trains on none of its answers, 'majority' takes the answer that more than "
        "half of the calls got and trains on none without one. Evaluation keeps its items; a run flags them.",
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
        default=10_000,
        ge=1,
        description="Most records read from the log, chosen by logs.sampling; none means no limit.",
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
    semantic: SemanticLeakageConfig = Field(
        default=SemanticLeakageConfig(), description="Leaks in other words; not looked for by default."
    )
    worst_pairs: int = Field(
        default=20, ge=0, le=1000, description="Closest pairs listed in the certificate."
    )
