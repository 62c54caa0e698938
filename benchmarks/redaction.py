"""What redaction costs beside validation.

    python -m benchmarks.redaction 20000

A generated log (`benchmarks.generate_log`) of which a share of the records holds an e-mail address with a telephone
number, or a card with an IP address. Shown are seconds of processor for redacting and for validating it, one process,
and what both come to as a multiple of validation alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.generate_log import CLIENT, WORKLOAD, write_log
from blocks.logs.file_log_store import FileLogStore
from blocks.ports import LogQuery
from flywheel.config import RedactionConfig, ValidationConfig
from flywheel.curation.extraction import extract
from flywheel.curation.validation.validate_stage import validate
from flywheel.progress import silent
from flywheel.redaction.batches import Redaction

SHARES = (0.0, 0.1, 1.0)
PERSONAL = {
    "Thank you for your help.": "Thank you, anna.b{0}@example.com or +48 601 234 567",
    "Kind regards from a customer.": "Card 4111 1111 1111 1111, from 10.2.3.4",
    "Please answer me soon": "Please answer anna{0}@example.org",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("records", type=int)
    records = parser.parse_args().records
    print(f"{'share':>6} {'redacted':>9} {'redaction':>10} {'validation':>11} {'together':>9}")
    for share in SHARES:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log.jsonl"
            write_log(log, records)
            _plant(log, share)
            batches = list(FileLogStore(log).read(LogQuery(WORKLOAD, CLIENT), silent))
            redaction = Redaction(RedactionConfig(enabled=True))
            began = time.process_time()
            clean = list(redaction.of(batches))
            redacting = time.process_time() - began
            extract(clean, Path(folder) / "extracted", silent)
            began = time.process_time()
            validate(Path(folder) / "extracted", Path(folder) / "out", ValidationConfig(), silent, workers=1)
            validating = time.process_time() - began
        print(
            f"{share:>6.0%} {redaction.counts()['records']:>9,} {redacting:>8.2f} s {validating:>9.2f} s "
            f"{(redacting + validating) / validating:>8.1f}x",
            flush=True,
        )


def _plant(log: Path, share: float) -> None:
    lines = log.read_text().splitlines()
    for number in range(len(lines)):
        if number * 7919 % 1000 < 1000 * share:
            for old, new in PERSONAL.items():
                lines[number] = lines[number].replace(old, new.format(number))
    log.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
