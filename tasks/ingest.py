"""Loading log files into a log store, as a task that may be tried again: what is there already is left alone."""

from __future__ import annotations

from pathlib import Path

from prefect import runtime, task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from blocks.connections import open_dataset_store
from blocks.elasticsearch.loading import load_files, loading_settings, target_index
from blocks.ports import DatasetRef
from flywheel.config import ConnectionsConfig
from flywheel.curation.schema import REJECTED_FILE
from flywheel.naming import slug
from flywheel.progress import Progress
from flywheel.report.escaping import cell
from flywheel.report.loading import LoadReport, loading_rows
from tasks.progress import in_thread
from tasks.retry_conditions import is_transient


class IngestResult(BaseModel):
    """Counts of a load: `lines` is the sum of the others. `rejected` is the dataset that holds the refused lines."""

    model_config = ConfigDict(frozen=True)

    index: str
    lines: int
    created: int
    existing: int
    refused: int
    rejected: str


@task(
    task_run_name="load into {to}",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[5, 30, 120],
    retry_condition_fn=is_transient,
)
async def load_logs(files: list[str], to: str, index: str, connections: ConnectionsConfig) -> IngestResult:
    """Load files and directories; publish the refused lines as a dataset, and the counts as a table."""
    settings = await loading_settings(to)
    target = target_index(settings, index or None)
    paths = [Path(file).expanduser() for file in files]
    store = await open_dataset_store(connections)

    def work(progress: Progress) -> tuple[LoadReport, DatasetRef]:
        key = {"run": str(runtime.flow_run.id), "files": files, "index": target}
        with store.create("ingested", key) as staging:
            report = load_files(paths, settings, target, staging.path / REJECTED_FILE, progress)
            total = report.total()
            staging.counts = {"lines": total.lines, "created": total.created, "existing": total.existing}
        return report, staging.ref

    report, ref = await in_thread(f"ingest {target}", work)
    total = report.total()
    refused = sum(total.refused.values())
    await acreate_table_artifact(
        loading_rows(report),
        key=f"ingest-{slug(target)}",
        description=cell(
            f"Loaded into {target}: {total.created} new, {total.existing} there before, {refused} refused"
        )
        + f". Refused lines: {ref.uri}",
    )
    return IngestResult(
        index=target,
        lines=total.lines,
        created=total.created,
        existing=total.existing,
        refused=refused,
        rejected=ref.uri,
    )
