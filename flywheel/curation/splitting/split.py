"""Give every cluster one side: train, validation or evaluation.

Whole clusters only, so no near-duplicate and no conversation has a foot on both sides. Within a side clusters are
drawn in the order of a hash of the seed and the cluster's name: the same seed gives the same split whatever the
order of the records, and most of it stays when records are added.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.config import DataSplitConfig
from flywheel.curation.arrow_columns import column
from flywheel.curation.schema import ASSIGNMENT, ASSIGNMENT_FILE, DEDUPLICATED_FILE
from flywheel.curation.splitting.subset import complete, nearest_sums, reachable_sums
from flywheel.curation.validated_table import numbers, row_numbers
from flywheel.errors import TooFewRecordsError
from flywheel.progress import Progress

SIDES = ("train", "validation", "evaluation")
_ALIKE = (
    "Where messages of users share a long text, such as a template, they count as near-duplicates: raise "
    "dedup_config.similarity_threshold, and with it leakage_config.similarity_threshold and .ngram_overlap."
)


class Cluster(NamedTuple):
    """A group of records that stay together."""

    number: int
    size: int
    classes: tuple[tuple[str, int], ...]  # answer classes and their records, by name
    newest: float  # time of its newest record; minus infinity where none has one


def split(deduplicated: Path, out: Path, config: DataSplitConfig, progress: Progress) -> dict[str, Any]:
    """Write `assignment.parquet` into `out`.

    The evaluation set has exactly `eval_size` records, with each answer class's share kept as far as whole clusters
    allow; a class of one record goes to training. Validation is drawn in the same way from the rest and is as close
    to `val_ratio` of it as clusters allow, at least one record where the ratio is above 0 and two clusters are left.

    Returns:
        `train`, `validation` and `evaluation`: records of each side; `clusters` and `classes`: the same counts of
        clusters, and of each answer class.
    Raises:
        TooFewRecordsError: The records do not allow it; the message has the numbers and the setting to change.
    """
    progress("split", 0, 100)
    table = pq.ParquetFile(deduplicated / DEDUPLICATED_FILE).read().sort_by("record_id")
    encoded = table["cluster"].combine_chunks().dictionary_encode()
    names, cluster_of = encoded.dictionary.to_pylist(), numbers(encoded.indices)
    clusters = clusters_of(table, cluster_of)
    _check_feasible(table, clusters, config)
    drawn = [clusters[number] for number in drawing_order(names, config.random_seed)]
    by_time = config.method == "by_time"
    order = sorted(drawn, key=lambda cluster: -cluster.newest) if by_time else drawn
    evaluation = draw(order, config.eval_size, stratified=not by_time)
    held_out = {cluster.number for cluster in evaluation}
    rest = [cluster for cluster in drawn if cluster.number not in held_out]
    size = validation_size(rest, config.val_ratio)
    validation = draw(rest, size, stratified=True) if size else []

    side_of = np.full(len(clusters), SIDES.index("train"), dtype=np.int64)
    side_of[[cluster.number for cluster in validation]] = SIDES.index("validation")
    side_of[[cluster.number for cluster in evaluation]] = SIDES.index("evaluation")
    sides = column(SIDES, pa.string()).take(row_numbers(side_of[cluster_of]))
    pq.write_table(table.append_column("split", sides).cast(ASSIGNMENT), out / ASSIGNMENT_FILE)
    progress("split", 100, 100)
    return _counts(clusters, side_of.tolist())


def clusters_of(table: pa.Table, cluster_of: npt.NDArray[np.int32]) -> list[Cluster]:
    """The clusters by their numbers, given the number of each row's cluster."""
    answer_classes = table["answer_class"].combine_chunks().dictionary_encode()
    labels, kinds = answer_classes.dictionary.to_pylist(), numbers(answer_classes.indices)
    times = numbers(table["timestamp"], float("-inf"))
    order = np.argsort(cluster_of, kind="stable")
    sizes = np.bincount(cluster_of)
    begins = np.cumsum(sizes) - sizes
    newest = np.maximum.reduceat(times[order], begins) if begins.size else times
    first_kinds = kinds[order[begins]].tolist()
    alone = [
        ((label, 1),) for label in labels
    ]  # most clusters are one record: they share what they look like
    clusters = []
    for number, (size, begin, time) in enumerate(
        zip(sizes.tolist(), begins.tolist(), newest.tolist(), strict=True)
    ):
        classes = alone[first_kinds[number]]
        if size > 1:
            members = Counter(labels[kind] for kind in kinds[order[begin : begin + size]].tolist())
            classes = tuple(sorted(members.items()))
        clusters.append(Cluster(number, size, classes, time))
    return clusters


def check_enough(table: pa.Table, clusters: Sequence[Cluster], config: DataSplitConfig) -> str:
    """What was read, in words. Raises TooFewRecordsError where no split at all makes sense."""
    rows = table.num_rows
    usable = sum(table["weight"].to_pylist())
    found = f"{usable} usable {_records(usable)} read, {rows} left after duplicates were removed"
    if not rows:
        raise TooFewRecordsError(
            "No usable records were read. Check logs.path, workload_id, client_id and the time window."
        )
    if rows < config.min_total_records:
        advice = f"Read more of the log, or set it to at most {rows}."
        if usable >= config.min_total_records:
            advice += f" {_ALIKE}"
        raise TooFewRecordsError(
            f"{found}; data_split_config.min_total_records asks for {config.min_total_records}. {advice}"
        )
    if len(clusters) == 1:
        raise TooFewRecordsError(
            f"{found}, and all of them are near-duplicates or turns of one conversation, so none can be held out "
            f"fairly. Read more of the log. {_ALIKE}"
        )
    return found


