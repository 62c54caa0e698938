"""The split where earlier runs have used some of the records.

Items of the kept evaluation set are evaluated again. What was trained on stays out of evaluation, what was evaluated
stays out of training; as ever it is clusters that have a side. What has none left is held back from the run: records
that were evaluated before and are not kept, and neighbours of kept items. Whatever is new is drawn from clusters that
no run has seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.config import DataSplitConfig
from flywheel.curation.arrow_columns import column
from flywheel.curation.rejected_rows import RejectedRows, write_rejected
from flywheel.curation.schema import ASSIGNMENT, ASSIGNMENT_FILE, DEDUPLICATED_FILE
from flywheel.curation.splitting.split import (
    SIDES,
    Cluster,
    check_enough,
    clusters_of,
    draw,
    drawing_order,
    validation_size,
)
from flywheel.curation.splitting.subset import nearest_sums, reachable_sums
from flywheel.curation.validated_table import flags, numbers, row_numbers
from flywheel.errors import TooFewRecordsError
from flywheel.progress import Progress

Numbers = npt.NDArray[np.int64]
_HELD_BACK = len(SIDES)


class Standing(NamedTuple):
    """What earlier runs did with the records of this one.

    `kept` are the ids of the kept evaluation set, whether they are among the records or not; `evaluated` and `trained`
    name today's clusters that hold something which was used so.
    """

    kept: frozenset[str]
    evaluated: frozenset[str]
    trained: frozenset[str]
    renew: bool  # the kept set is worn out: draw a new one, if there is enough that no run has seen
    fresh_share: float  # of eval_size: unseen records evaluated beside the kept ones


class _Plan(NamedTuple):
    kept: npt.NDArray[np.bool_]  # rows that are evaluated again
    closed: set[int]  # clusters from which nothing else may be taken
    free: set[int]  # clusters that no run has seen
    new: int  # records to add to the kept set
    fresh: int  # records to evaluate beside it, at most
    renewed: bool


def split_with_history(
    deduplicated: Path,
    out: Path,
    config: DataSplitConfig,
    standing: Standing,
    validated: Path,
    progress: Progress,
    constants: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write `assignment.parquet`, and what is held back as `rejected.jsonl`, into `out`.

    Returns:
        As `flywheel.curation.splitting.split.split`, and `held_back`; `kept`, `new` and `fresh` records of the
        evaluation set; `fresh_ids`; `renewed`; `renewal_short`, records that no run has seen where they were too
        few for a new set; `kept_near_trained`, kept items in one cluster with something trained on earlier.
    Raises:
        TooFewRecordsError: What no run has seen is too little for the evaluation set, or nothing is left to train on.
    """
    progress("split", 0, 100)
    table = pq.ParquetFile(deduplicated / DEDUPLICATED_FILE).read().sort_by("record_id").combine_chunks()
    encoded = table["cluster"].combine_chunks().dictionary_encode()
    names, cluster_of = encoded.dictionary.to_pylist(), numbers(encoded.indices)
    clusters = clusters_of(table, cluster_of)
    found = check_enough(table, clusters, config)
    plan = _plan(table, names, cluster_of, clusters, standing, config, found)

    drawn = [clusters[number] for number in drawing_order(names, config.random_seed)]
    by_time = config.method == "by_time"
    order = sorted(drawn, key=lambda cluster: -cluster.newest) if by_time else drawn
    order = [cluster for cluster in order if cluster.number in plan.free]
    new = draw(order, plan.new, stratified=not by_time) if plan.new else []
    order = _without(order, new)
    others = sum(cluster.size for cluster in clusters if cluster.number not in plan.closed | plan.free)
    size = _fresh_size(order, plan.fresh, spare=others > 0)
    fresh = draw(order, size, stratified=not by_time) if size else []
    rest = [cluster for cluster in _without(drawn, [*new, *fresh]) if cluster.number not in plan.closed]
    if not rest:
        raise TooFewRecordsError(
            f"{found}, all of them evaluated in earlier runs or near to what is evaluated, so nothing is left to train "
            "on. Read more of the log, or set history_config.keep_evaluation_set to false to begin anew."
        )
    size = validation_size(rest, config.val_ratio)
    validation = draw(rest, size, stratified=True) if size else []

    side_of = np.full(len(clusters), SIDES.index("train"), dtype=np.int64)
    side_of[sorted(plan.closed)] = _HELD_BACK
    side_of[[cluster.number for cluster in validation]] = SIDES.index("validation")
    side_of[[cluster.number for cluster in (*new, *fresh)]] = SIDES.index("evaluation")
    side_of_row = side_of[cluster_of]
    side_of_row[plan.kept] = SIDES.index("evaluation")
    _write(table, side_of_row, names, cluster_of, standing, validated, out, constants)
    progress("split", 100, 100)
    fresh_rows = np.isin(cluster_of, [cluster.number for cluster in fresh])
    trained = np.array([name in standing.trained for name in names])
    free_records = sum(clusters[number].size for number in plan.free)
    return {
        **_counts(table, side_of_row, cluster_of),
        "held_back": int((side_of_row == _HELD_BACK).sum()),
        "kept": int(plan.kept.sum()),
        "new": sum(cluster.size for cluster in new),
        "fresh": sum(cluster.size for cluster in fresh),
        "fresh_ids": table["record_id"].filter(flags(fresh_rows)).to_pylist(),
        "renewed": plan.renewed,
        "renewal_short": free_records if standing.renew and not plan.renewed else None,
        "kept_near_trained": int((plan.kept & trained[cluster_of]).sum()),
    }


