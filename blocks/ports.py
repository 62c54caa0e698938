"""The small protocols behind which the outside world stands.

Each port has an embedded implementation that needs nothing installed and, later, ones for production systems; all of
one port pass the same contract tests (`tests/contracts/`). Domain code sees only what is named here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from blocks.platform_requests import Endpoint as Endpoint
from blocks.platform_requests import EvaluationRequest as EvaluationRequest
from blocks.platform_requests import FineTuneRequest as FineTuneRequest
from flywheel.config import CandidateConfig
from flywheel.curation.batches import LogBatch as LogBatch
from flywheel.curation.batches import Refusal as Refusal
from flywheel.dataset_retention import StoredDataset
from flywheel.progress import Progress
from flywheel.records.untagged import UntaggedGroup
from flywheel.results import Customization, Evaluation, JudgeRun, Prediction, RunResult
from flywheel.tokens import TokenCounter

# --- log store -------------------------------------------------------------------------------------------------


Sampling = Literal["newest", "uniform", "stratified"]


class LogQuery(msgspec.Struct, frozen=True):
    """Which records to read.

    `traffic_share` is decided by a hash of each record. Where more than `limit` are left, `sampling` says which are
    read: the newest, a uniform choice by the same hash, or one stratified by the tools that the answer calls; see
    `blocks.logs.sampling`.
    """

    workload_id: str
    client_id: str
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    traffic_share: float = 1.0
    sampling: Sampling = "newest"


class WorkloadSummary(msgspec.Struct, frozen=True):
    """One workload of one client, as the log store sees it. Times are ISO 8601 in UTC.

    Averages are over the records that have the figure; None where none has. `tools` are those that were seen; a store
    that looks at a few records of each workload alone may miss rare ones. `groups` are of the records that name no
    workload, where the store looks at their requests; `looked_at` counts those that it looked at, None for all.
    """

    workload_id: str | None
    client_id: str | None
    records: int
    tools: list[str]
    first: str | None
    last: str | None
    share_without_workload_id: float
    average_latency_ms: float | None = None
    average_tokens_in: float | None = None
    average_tokens_out: float | None = None
    groups: list[UntaggedGroup] = []
    looked_at: int | None = None


class LogStore(Protocol):
    """Where production logs are read from."""

    def read(self, query: LogQuery, progress: Progress) -> Iterator[LogBatch]:
        """Yield the matching records in batches, memory bounded by a batch.

        Raises: DataError (nothing there, unreadable), RemoteError.
        """

    def workloads(self, progress: Progress) -> list[WorkloadSummary]:
        """List what the log holds, largest first."""


# --- dataset store ---------------------------------------------------------------------------------------------


class DatasetRef(msgspec.Struct, frozen=True):
    """A published dataset: `name` is `<kind>-<hash of its key>`, `uri` where it lies, `counts` from its manifest."""

    name: str
    uri: str
    counts: dict[str, Any] = {}


class DatasetStore(Protocol):
    """Where the steps of curation leave their directories. A dataset is there whole or not at all."""

    def find(self, kind: str, key: dict[str, Any]) -> DatasetRef | None:
        """The dataset made earlier under the same key (settings and parents), or None."""

    def create(self, kind: str, key: dict[str, Any]) -> AbstractContextManager[Staging]:
        """A fresh directory to fill; published atomically when the block ends without an exception, else removed."""

    def making(self, kind: str, key: dict[str, Any], progress: Progress) -> AbstractContextManager[None]:
        """Held by one maker of a dataset at a time, as far as the store can see; others wait, within a bound.

        Whoever enters looks again with `find`: the one before may have made it.
        """

    def open(self, ref: DatasetRef) -> Path:
        """A local directory with the dataset's files, checksums verified. Raises DatasetError."""

    def scratch(self, name: str) -> Path:
        """A local directory that survives a crash and belongs to one name: partial predictions, checkpoints."""

    def erase(self, record_ids: Collection[str]) -> None:
        """Note that these records must not be used any more. What is stored already stays as it is."""

    def erased(self) -> frozenset[str]:
        """The ids of all records that were noted so."""

    @property
    def scratch_folder(self) -> Path:
        """The local directory that all scratch lies below."""

    def sweep(self, older_than: timedelta = ..., *, dry_run: bool = False) -> list[str]:
        """Remove what makers that are gone left behind; nothing younger that somebody may be writing."""

    def published(self) -> list[StoredDataset]:
        """All that bear the name which follows from their manifest. Raises DatasetError where one cannot be read."""

    def remove(self, name: str, unused_since: datetime) -> bool:
        """Remove a dataset. False, and it stays, where it was made or found since then; and where it is not there."""

    def look_into(self, name: str) -> Path:
        """A local directory with the dataset's files, checked only where somebody else could have changed them."""

    def revised(self, name: str) -> AbstractContextManager[Path]:
        """A directory with the dataset's files and manifest; what it holds in the end is the dataset from then on."""

    def serve(self, history: str) -> None:
        """Note that runs of this history (`RunStore.identity`) refer to datasets here."""

    def histories(self) -> frozenset[str]: ...


class Staging(Protocol):
    """A dataset being written. Set `counts` before the block ends; `ref` is there after it."""

    path: Path
    counts: dict[str, Any]
    ref: DatasetRef


# --- run store -------------------------------------------------------------------------------------------------


