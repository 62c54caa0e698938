"""The tables that the steps of curation hand to each other.

A directory written by a step holds `manifest.json` and the files named here. `row` is a record's position in the
validated table, counted over all its parts in the order of their names; the later steps refer to records by it and
never copy payloads.
"""

from __future__ import annotations

import pyarrow as pa

EXTRACTED_FILES = "extracted-*.parquet"
EXTRACTED = pa.schema(
    [
        pa.field("id", pa.string()),  # null where the log gave none
        pa.field("timestamp", pa.float64()),  # seconds since 1970 in UTC; null where absent or unreadable
        pa.field("workload_id", pa.string()),
        pa.field("client_id", pa.string()),
        pa.field("conversation_id", pa.string()),
        pa.field("description", pa.string()),
        pa.field("latency_ms", pa.float64()),
        pa.field("tokens_in", pa.int64()),
        pa.field("tokens_out", pa.int64()),
        pa.field("request", pa.large_binary()),  # JSON as logged
        pa.field("response", pa.large_binary()),  # JSON as logged
        pa.field("extra", pa.large_binary()),  # JSON object of the fields that we do not know, or null
        pa.field("file", pa.string()),
        pa.field("line", pa.int64()),  # from 1; row number from 1 for Parquet
    ]
)
"""Calls of one workload and client, as the log holds them. `extract` writes it; log stores yield batches of it."""

VALIDATED_FILES = "validated-*.parquet"
VALIDATED = pa.schema(
    [
        pa.field("record_id", pa.string()),  # never null: the log's own, else a hash of the content
        pa.field("timestamp", pa.float64()),
        pa.field("conversation_id", pa.string()),
        pa.field("latency_ms", pa.float64()),
        pa.field("tokens_in", pa.int64()),
        pa.field("tokens_out", pa.int64()),
        pa.field("request", pa.large_binary()),  # JSON as logged
        pa.field("response", pa.large_binary()),  # JSON as logged
        pa.field("choice", pa.int32()),  # position in response.choices of the answer that is used
        pa.field("answer_class", pa.string()),  # sorted distinct tool names joined by "+", or "no_tool"
        pa.field("request_hash", pa.binary(16)),  # of the canonical whole request: exact repeats share it
        pa.field("answer_hash", pa.binary(16)),  # of the canonical answer message
        pa.field("context_hash", pa.binary(16)),  # of system messages and tools
        pa.field("roles", pa.string()),  # a letter per message after the system prompt: u, a, t
        pa.field("text", pa.string()),  # the conversation's own text: every message but system ones
        pa.field("last_message_start", pa.int32()),  # where the last message begins in `text`, in characters
        pa.field("thread_hash", pa.binary(16)),  # of messages + answer: what a later turn would begin with
        pa.field("prefix_hashes", pa.list_(pa.binary(16))),  # thread_hash of each earlier turn in here
        pa.field("file", pa.string()),
        pa.field("line", pa.int64()),
    ]
)
"""Usable records with what the later steps need already computed. `validate` writes it."""

RECORD_FIELDS = (
    "timestamp",
    "conversation_id",
    "latency_ms",
    "tokens_in",
    "tokens_out",
    "request",
    "response",
)
"""What the validated table keeps of a logged record, its id aside."""

DEDUPLICATED_FILE = "deduplicated.parquet"
DEDUPLICATED = pa.schema(
    [
        pa.field("row", pa.int64()),  # of the representative
        pa.field("record_id", pa.string()),
        pa.field("timestamp", pa.float64()),
        pa.field("answer_class", pa.string()),
        pa.field("cluster", pa.string()),  # dependent records: near-duplicates, turns of one conversation
        pa.field("weight", pa.int64()),  # logged calls that the representative stands for, itself included
    ]
)
"""One row for each record that is kept, sorted by record_id. `deduplicate` writes it."""

ASSIGNMENT_FILE = "assignment.parquet"
ASSIGNMENT = pa.schema([*DEDUPLICATED, pa.field("split", pa.string())])
"""`DEDUPLICATED` with the side of each record: "train", "validation" or "evaluation". `split` writes it; the leakage
check writes it again without the rows that it removed."""

REJECTED_FILE = "rejected.jsonl"
"""One JSON object a line: `reason` (a code), `detail` (a sentence), `file`, `line` (its origin; null where unknown),
`record` (the logged record as an object; as text where it is not JSON)."""

FUNNEL = (
    "lines",
    "out_of_scope",
    "over_limit",
    "read",
    "invalid",
    "exact_duplicates",
    "near_duplicates",
    "held_back",
    "contradicted",
    "leaks_removed",
    "train",
    "validation",
    "evaluation",
)
"""Keys of a run's funnel, in order. lines = out_of_scope + over_limit + read, where out_of_scope are readable records
of other workloads, clients, times or outside the traffic share; and read = invalid + exact_duplicates +
near_duplicates + held_back + contradicted + leaks_removed + train + validation + evaluation. `held_back` is there only
where earlier runs kept some records from this one (`flywheel.curation.splitting.split_history`), `contradicted` where
those that production contradicts itself on are left out of training (`flywheel.curation.duplicates.contradictions`)."""
