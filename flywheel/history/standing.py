"""What a run's memory says of the records of today's log."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from flywheel.config import HistoryConfig
from flywheel.curation.schema import DEDUPLICATED_FILE
from flywheel.curation.splitting.split_history import Standing
from flywheel.curation.texts.fixed_text import NO_FIXED_TEXT, FixedText
from flywheel.history.ledger import known_clusters, read_ledger
from flywheel.history.memory import LEDGER_FILE, kept_ids, read_kept, read_memory
from flywheel.history.traffic_profile import drift_since


def standing_of(
    memory: Path,
    validated: Path,
    deduplicated: Path,
    config: HistoryConfig,
    threshold: float,
    fixed: FixedText = NO_FIXED_TEXT,
) -> Standing:
    """Which items are kept, which clusters were used before, and whether the kept set is worn out, or stale.

    Args:
        threshold: Similarity from which conversations are near-duplicates.
        fixed: Text of the log that is not looked at.
    """
    with pq.ParquetFile(deduplicated / DEDUPLICATED_FILE) as file:
        records = file.read(["row", "cluster"], use_threads=False)
    known = known_clusters(read_ledger(memory / LEDGER_FILE), validated, records, threshold, fixed)
    recalled, kept = read_memory(memory), kept_ids(read_kept(memory))
    worn_out = recalled.holdout is not None and recalled.holdout.uses >= config.holdout_budget
    drift = (
        drift_since(recalled.drawn_from, validated, kept, config.stale_from)
        if config.renew_when_stale
        else None
    )
    return Standing(
        kept=frozenset(kept),
        evaluated=known.evaluated,
        trained=known.trained,
        renew=worn_out or (drift is not None and drift.stale),
        fresh_share=config.fresh_share,
    )