class LedgerEntry(msgspec.Struct, frozen=True):
    """Something that exists elsewhere and must be freed: written before it is asked for, struck off when it is gone."""

    run_id: str
    kind: str
    name: str
    platform: str
    created_at: str
    details: dict[str, Any] = {}


class BestScore(msgspec.Struct, frozen=True):
    """The evaluation with the highest primary score of a workload so far, and whose it is."""

    run_id: str
    candidate: str
    evaluation: Evaluation


class RunStore(Protocol):
    """History: runs, candidates, evaluations, customizations, judge runs, and the ledger of what is still allocated.

    Writes are idempotent by id, and whole or not at all. Prediction lines are not here; evaluations refer to their
    file. Every method may raise DataError (not ours, damaged, refused) and RemoteError (cannot be reached).
    """

    def save_run(self, run: RunResult) -> None:
        """Insert or replace a run with its candidates, evaluations and customizations."""

    def update_run(self, run_id: str, change: Callable[[RunResult], RunResult]) -> RunResult:
        """Replace a run by what `change` makes of it, such that no other writer's change is lost; returns it.

        `change` may be called more than once, so it should compute and do nothing else. Raises DataError as
        `load_run`.
        """

    def load_run(self, run_id: str) -> RunResult:
        """Raises DataError with the nearest ids where there is none. A unique prefix of an id is enough."""

    def find_run(self, run_id: str) -> RunResult | None:
        """The run with exactly this id, or None."""

    def list_runs(
        self, workload_id: str | None = None, client_id: str | None = None, limit: int = 50
    ) -> list[RunResult]:
        """Newest first."""

    def all_runs(self) -> Iterator[RunResult]:
        """Every run, oldest first, a few at a time."""

    def comparable_run(self, run: RunResult) -> RunResult | None:
        """The newest run before `run` of the same workload and client over the same evaluation set, with scores."""

    def best_score(
        self, workload_id: str, client_id: str, metric: str, eval_set: str | None = None
    ) -> BestScore | None:
        """The best score so far under one metric, on one evaluation set where given; the earliest in a tie."""

    def remove_run(self, run_id: str) -> bool:
        """Remove a run and all below it. False, and nothing happens, where it is running or holds resources."""

    def save_judge_run(self, judged: JudgeRun) -> None:
        """Insert or replace what a judge said."""

    def judge_runs(self, run_id: str) -> list[JudgeRun]:
        """What judges said of a run, oldest first."""

    def record_resource(self, entry: LedgerEntry) -> None:
        """Note that this exists or is about to; an entry of the same kind and name is replaced."""

    def strike_resource(self, kind: str, name: str) -> None:
        """Note that this is gone; nothing happens where it was not noted."""

    def allocated(self, run_id: str | None = None) -> list[LedgerEntry]:
        """What is noted and not struck off, of one run where given, oldest first."""

    def identity(self) -> str:
        """An id of this history, 16 hexadecimal digits, made once and kept as long as it exists."""

    def close(self) -> None: ...


# --- platform --------------------------------------------------------------------------------------------------


class Platform(Protocol):
    """Who deploys, fine-tunes and serves. Every call may be repeated: names decide, existing things are adopted."""

    async def context_length(self, candidate: CandidateConfig) -> int: ...

    async def token_counter(self, candidate: CandidateConfig) -> TokenCounter: ...

    async def deploy(self, name: str, candidate: CandidateConfig, progress: Progress) -> Endpoint:
        """Bring the model up and return when a real completion came back. Raises RemoteError."""

    async def fine_tune(self, request: FineTuneRequest, progress: Progress) -> Customization:
        """Train one adapter and wait for its end; cancelling the call stops the training and sees it stopped.

        Raises: TrainingOutOfTime where it reached the bound of its settings, RemoteJobFailed, RemoteJobTimedOut,
        RemoteJobCancelled.
        """

    async def serve_customization(self, name: str, customization: Customization) -> Endpoint:
        """Make the fine-tuned model answer beside its base on the deployment `name`."""

    async def shut_down(self, name: str) -> None:
        """Free the deployment and see it gone. A deployment that does not exist is no error."""


class EpochScorer(Protocol):
    """A platform that can compare epochs by the answers to validation items (`training_config.keep: best_score`)."""

    scores_epochs: Literal[True]


class NamedThings(Protocol):
    """A platform that can say what it holds and free it by name, for cleaning up after runs that died."""

    async def existing(self) -> list[tuple[str, str]]:
        """Kind ('deployment', 'fine-tune', 'evaluation') and name of all that is up or running, not of ours alone."""

    async def cancel_fine_tune(self, name: str) -> None:
        """Stop the fine-tune of that name if it runs, and see it stopped."""


class PlatformEvaluator(Protocol):
    """A platform that can also ask the items and rate the answers (`evaluation_config.evaluator`)."""

    def not_sent(self, body: dict[str, Any]) -> list[str]:
        """Fields of a request that the platform does not pass on to the model."""

    async def evaluate(self, request: EvaluationRequest, progress: Progress) -> list[Prediction]:
        """One prediction for each item: the answer verbatim or an error, and scores of the platform's own.

        Names of these scores are none of ours, values lie in [0, 1], None where the platform could not rate.
        Cancelling the call stops the work there where the platform can.

        Raises: RemoteJobFailed, RemoteJobTimedOut, RemoteJobCancelled.
        """
