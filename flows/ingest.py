"""Log files into the log store that a team shares; loading a file again adds nothing."""

from __future__ import annotations

from prefect import flow

from flywheel.config import ConnectionsConfig
from tasks.ingest import IngestResult, load_logs

EMBEDDED = ConnectionsConfig()  # a default instance shows in the form of the Prefect UI; a factory does not


@flow(name="ingest", flow_run_name="ingest into {to}")
async def ingest(
    files: list[str],
    to: str = "elasticsearch",
    index: str = "",
    connections: ConnectionsConfig = EMBEDDED,
) -> IngestResult:
    """Load log files into a log store.

    Args:
        files: Files or directories of logs (JSONL, also .gz or .zst, and Parquet) that the worker sees.
        to: 'elasticsearch', reached as the worker's environment says; or '<block type>/<block name>' of a saved block.
        index: The index to load into. Empty: that of the store, or 'log-store-ingested'.
        connections: Where the dataset with the refused lines goes.
    """
    return await load_logs(files, to, index, connections)