def _plan(
    table: pa.Table,
    names: Sequence[str],
    cluster_of: Numbers,
    clusters: Sequence[Cluster],
    standing: Standing,
    config: DataSplitConfig,
    found: str,
) -> _Plan:
    ids = table["record_id"].to_pylist()
    kept = np.array([name in standing.kept for name in ids], dtype=bool)
    with_kept = set(cluster_of[kept].tolist())
    evaluated = {number for number, name in enumerate(names) if name in standing.evaluated} | with_kept
    trained = {number for number, name in enumerate(names) if name in standing.trained}
    free = set(range(len(names))) - evaluated - trained
    if standing.renew and _reachable(clusters, free, config.eval_size, spare=bool(trained - evaluated)):
        nothing = np.zeros(len(ids), dtype=bool)
        return _Plan(nothing, evaluated, free, config.eval_size, 0, renewed=True)
    new = max(0, config.eval_size - len(standing.kept))
    if new and not _reachable(clusters, free, new, spare=bool(trained - evaluated)):
        raise TooFewRecordsError(_too_few(found, clusters, free, new, standing, config))
    if kept.sum() > config.eval_size:
        kept = _first(kept, ids, config)
    fresh = round(standing.fresh_share * config.eval_size) if standing.kept else 0
    return _Plan(kept, evaluated, free, new, fresh, renewed=False)


def _reachable(clusters: Sequence[Cluster], free: set[int], size: int, *, spare: bool) -> bool:
    """Whether whole free clusters have `size` records, with something left to train on (`spare`: there is anyway)."""
    most = sum(clusters[number].size for number in free) - (0 if spare else 1)
    if size > most:
        return False
    return bool(reachable_sums((clusters[number].size for number in free), size) >> size & 1)


def _too_few(
    found: str,
    clusters: Sequence[Cluster],
    free: set[int],
    new: int,
    standing: Standing,
    config: DataSplitConfig,
) -> str:
    unseen = sum(clusters[number].size for number in free)
    kept = f" beside the {len(standing.kept)} that are kept" if standing.kept else ""
    smaller = f", set it to {len(standing.kept)}" if standing.kept else ""
    return (
        f"{found}, but only {unseen} of them were never used by an earlier run, and data_split_config.eval_size "
        f"{config.eval_size} needs {new}{kept}: what was trained on is not evaluated. Read newer logs{smaller}, or set "
        "history_config.keep_evaluation_set to false to begin anew."
    )


def _first(kept: npt.NDArray[np.bool_], ids: Sequence[str], config: DataSplitConfig) -> npt.NDArray[np.bool_]:
    """As many of the kept rows as are asked for, in the order of a hash of seed and id."""
    rows = np.flatnonzero(kept)
    order = drawing_order([ids[row] for row in rows.tolist()], config.random_seed)
    chosen = np.zeros_like(kept)
    chosen[rows[order[: config.eval_size]]] = True
    return chosen


def _fresh_size(order: Sequence[Cluster], most: int, *, spare: bool) -> int:
    """Records of the fresh slice: as near below `most` as whole clusters come, with something left to train on."""
    available = sum(cluster.size for cluster in order) - (0 if spare else 1)
    target = min(most, available)
    if target < 1:
        return 0
    below, _ = nearest_sums(reachable_sums((cluster.size for cluster in order), target), target, target)
    return below or 0


def _without(clusters: Sequence[Cluster], taken: Sequence[Cluster]) -> list[Cluster]:
    gone = {cluster.number for cluster in taken}
    return [cluster for cluster in clusters if cluster.number not in gone]


def _write(
    table: pa.Table,
    side_of_row: Numbers,
    names: Sequence[str],
    cluster_of: Numbers,
    standing: Standing,
    validated: Path,
    out: Path,
    constants: Mapping[str, str] | None,
) -> None:
    stays = side_of_row != _HELD_BACK
    sides = column([*SIDES, ""], pa.string()).take(row_numbers(side_of_row))
    assignment = table.append_column("split", sides)
    held = np.flatnonzero(~stays)
    if held.size:
        assignment = assignment.filter(flags(stays))
    pq.write_table(assignment.cast(ASSIGNMENT), out / ASSIGNMENT_FILE)
    if (
        not held.size
    ):  # the same files then as from a split without history, so that what is made of them is found
        return
    rows = numbers(table["row"])[held]
    order = np.argsort(rows, kind="stable")

    def why(place: int) -> tuple[str, str]:
        if names[cluster_of[place]] in standing.evaluated:
            return "evaluated_before", "It, or a record near to it, was evaluated in an earlier run."
        return "near_evaluation", "It is near to an item of the kept evaluation set."

    reasons = [why(place) for place in held[order].tolist()]
    write_rejected(RejectedRows(validated, out, rows[order], reasons, constants))


def _counts(table: pa.Table, side_of_row: Numbers, cluster_of: Numbers) -> dict[str, Any]:
    answer_classes = np.asarray(table["answer_class"].to_pylist(), dtype=object)
    places = {side: np.flatnonzero(side_of_row == number) for number, side in enumerate(SIDES)}
    return {
        **{side: int(rows.size) for side, rows in places.items()},
        "clusters": {side: int(np.unique(cluster_of[rows]).size) for side, rows in places.items()},
        "classes": {
            side: dict(sorted(Counter(answer_classes[rows].tolist()).items()))
            for side, rows in places.items()
        },
    }
