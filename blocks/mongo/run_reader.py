"""Reading runs whose documents lie in several collections, while others write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson import ObjectId

from blocks.mongo.documents import Document, grouped, run_of
from blocks.mongo.schema import CHILDREN
from blocks.mongo.session import MongoSession
from flywheel.errors import DataError
from flywheel.results import RunResult

AT_A_TIME = 50
MOST_TRIES = 100
_NEWEST_FIRST = [("started_at", -1), ("_id", -1)]


class RunReader:
    """Finds the documents of runs (heads), and runs by their heads."""

    def __init__(self, session: MongoSession) -> None:
        self._session = session

    def heads(self, query: Document, limit: int) -> list[Document]:
        """The runs' own documents that fit the query, newest first."""
        return self._session.call(
            lambda database: list(database.flywheel_runs.find(query).sort(_NEWEST_FIRST).limit(limit))
        )

    def ids(self) -> list[str]:
        """Of all runs, newest first."""
        return [
            head["_id"]
            for head in self._session.call(
                lambda database: list(database.flywheel_runs.find({}, {"_id": 1}).sort(_NEWEST_FIRST))
            )
        ]

    def load(self, heads: Sequence[Document]) -> list[RunResult]:
        """The runs of these documents, in their order; a run that was removed meanwhile is left out."""
        runs: list[RunResult] = []
        for start in range(0, len(heads), AT_A_TIME):
            some = heads[start : start + AT_A_TIME]
            below = self._below([head["revision"] for head in some])
            for head in some:
                run = run_of(head, {name: below[name][head["revision"]] for name in CHILDREN})
                if run or (run := self._load_again(head["_id"])):
                    runs.append(run)
        return runs

    def _below(self, revisions: list[ObjectId]) -> dict[str, dict[Any, list[Document]]]:
        """All documents below runs: by collection, then by revision."""

        def read(database: Any) -> dict[str, dict[Any, list[Document]]]:
            query = {"revision": {"$in": revisions}}
            return {name: grouped(database[name].find(query), "revision") for name in CHILDREN}

        return self._session.call(read)

    def _load_again(self, run_id: str) -> RunResult | None:
        """The run as it stands now: it was replaced between two reads, or removed, or it is damaged."""
        for _ in range(MOST_TRIES):

            def read(database: Any) -> tuple[Document | None, dict[str, list[Document]]]:
                head = database.flywheel_runs.find_one({"_id": run_id})
                below = {
                    name: list(database[name].find({"revision": head["revision"]})) if head else []
                    for name in CHILDREN
                }
                return head, below

            head, below = self._session.call(read)
            if head is None:
                return None
            if run := run_of(head, below):
                return run
        raise self.incomplete(f"the run {run_id}")

    def incomplete(self, what: str) -> DataError:
        """The error for documents that are missing and stay so."""
        return DataError(
            f"MongoDB at {self._session.place} holds {what} without all of its documents: somebody deleted some. "
            "Remove the run, or restore it from a backup."
        )
