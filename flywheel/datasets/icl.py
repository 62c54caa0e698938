"""The in-context-learning evaluation set: each item of the base set with examples from training before it.

    OUT/eval_data.jsonl    rows as in the base set, with examples in the request
    OUT/examples.jsonl     {"id", "examples": [ids of the records shown]} of each row, in order
    OUT/not_run.jsonl      {"id", "reason", "detail"} of each item that got fewer than `min_examples`

An item without its examples would be the base item under another name, so it is left out and listed.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from flywheel.config import DataSplitConfig, IclConfig
from flywheel.curation.texts.fixed_text import NO_FIXED_TEXT, FixedText
from flywheel.datasets.embedding import Embedder
from flywheel.datasets.icl_items import (
    EVAL_FILE,
    EXAMPLES_FILE,
    FILES,
    NOT_EMBEDDED,
    NOT_RUN_FILE,
    STAGE,
    TOO_FEW,
    TOO_LONG,
    IclJob,
    Tally,
    write_items,
)
from flywheel.datasets.neighbours import VectorSearch
from flywheel.errors import DataError
from flywheel.progress import Progress
from flywheel.tokens import TokenCounter
from flywheel.worker_pool import work_off, worker_count

WORTH_A_WORKER = 400
"""Items whose examples take a process longer to choose than it takes to start and to read the pool."""

__all__ = ["EVAL_FILE", "EXAMPLES_FILE", "NOT_RUN_FILE", "build_icl", "without_examples"]


def build_icl(
    validated: Path,
    assignment: Path,
    out: Path,
    config: IclConfig,
    split: DataSplitConfig,
    counter: TokenCounter,
    context_length: int,
    progress: Progress,
    embedder: Embedder | None = None,
    search: VectorSearch | None = None,
    fixed: FixedText = NO_FIXED_TEXT,
    items: int = 0,
) -> dict[str, Any]:
    """Write the files above into `out`.

    Args:
        validated, assignment: Directories with the validated table and with the assignment.
        split: The seed and the form of arguments come from here.
        counter: Counts the candidate's tokens.
        context_length: The candidate's context, in tokens; the smaller of it and `max_context_length` counts.
        embedder: Says which examples are close to an item; None compares texts by their characters.
        search: Searches the embedder's vectors; None compares each with each, here.
        fixed: Text that does not make an example a near-copy of an item.
        items: How many there are, if processes of their own may take parts of them where there is no embedder:
            `counter` is pickled then. The files are the same.

    Returns:
        {"items", "rows", "not_run", "reasons": {reason: items}, "examples": {"min", "mean", "max"},
        "tokens_added": {"total", "mean", "max"}, "pool", "context_length", "counter", "counter_exact"};
        examples and tokens are of the rows written.

    Raises:
        DataError: No item got enough examples, so there is nothing to evaluate.
        RemoteError: The embedder or the search failed, or a process died.
    """
    context = min(context_length, config.max_context_length)
    job = IclJob(
        validated,
        assignment,
        out,
        config,
        split.random_seed,
        split.parse_function_arguments,
        counter,
        context,
        fixed,
    )
    workers = 1 if embedder else worker_count(items // WORTH_A_WORKER)
    if workers > 1:
        tally = _side_by_side(job, items, workers, progress)
    else:
        tally = write_items(job, progress, embedder, search)
    if not tally.examples:
        raise DataError(_nothing_to_run(tally.reasons.total(), tally.reasons, config, context))
    return {
        **_summary(tally),
        "pool": tally.pool,
        "context_length": context,
        "counter": counter.name,
        "counter_exact": counter.exact,
    }


def _side_by_side(whole: IclJob, items: int, workers: int, progress: Progress) -> Tally:
    """The same as `write_items` of the whole, each part of it in a process of its own."""
    bounds: list[int | None] = [items * part // workers for part in range(workers)] + [None]
    jobs = [
        whole._replace(out=whole.out / f".part-{part}", begin=begin or 0, end=end)
        for part, (begin, end) in enumerate(pairwise(bounds))
    ]
    tallies: dict[int, Tally] = {}
    try:
        for part, tally in work_off(write_items, jobs, workers):
            tallies[part] = tally
            progress(STAGE, items * len(tallies) // workers, items)
        for name in FILES:
            with (whole.out / name).open("wb") as file:
                for job in jobs:
                    file.write((job.out / name).read_bytes())
    finally:
        for job in jobs:
            shutil.rmtree(job.out, ignore_errors=True)
    first, *later = [tallies[part] for part in range(workers)]
    for tally in later:
        first.extend(tally)
    return first


def _summary(tally: Tally) -> dict[str, Any]:
    rows, items = len(tally.examples), len(tally.examples) + tally.reasons.total()
    return {
        "items": items,
        "rows": rows,
        "not_run": items - rows,
        "reasons": dict(sorted(tally.reasons.items())),
        "examples": {
            "min": min(tally.examples),
            "mean": round(sum(tally.examples) / rows, 3),
            "max": max(tally.examples),
        },
        "tokens_added": {
            "total": sum(tally.tokens),
            "mean": round(sum(tally.tokens) / rows, 1),
            "max": max(tally.tokens),
        },
    }


def _nothing_to_run(items: int, reasons: Counter[str], config: IclConfig, context: int) -> str:
    of_each = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
    advice = {
        TOO_LONG: f"Use a candidate with a longer context than {context:,} tokens, or lower "
        "icl_config.reserved_tokens.",
        NOT_EMBEDDED: "See what the endpoint of icl_config.embedder says of these texts, or leave it out.",
        TOO_FEW: "An example may call only tools that the item offers, and not be nearly the item itself: bring more "
        "records, lower icl_config.min_examples, or raise icl_config.max_similarity.",
    }
    return (
        f"None of the {items:,} evaluation items got as many in-context examples as icl_config.min_examples asks for, "
        f"{config.min_examples} ({of_each}). {advice[reasons.most_common(1)[0][0]]}"
    )


def without_examples(counts: Mapping[str, Any]) -> list[str]:
    """A sentence on the items that got no examples, with what the others got; none where all got some.

    `counts`: what `build_icl` returned.
    """
    if not counts.get("not_run"):
        return []
    shown, reasons = counts["examples"], counts["reasons"]
    of_each = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
    return [
        f"{counts['not_run']:,} of {counts['items']:,} items got no in-context examples and are unscored ({of_each}); "
        f"the others got {shown['mean']:g} on average ({shown['min']} to {shown['max']}), "
        f"{counts['tokens_added']['mean']:,.0f} tokens."
    ]