def _check_feasible(table: pa.Table, clusters: Sequence[Cluster], config: DataSplitConfig) -> None:
    """Raise TooFewRecordsError unless the evaluation set can be filled exactly and something is left to train on."""
    found = check_enough(table, clusters, config)
    most = table.num_rows - 1
    sums = reachable_sums((cluster.size for cluster in clusters), most)
    if config.eval_size <= most and sums >> config.eval_size & 1:
        return
    below, above = nearest_sums(sums, min(config.eval_size, most), most)
    if config.eval_size > most:
        raise TooFewRecordsError(
            f"{found}; with data_split_config.eval_size {config.eval_size} nothing would be left to train on. Read "
            f"more of the log, or set it to at most {below}."
        )
    sizes = " or ".join(str(size) for size in (below, above) if size is not None)
    largest = max(cluster.size for cluster in clusters)
    raise TooFewRecordsError(
        f"{found} in {len(clusters)} groups that must stay together (the largest has {largest}), and no choice of "
        f"groups has exactly {config.eval_size} records. Set data_split_config.eval_size to {sizes}."
    )


def _records(count: int) -> str:
    return "record was" if count == 1 else "records were"


def drawing_order(names: Sequence[str], seed: int) -> list[int]:
    """Numbers of the clusters in the order of a hash of seed and name."""
    hashes = [hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest() for name in names]
    order: list[int] = np.argsort(np.frombuffer(b"".join(hashes), dtype=">u8"), kind="stable").tolist()
    return order


def class_counts(clusters: Iterable[Cluster]) -> dict[str, int]:
    """Records of each answer class, by name."""
    total: Counter[str] = Counter()
    for classes, clusters_alike in Counter(cluster.classes for cluster in clusters).items():
        for name, count in classes:
            total[name] += count * clusters_alike
    return dict(sorted(total.items()))


def largest_remainder(counts: Mapping[str, int], total: int) -> dict[str, int]:
    """Shares of `total` in proportion to counts, as whole numbers that add up to it. None exceeds its count as long
    as `total` is at most the sum of the counts. Ties go to the first name. Source: the method of Hamilton and Hare.
    """
    everything = sum(counts.values())
    if not everything:
        return {}
    quotas = {name: count * total // everything for name, count in counts.items()}
    left = total - sum(quotas.values())
    by_remainder = sorted(counts, key=lambda name: (-(counts[name] * total % everything), name))
    for name in by_remainder[:left]:
        quotas[name] += 1
    return quotas


def draw(clusters: Sequence[Cluster], target: int, *, stratified: bool) -> list[Cluster]:
    """Clusters with `target` records in all, which must be a reachable sum; earlier clusters are preferred.

    Stratified: first those that fit every class's quota, then those that hold a class which is short, then any;
    those of nothing but classes of one record come last. What is still missing is found by exchanging the last.
    """
    counts = class_counts(clusters)
    common = {name: count for name, count in counts.items() if count > 1}
    quotas = largest_remainder(common, min(target, sum(common.values())))

    def fits(cluster: Cluster) -> bool:
        return all(quotas.get(name, 0) >= count for name, count in cluster.classes)

    def helps(cluster: Cluster) -> bool:
        return any(quotas.get(name, 0) > 0 for name, _ in cluster.classes)

    def is_common(cluster: Cluster) -> bool:
        return any(name in common for name, _ in cluster.classes)

    rules: list[Callable[[Cluster], bool]] = [fits, helps, is_common] if stratified else []
    chosen: list[int] = []
    left = list(range(len(clusters)))
    need = target
    for rule in [*rules, _any]:
        passed_over = []
        for place, index in enumerate(left):
            if need == 0:
                passed_over += left[place:]
                break
            cluster = clusters[index]
            if cluster.size > need or not rule(cluster):
                passed_over.append(index)
                continue
            chosen.append(index)
            need -= cluster.size
            for name, count in cluster.classes:
                quotas[name] = quotas.get(name, 0) - count
        left = passed_over
    if need:
        exact = complete(chosen, left, [cluster.size for cluster in clusters], target)
        if exact is None:
            raise ValueError(f"no choice of clusters has {target} records")
        chosen = exact
    return [clusters[index] for index in chosen]


def _any(_: Cluster) -> bool:
    return True


def validation_size(clusters: Sequence[Cluster], ratio: float) -> int:
    """Records of validation: nearest to the ratio that whole clusters allow, with one left for training."""
    rows = sum(cluster.size for cluster in clusters)
    if not ratio or len(clusters) < 2:
        return 0
    target = min(max(int(rows * ratio + 0.5), 1), rows - 1)
    below, above = nearest_sums(
        reachable_sums((cluster.size for cluster in clusters), rows - 1), target, rows - 1
    )
    candidates = [size for size in (below, above) if size is not None]
    return min(candidates, key=lambda size: (abs(size - target), size))


def _counts(clusters: Sequence[Cluster], side_of: Sequence[int]) -> dict[str, Any]:
    members: list[list[Cluster]] = [[] for _ in SIDES]
    for cluster in clusters:
        members[side_of[cluster.number]].append(cluster)
    by_side = dict(zip(SIDES, members, strict=True))
    return {
        **{side: sum(cluster.size for cluster in group) for side, group in by_side.items()},
        "clusters": {side: len(group) for side, group in by_side.items()},
        "classes": {side: class_counts(group) for side, group in by_side.items()},
    }
