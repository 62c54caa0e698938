"""How far a run's traffic has moved since its evaluation set was drawn."""

from __future__ import annotations

from blocks.ports import DatasetStore
from flywheel.config import FlywheelConfig
from flywheel.findings.drift import Drift
from flywheel.history.memory import kept_ids, read_kept, read_memory
from flywheel.history.traffic_profile import drift_since
from tasks.curating.curation import CuratedData


def drift_of_data(config: FlywheelConfig, data: CuratedData, store: DatasetStore) -> Drift | None:
    """The calls that the run read beside those that the set kept by earlier runs was drawn from.

    None without such a set, without newer calls, and where the run read no log of its own.
    """
    history = data.history
    if not config.history_config.keep_evaluation_set or history.memory is None:
        return None
    memory = store.open(history.memory.ref)
    kept = kept_ids(read_kept(memory))
    validated = store.open(data.validated.ref)
    return drift_since(read_memory(memory).drawn_from, validated, kept, config.history_config.stale_from)
