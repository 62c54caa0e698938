"""Prove that what a model is measured on was not in what it learned from.

The proof does not trust the split: it knows nothing of clusters and shares no code with what made them. Every
evaluation item is compared with every training and validation row in five ways, each stated in the certificate.
What overlaps is taken out of training, or fails the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.config import LeakageConfig
from flywheel.curation.leakage.certificate import Closest, certificate
from flywheel.curation.leakage.evaluation_side import METHODS, EvaluationSide, Found
from flywheel.curation.leakage.semantic import SAME_MEANING, SemanticCheck
from flywheel.curation.output_directory import CERTIFICATE_FILE
from flywheel.curation.rejected_rows import RejectedRows, write_rejected
from flywheel.curation.schema import ASSIGNMENT, ASSIGNMENT_FILE
from flywheel.curation.side_by_side import side_by_side
from flywheel.curation.texts.embeddings import Embeddings
from flywheel.curation.texts.fixed_text import NO_FIXED_TEXT, FixedText, LeftOut
from flywheel.curation.validated_table import flags, numbers, read_batches, row_numbers
from flywheel.errors import LeakageError, TooFewRecordsError
from flywheel.progress import Progress

Indices = npt.NDArray[np.int64]

STAGE = "check leakage"
BATCH_ROWS = 1_024


class Leak(NamedTuple):
    """The strongest overlap of one training or validation row."""

    method: str
    item: int  # position in the assignment
    value: float


def check_leakage(
    validated: Path,
    assignment: Path,
    out: Path,
    config: LeakageConfig,
    progress: Progress,
    constants: Mapping[str, str] | None = None,
    fixed: FixedText = NO_FIXED_TEXT,
    embeddings: Embeddings | None = None,
) -> dict[str, Any]:
    """Write `assignment.parquet` without the rows that leak, `rejected.jsonl` with them, and `certificate.json`.

    Args:
        fixed: Text that n-grams and shingles are not taken of.
        embeddings: Of the validated table; they are compared as `config.semantic` says.
    Returns:
        The certificate; among it are the counts `train`, `validation`, `evaluation` and `leaks_removed`.
    Raises:
        LeakageError: There are leaks and the settings say that they fail the run.
        TooFewRecordsError: Every training row leaks.
    """
    table = pq.ParquetFile(assignment / ASSIGNMENT_FILE).read().sort_by("record_id").combine_chunks()
    sides = np.asarray(table["split"].to_pylist(), dtype=object)
    rows = numbers(table["row"]).astype(np.int64)
    items = np.flatnonzero(sides == "evaluation")
    evaluation = EvaluationSide(validated, rows[items], config, fixed)
    semantic = None
    if embeddings is not None and config.semantic.mode != "off":
        semantic = SemanticCheck(validated, rows[items], embeddings, config.semantic, config.worst_pairs)

    leaks: dict[int, Leak] = {}
    rows_by_method = dict.fromkeys([*METHODS, *([SAME_MEANING] if semantic and semantic.removes else [])], 0)
    closest = Closest(config.worst_pairs)
    removed = Closest(config.worst_pairs)
    done = 0
    left_out = LeftOut()
    for places, found, cut in _compared(evaluation, _other_rows(validated, rows, sides)):
        meant = [semantic.found(rows[places])] if semantic else []
        for one in [*found, *(meant if semantic and semantic.removes else [])]:
            hits = one.values >= one.threshold
            rows_by_method[one.method] += len(set(one.rows[hits].tolist()))
            _keep_strongest(leaks, one, places, items, hits)
        leaking = np.array([place in leaks for place in places.tolist()], dtype=bool)
        for one in [*found, *meant]:
            left = semantic.closest if semantic and one.method == SAME_MEANING else closest
            for list_of_pairs, chosen in ((removed, leaking[one.rows]), (left, ~leaking[one.rows])):
                list_of_pairs.add(
                    one.method, items[one.items[chosen]], places[one.rows[chosen]], one.values[chosen]
                )
        done += places.size
        left_out += cut
        progress(STAGE, done, table.num_rows - items.size)

    if leaks and config.on_leak == "fail":
        raise LeakageError(_refusal(leaks, rows_by_method, table))
    leaking_places = np.array(sorted(leaks), dtype=np.int64)
    keep = np.ones(table.num_rows, dtype=bool)
    keep[leaking_places] = False
    if not (keep & (sides == "train")).any():
        raise TooFewRecordsError(
            f"All {int((sides == 'train').sum())} training rows overlap with the {items.size} evaluation items. Read "
            "more of the log, or set data_split_config.eval_size lower; where users' messages share a long text (a "
            "template) that was not recognised as fixed, raise leakage_config.similarity_threshold and "
            "leakage_config.ngram_overlap."
        )
    pq.write_table(table.filter(flags(keep)).cast(ASSIGNMENT), out / ASSIGNMENT_FILE)
    _write_leaks(validated, out, table, leaks, constants)
    document = certificate(
        validated,
        table,
        keep,
        config,
        rows_by_method=rows_by_method,
        closest=closest.pairs(table),
        removed=removed.pairs(table),
        fixed_text=fixed.report(left_out),
        same_meaning=semantic.report(table) if semantic else None,
    )
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (out / CERTIFICATE_FILE).write_text(text, encoding="utf-8")
    progress(STAGE, table.num_rows - items.size, table.num_rows - items.size)
    return document


def _compared(
    evaluation: EvaluationSide, batches: Iterator[tuple[Indices, pa.RecordBatch]]
) -> Iterator[tuple[Indices, list[Found], LeftOut]]:
    """The batches' places, what was found of them, and how much of their texts was fixed, in order."""

    def compare(places_and_rows: tuple[Indices, pa.RecordBatch]) -> tuple[Indices, list[Found], LeftOut]:
        places, rows = places_and_rows
        found, left_out = evaluation.compare(rows)
        return places, [one for one in found if one.rows.size], left_out

    return side_by_side(compare, batches)


def _other_rows(
    validated: Path, rows: Indices, sides: npt.NDArray[np.object_]
) -> Iterator[tuple[Indices, pa.RecordBatch]]:
    """Yield the training and validation rows, with their positions in the assignment, of which `rows` are the rows."""
    position = np.full(int(rows.max(initial=-1)) + 1, -1, dtype=np.int64)
    position[rows] = np.arange(rows.size)
    for first, batch in read_batches(validated, ["text", "roles", "request_hash"], rows=BATCH_ROWS):
        places = position[first : first + batch.num_rows]
        wanted = np.flatnonzero(places >= 0)
        wanted = wanted[sides[places[wanted]] != "evaluation"]
        if wanted.size:
            yield places[wanted], batch.take(row_numbers(wanted))


def _keep_strongest(
    leaks: dict[int, Leak], found: Found, places: Indices, items: Indices, hits: npt.NDArray[np.bool_]
) -> None:
    """Remember for each leaking row its closest item; of equally close ones the first by id."""
    rows = (places[found.rows[hits]].tolist(), items[found.items[hits]].tolist(), found.values[hits].tolist())
    for place, item, value in zip(*rows, strict=True):
        known = leaks.get(place)
        nearer = known is None or value > known.value
        if nearer or (known and value == known.value and found.method == known.method and item < known.item):
            leaks[place] = Leak(found.method, item, value)


def _refusal(leaks: Mapping[int, Leak], rows_by_method: Mapping[str, int], table: pa.Table) -> str:
    ways = ", ".join(f"{method} {count}" for method, count in rows_by_method.items() if count)
    place, leak = next(iter(sorted(leaks.items())))
    pair = f"{table['record_id'][place].as_py()} and evaluation item {table['record_id'][leak.item].as_py()}"
    return (
        f"{len(leaks)} training or validation rows overlap with evaluation ({ways}), for example {pair}. Set "
        "leakage_config.on_leak to 'remove' to leave them out, or raise the thresholds of leakage_config."
    )


def _write_leaks(
    validated: Path,
    out: Path,
    table: pa.Table,
    leaks: Mapping[int, Leak],
    constants: Mapping[str, str] | None,
) -> None:
    names = table["record_id"]
    rows = numbers(table["row"])
    places = sorted(leaks, key=lambda place: int(rows[place]))

    def why(place: int) -> tuple[str, str]:
        leak = leaks[place]
        item = names[leak.item].as_py()
        return "leak", f"Overlaps with evaluation item {item}: {leak.method} {leak.value:.3f}."

    reasons = [why(place) for place in places]
    write_rejected(RejectedRows(validated, out, rows[np.array(places, dtype=np.int64)], reasons, constants))
