"""At what size reading and validating by partitions pays.

    python -m benchmarks.partitions 50000 200000

For each size: a generated log (`benchmarks.generate_log`) in files of 25,000 records, extracted and validated once in
one process as a run without a cluster does it (which validates on every core itself), and once by partitions in as
many processes as there are cores. `workers` 1 is the cost of partitions themselves. Columns: seconds of wall time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.generate_log import CLIENT, WORKLOAD, write_log
from blocks.logs.file_log_store import FileLogStore
from blocks.logs.log_partitions import LogPartition, partitions_of
from blocks.ports import LogQuery
from flywheel.config import ValidationConfig
from flywheel.curation.extraction import extract
from flywheel.curation.partitions import curate_part, join_refused, join_validated
from flywheel.curation.validation.validate_stage import Validation
from flywheel.progress import silent

FILE_RECORDS = 25_000
QUERY = LogQuery(WORKLOAD, CLIENT)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("records", type=int, nargs="+")
    sizes = parser.parse_args().records
    cores = len(os.sched_getaffinity(0))
    print(f"{'records':>9} {'MB':>7} {'one process':>12} {'workers 1':>10} {'workers':>8} {'cluster':>8}")
    for records in sizes:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            log = home / "log"
            log.mkdir()
            for number, first in enumerate(range(0, records, FILE_RECORDS)):
                write_log(log / f"{number:04d}.jsonl", min(FILE_RECORDS, records - first), seed=number)
            for truth in log.glob("*.npz"):
                truth.unlink()
            megabytes = sum(path.stat().st_size for path in log.iterdir()) / 1e6
            alone = _seconds(lambda log=log, home=home: _alone(log, home / "alone"))
            one = _seconds(lambda log=log, home=home: _apart(log, home / "one", 1))
            many = _seconds(lambda log=log, home=home: _apart(log, home / "many", cores))
            print(
                f"{records:>9,} {megabytes:>7,.0f} {alone:>12.1f} {one:>10.1f} {cores:>8} {many:>8.1f}",
                flush=True,
            )


def _seconds(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _alone(log: Path, out: Path) -> None:
    with Validation(out / "validated", ValidationConfig(), silent) as validation:
        counts = extract(FileLogStore(log).read(QUERY, silent), out / "extracted", silent, validation.add)
        validation.finish(counts["read"])
    shutil.rmtree(out)


def _apart(log: Path, out: Path, workers: int) -> None:
    """With the start of the cluster, which a cluster that is up already does not cost."""
    from distributed import Client, LocalCluster

    partitions = partitions_of(log, 64_000_000)
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        parts = client.gather(client.map(_partition, [(log, out, partition) for partition in partitions]))
    joined = out / "joined"
    joined.mkdir()
    join_validated(parts, joined)
    join_refused(parts, out)
    shutil.rmtree(out)


def _partition(job: tuple[Path, Path, LogPartition]) -> Path:
    log, out, partition = job
    place = out / f"{partition.number:05d}"
    place.mkdir(parents=True)
    store = FileLogStore(log, only=partition.files)
    curate_part(store.read(QUERY, silent), place, ValidationConfig(), silent)
    return place


if __name__ == "__main__":
    main()
