"""The data half of the flywheel in one go: logged calls in, fair datasets out."""

from __future__ import annotations

import ctypes
import platform
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from flywheel import __version__
from flywheel.config import FlywheelConfig
from flywheel.curation.batches import LogBatch
from flywheel.curation.duplicates.contradictions import screening_of
from flywheel.curation.duplicates.deduplication import deduplicate
from flywheel.curation.extraction import extract
from flywheel.curation.funnel import READ_AS, check, funnel_of
from flywheel.curation.intake import Intake
from flywheel.curation.leakage.check import check_leakage
from flywheel.curation.output_directory import CERTIFICATE_FILE, append_lines, replacing, write_manifest
from flywheel.curation.rejected_rows import write_rejected
from flywheel.curation.schema import EXTRACTED_FILES, REJECTED_FILE
from flywheel.curation.splitting.screening import screened
from flywheel.curation.splitting.split import split
from flywheel.curation.texts.embeddings import embeddings_if
from flywheel.curation.texts.fixed_text import FixedText
from flywheel.curation.texts.fixed_text_search import fixed_text_of
from flywheel.curation.validation.report import telling_refusals
from flywheel.curation.validation.validate_stage import FEW_RECORDS, Validation
from flywheel.datasets.build import build_datasets
from flywheel.datasets.embedding import Embedder
from flywheel.datasets.icl import build_icl
from flywheel.datasets.rendering_ahead import rendering_ahead
from flywheel.errors import DataError
from flywheel.progress import Progress
from flywheel.tokens import TokenCounter
from flywheel.worker_pool import WorkerPool

LIBRARIES = ("numpy", "scipy", "pyarrow", "msgspec", "tiktoken")
"""Their versions may show in a dataset, so the manifest has them."""

Counts = dict[str, Any]
Job = TypeVar("Job")


def curate(
    batches: Iterable[LogBatch],
    out: Path,
    config: FlywheelConfig,
    counter: TokenCounter,
    progress: Progress,
    erased: Collection[str] = (),
    embedder: Embedder | None = None,
) -> dict[str, Any]:
    """Extract, validate, deduplicate, split, check for leakage and write the datasets.

    Args:
        batches: What the log store reads for this workload and client.
        out: The directory to leave; see `flywheel.curation.output_directory`.
        counter: Counts tokens for the in-context examples.
        erased: Ids of records that are left out without their content.
        embedder: Makes the vectors for comparisons by meaning, where the settings ask for any.

    Returns:
        The manifest.

    Raises:
        ConfigError: `out` is not to be written to, or there is no embedder where one is needed.
        RemoteError: The embedder failed; nothing is left behind.
        DataError: The records do not allow it; nothing is left behind.
        OSError: The disk is full or read-only; nothing is left behind.
    """
    with replacing(out) as (result, work):
        steps = _Steps(work)
        validated = work / "validate"
        with Validation(validated, config.validation_config, progress) as validation:
            steps.run(
                "extract", lambda to: extract(batches, to, progress, validation.add, Intake(config, erased))
            )
            steps.run("validate", lambda to: validation.finish(steps.counts["extract"]["read"]))
        for part in (work / "extract").glob(
            EXTRACTED_FILES
        ):  # as large as the log; the validated table has it all
            part.unlink()
        fixed = fixed_text_of(validated, config.dedup_config)
        by_meaning = {config.dedup_config.semantic.mode, config.leakage_config.semantic.mode} != {"off"}
        of_all = {"workload_id": config.workload_id, "client_id": config.client_id}

        def sides(to: Path) -> Counts:
            counts = split(work / "deduplicate", to, config.data_split_config, progress)
            return screened(counts, to, validated, config.dedup_config, of_all)

        with (
            _beside(write_rejected, steps.counts["validate"]["valid"]) as refuse,
            embeddings_if(by_meaning, validated, work, embedder, progress, fixed) as embeddings,
            rendering_ahead(
                validated,
                work / "rows",
                steps.counts["validate"]["valid"],
                config.data_split_config.parse_function_arguments,
            ) as rendered,
        ):
            steps.run(
                "deduplicate",
                lambda to: deduplicate(
                    validated,
                    to,
                    config.dedup_config,
                    progress,
                    of_all,
                    screening_of(validated, config.dedup_config).preferred,
                    refuse=refuse,
                    fixed=fixed,
                    embeddings=embeddings,
                ),
            )
            with telling_refusals(steps.counts["extract"], steps.counts["validate"]):
                steps.run("split", sides)
            steps.run(
                "leakage",
                lambda to: check_leakage(
                    validated,
                    work / "split",
                    to,
                    config.leakage_config,
                    progress,
                    of_all,
                    fixed,
                    embeddings,
                ),
            )
            ahead = rendered()
        checked = work / "leakage"
        funnel = funnel_of(*steps.counts.values())
        check(
            "rejected lines",
            steps.append_rejected(result / REJECTED_FILE),
            {
                name: funnel.get(name, 0)
                for name in READ_AS
                if name not in ("train", "validation", "evaluation")
            },
        )
        with ThreadPoolExecutor(1) as beside:  # its work is done by others; this thread has the examples
            building = beside.submit(
                build_datasets, validated, checked, result, config.data_split_config, progress, ahead=ahead
            )
            icl = _icl_or_why_not(validated, checked, result / "icl", config, counter, progress, fixed)
            steps.counts["datasets"] = building.result()
        steps.counts["icl"] = icl
        check(
            "rows of datasets",
            sum(steps.counts["datasets"]["rows"].values()),
            {name: funnel[name] for name in ("train", "validation", "evaluation")},
        )
        shutil.copyfile(checked / CERTIFICATE_FILE, result / CERTIFICATE_FILE)
        return write_manifest(result, _content(config, funnel, steps.counts))


