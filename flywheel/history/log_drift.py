"""Whether an evaluation set still stands for the newest calls of a log: a look at a few, outside a run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from flywheel.config import FlywheelConfig
from flywheel.curation.batches import LogBatch
from flywheel.curation.extraction import extract
from flywheel.curation.intake import Intake
from flywheel.curation.validation.validate_stage import validate
from flywheel.findings.drift import Drift
from flywheel.history.carry import kept_batches
from flywheel.history.memory import kept_ids, read_kept, read_memory
from flywheel.history.traffic_profile import drift_since
from flywheel.progress import silent


def drift_of_log(
    memory: Path, batches: Iterable[LogBatch], config: FlywheelConfig, stale_from: float
) -> Drift | None:
    """The calls of the batches that were logged since the set of `memory` was drawn; None as for `drift_since`.

    They are read, redacted and validated as a run would, in a directory that goes away.
    """
    kept = read_kept(memory)
    known = kept_batches(kept, range(kept.num_rows))
    with tempfile.TemporaryDirectory(prefix="flywheel-drift-") as place:
        extracted, validated = Path(place) / "extracted", Path(place) / "validated"
        extract(chain(known, batches), extracted, silent, intake=Intake(config), nothing_is_fine=True)
        validate(extracted, validated, config.validation_config, silent, workers=1)
        return drift_since(read_memory(memory).drawn_from, validated, kept_ids(kept), stale_from)
