"""Prefect blocks of the embedded implementations: saved connections that a deployment refers to by name.

Register them with `prefect block register -m blocks.prefect_blocks`. A block holds how to reach something;
`connect()` builds the thing.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from blocks.datasets.directory_dataset_store import DirectoryDatasetStore
from blocks.datasets.fsspec_block import FsspecDatasets as FsspecDatasets
from blocks.elasticsearch.block import ElasticsearchLogs as ElasticsearchLogs
from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.langfuse.block import LangfuseLogs as LangfuseLogs
from blocks.local_platform.platform import LocalPlatform
from blocks.logs.file_log_store import FileLogStore
from blocks.mongo.block import MongoRuns as MongoRuns
from blocks.nemo.block import NemoMicroservices as NemoMicroservices
from blocks.openai_platform.block import OpenAICompatible as OpenAICompatible
from blocks.openai_platform.block import VllmServer as VllmServer
from blocks.scoring.judge_connection import JudgeModel as JudgeModel
from blocks.strict_block import StrictBlock
from flywheel.traces.calls import Labels


class FileLogs(StrictBlock):
    """Production logs in files: JSONL (also gzip and zstd), Parquet, and OpenTelemetry spans."""

    _block_type_name: ClassVar[str] = "Flywheel File Logs"
    _block_type_slug: ClassVar[str] = "flywheel-file-logs"
    _description: ClassVar[str] = "A file or directory of prompt and response logs."

    path: str = Field(description="File or directory of logs.")
    max_record_bytes: int = Field(default=4_000_000, gt=0, description="Longest line that is read, in bytes.")

    workload_from: list[str] = Field(
        default=[], description="Attributes of a span that name the workload; the first that is there counts."
    )
    client_from: list[str] = Field(
        default=[], description="Attributes of a span or its service that name the client."
    )

    def connect(self) -> FileLogStore:
        """Build the log store."""
        labels = Labels(tuple(self.workload_from), tuple(self.client_from))
        return FileLogStore(Path(self.path).expanduser(), self.max_record_bytes, labels=labels)


class DirectoryDatasets(StrictBlock):
    """Datasets in a directory that all workers see."""

    _block_type_name: ClassVar[str] = "Flywheel Directory Datasets"
    _block_type_slug: ClassVar[str] = "flywheel-directory-datasets"
    _description: ClassVar[str] = "A directory of content-addressed datasets."

    root: str = Field(description="Directory of the datasets.")

    def connect(self) -> DirectoryDatasetStore:
        """Build the dataset store."""
        return DirectoryDatasetStore(Path(self.root).expanduser())


class SqliteRuns(StrictBlock):
    """History of runs in one SQLite file."""

    _block_type_name: ClassVar[str] = "Flywheel SQLite Runs"
    _block_type_slug: ClassVar[str] = "flywheel-sqlite-runs"
    _description: ClassVar[str] = "Runs, evaluations and the ledger of resources in an SQLite file."

    path: str = Field(description="The database file; it is made when it is missing.")

    def connect(self) -> SqliteRunStore:
        """Build the run store."""
        return SqliteRunStore(Path(self.path).expanduser())


class LocalTraining(StrictBlock):
    """Fine-tuning and serving on the machine that runs the flow."""

    _block_type_name: ClassVar[str] = "Flywheel Local Platform"
    _block_type_slug: ClassVar[str] = "flywheel-local-platform"
    _description: ClassVar[str] = "LoRA fine-tuning and serving in worker processes of this machine."

    home: str = Field(description="Directory for models, adapters and the state of worker processes.")

    def connect(self) -> LocalPlatform:
        """Build the platform."""
        return LocalPlatform(Path(self.home).expanduser())
