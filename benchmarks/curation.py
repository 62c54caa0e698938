"""How fast `flywheel curate` is, what it holds in memory, and how well it finds repeats.

    python -m benchmarks.curation 10000 100000 1000000

For each size: a generated log (`benchmarks.generate_log`), `flywheel curate --limit none` on it in a process
of its own, and its output held against the truth. The columns:

- wall, cpu: seconds; cpu is user + system of the command and all its workers, less touched by what else runs.
- peak all: highest resident MB of the command and its workers together, sampled; a shared page counts once.
- peak one: highest resident MB of any one of these processes, from the operating system.
- exact, recall: of the planted repeats and near-repeats, the share that was merged with the message that they
  repeat, or stayed on one side with it.
- precision: of the records joined with another, the share that repeats it.
- across: evaluation items of a sample that have a near-duplicate in training or validation, by the exact
  Jaccard similarity of the characters as they stand; none of the code under test has a part in it. closest:
  the highest.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.generate_log import CLIENT, EXACT, WORKLOAD, truth_path, write_log

EVAL_SIZE = 1_000
SAMPLE = 200  # evaluation items compared with every training row
THRESHOLD, SHINGLE = 0.8, 5
SAMPLING_SECONDS = 0.25  # looking at a process holds it up
PR_SET_CHILD_SUBREAPER = 36


class Cost(NamedTuple):
    """What one command took: seconds and megabytes."""

    wall: float
    cpu: float
    peak_all: float
    peak_one: float


def measure(command: list[str]) -> Cost:
    """Run a command to its end. Raises: CalledProcessError."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = _Peak(process.pid)
    code = process.wait()
    wall = time.perf_counter() - start
    with suppress(ChildProcessError):
        while True:  # what the command left to end by itself is ours to wait for, and counted then
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        raise subprocess.CalledProcessError(code, command)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, peak.stop() / 1e6, after.ru_maxrss * 1024 / 1e6)


class _Peak:
    """Watches the resident memory of a process and all that descend from it, until stopped."""

    def __init__(self, pid: int) -> None:
        self._pid, self._highest, self._stopped = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> int:
        """Highest sum in bytes."""
        self._stopped.set()
        self._thread.join()
        return self._highest

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLING_SECONDS):
            self._highest = max(self._highest, sum(map(_resident, _family(self._pid))))


def _family(pid: int) -> list[int]:
    members = [pid]
    for member in members:  # grows while it is walked
        try:
            for task in Path(f"/proc/{member}/task").iterdir():
                members += map(int, (task / "children").read_text().split())
        except OSError:  # gone in the meantime
            continue
    return members


def _resident(pid: int) -> int:
    """Proportional set size in bytes: a page that several processes share counts once in all."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0)


class Quality(NamedTuple):
    """How the output compares with the truth."""

    recall: float
    precision: float
    exact_recall: float
    across: int
    closest: float


def judge(log: Path, out: Path) -> Quality:
    """Compare the datasets in `out` with the truth about the log."""
    with np.load(truth_path(log)) as truth:
        groups, kinds = truth["group"], truth["kind"]
    clusters = {}
    for name in ("train/index.jsonl", "base/eval_data.jsonl"):
        for line in _lines(out / name):
            row = json.loads(line)
            clusters[int(row["id"].removeprefix("r-"))] = row["cluster"]
    reasons = Counter(json.loads(line)["reason"] for line in _lines(out / "rejected.jsonl"))
    # A group of m different texts is found whole when m - 1 of them are joined to another of the group.
    # Counted from what was kept: a group that is left in c clusters missed c - 1.
    texts = Counter(groups[kinds != EXACT].tolist())
    kept: dict[int, set[str]] = {group: set() for group in texts}
    inside: dict[str, set[int]] = {}
    for line_number, cluster in clusters.items():
        group = int(groups[line_number])
        kept[group].add(cluster)
        inside.setdefault(cluster, set()).add(group)
    planted = sum(count - 1 for count in texts.values())
    missed = sum(max(0, len(kept[group]) - 1) for group in texts)
    wrong = sum(len(together) - 1 for together in inside.values()) + sum(not kept[group] for group in texts)
    found = planted - missed
    across, closest = _across(out)
    return Quality(
        recall=found / max(1, planted),
        precision=found / max(1, found + wrong),
        exact_recall=reasons["exact_duplicate"] / max(1, int((kinds == EXACT).sum())),
        across=across,
        closest=closest,
    )


def _across(out: Path) -> tuple[int, float]:
    """Items of the sample with a near-duplicate in training or validation, and the highest similarity met.

    A row as similar as the threshold holds at least one of an item's rarest shingles: of n, those that it can
    do without and one more. Rows that hold one are compared exactly; so no near-duplicate is passed over.
    """
    items = [
        _shingles(json.loads(line)["request"]["messages"]) for line in _lines(out / "base/eval_data.jsonl")
    ]
    items = items[:: max(1, len(items) // SAMPLE)][:SAMPLE]
    trained = [out / "train/training.jsonl", out / "train/validation.jsonl"]
    common = Counter[str]()
    for line in itertools.islice(_lines(trained[0]), 5_000):
        common.update(_shingles(json.loads(line)["messages"]))
    holders: dict[str, list[int]] = {}
    for number, shingles in enumerate(items):
        enough = len(shingles) - math.ceil(THRESHOLD * len(shingles)) + 1
        for shingle in sorted(shingles, key=lambda s: (common[s], s))[:enough]:
            holders.setdefault(shingle, []).append(number)
    worst = [0.0] * len(items)
    for line in itertools.chain.from_iterable(map(_lines, trained)):
        row = _shingles(json.loads(line)["messages"])
        for number in {number for shingle in row & holders.keys() for number in holders[shingle]}:
            shared = len(items[number] & row)
            worst[number] = max(worst[number], shared / (len(items[number]) + len(row) - shared))
    return sum(value >= THRESHOLD for value in worst), max(worst, default=0.0)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _shingles(messages: list[dict[str, Any]]) -> set[str]:
    text = next(message["content"] for message in messages if message["role"] == "user")
    return {text[start : start + SHINGLE] for start in range(len(text) - SHINGLE + 1)}


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("records", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument(
        "--folder", type=Path, help="keep logs and datasets here; default: a temporary folder"
    )
    parser.add_argument("--no-judge", action="store_true", help="measure time and memory alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(
            f"{'records':>9} {'MB':>6} {'wall s':>7} {'cpu s':>7} {'µs/rec':>7} {'peak all':>9} {'peak one':>9} "
            f"{'exact':>7} {'recall':>7} {'precis.':>7} {'across':>7} {'closest':>7}",
            flush=True,
        )
        costs = [_row(records, folder, judged=not given.no_judge) for records in given.records]
        for (small, cheap), (large, dear) in itertools.pairwise(costs):
            growth = (dear.cpu / cheap.cpu) / (large / small)
            print(f"{small} to {large} records: cost per record grows {growth:.2f}-fold (cpu)")


def _row(records: int, folder: Path, judged: bool) -> tuple[int, Cost]:
    log, out = folder / f"log-{records}.jsonl", folder / f"datasets-{records}"
    if not truth_path(log).exists():
        write_log(log, records)
    arguments = ["--logs", str(log), "--workload", WORKLOAD, "--client", CLIENT, "--out", str(out)]
    sizes = ["--limit", "none", "--eval-size", str(min(EVAL_SIZE, records // 10))]
    cost = measure([sys.executable, "-m", "flywheel.cli.main", "curate", *arguments, *sizes, "--json"])
    print(
        f"{records:>9} {log.stat().st_size / 1e6:>6.0f} {cost.wall:>7.1f} {cost.cpu:>7.1f} "
        f"{cost.cpu / records * 1e6:>7.0f} {cost.peak_all:>9.0f} {cost.peak_one:>9.0f}",
        end="",
        flush=True,
    )
    if judged:
        quality = judge(log, out)
        print(
            f" {quality.exact_recall:>7.4f} {quality.recall:>7.4f} {quality.precision:>7.4f} "
            f"{quality.across:>7} {quality.closest:>7.3f}",
            end="",
        )
    print(flush=True)
    return records, cost


if __name__ == "__main__":
    main()