class _Steps:
    """Runs the steps, each into a directory of its own, and gathers counts and rejected records."""

    def __init__(self, work: Path) -> None:
        self.counts: dict[str, Counts] = {}
        self._work = work

    def run(self, name: str, step: Callable[[Path], Counts]) -> None:
        to = self._work / name
        to.mkdir(exist_ok=True)
        self.counts[name] = step(to)
        give_memory_back()

    def append_rejected(self, to: Path) -> int:
        """Append what the steps rejected, in their order; the number of lines."""
        to.touch()
        return sum(append_lines(self._work / name / REJECTED_FILE, to) for name in self.counts)


@contextmanager
def _beside(work: Callable[[Job], None], records: int) -> Iterator[Callable[[Job], None]]:
    """Yield what has the work done in a process of its own; it is done when the block ends.

    Of few records it is done at once: starting a process would take longer.
    """
    if records < FEW_RECORDS:
        yield work
        return
    with WorkerPool(work, 1) as pool:
        yield pool.submit
        for _ in pool.results():
            pass


def give_memory_back() -> None:
    """Hand what a step has freed back to the system; the allocator of the C library would keep it for the
    next.
    """
    with suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _icl_or_why_not(
    validated: Path,
    checked: Path,
    to: Path,
    config: FlywheelConfig,
    counter: TokenCounter,
    progress: Progress,
    fixed: FixedText,
) -> Counts:
    """The other datasets are good without in-context examples, so their absence is stated and ends nothing."""
    try:
        counts = build_icl(
            validated,
            checked,
            to,
            config.icl_config,
            config.data_split_config,
            counter,
            shortest_context(config),
            progress,
            fixed=fixed,
            items=config.data_split_config.eval_size,
        )
    except DataError as error:
        return {"status": "not_run", "reason": str(error)}
    return {"status": "completed", **counts}


def shortest_context(config: FlywheelConfig) -> int:
    """Tokens of the shortest context that a candidate states, so that one ICL set serves them all."""
    stated = [c.context_length for c in config.candidates if c.icl and c.context_length is not None]
    return min([config.icl_config.max_context_length, *stated])


def _content(config: FlywheelConfig, funnel: dict[str, int], steps: dict[str, Counts]) -> dict[str, Any]:
    return {
        "settings": config.model_dump(mode="json"),
        "funnel": funnel,
        "classes": steps["datasets"]["classes"],
        "steps": steps,
        "versions": {
            "flywheel": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }
