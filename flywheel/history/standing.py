"""What a run's memory says of the records of today's log."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from flywheel.config import HistoryConfig
from flywheel.curation.fixed_text import NO_FIXED_TEXT, FixedText
from flywheel.curation.schema import DEDUPLICATED_FILE
from flywheel.curation.split_history import Standing
from flywheel.history.ledger import known_clusters, read_ledger
from flywheel.history.memory import LEDGER_FILE, kept_ids, read_kept, read_memory


def standing_of(
    memory: Path,
    validated: Path,
    deduplicated: Path,
    config: HistoryConfig,
    threshold: float,
    fixed: FixedText = NO_FIXED_TEXT,
) -> Standing:
    """Which items are kept, which clusters were used before, and whether the kept set is worn out.

    Args:
        threshold: Similarity from which conversations are near-duplicates.
        fixed: Text of the log that is not looked at.
    """
    with pq.ParquetFile(deduplicated / DEDUPLICATED_FILE) as file:
        records = file.read(["row", "cluster"], use_threads=False)
    known = known_clusters(read_ledger(memory / LEDGER_FILE), validated, records, threshold, fixed)
    holdout = read_memory(memory).holdout
    return Standing(
        kept=frozenset(kept_ids(read_kept(memory))),
        evaluated=known.evaluated,
        trained=known.trained,
        renew=holdout is not None and holdout.uses >= config.holdout_budget,
        fresh_share=config.fresh_share,
    )
