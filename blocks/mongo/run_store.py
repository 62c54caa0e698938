"""The run store in MongoDB: history and ledger where a team keeps them."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo import ReplaceOne, ReturnDocument
from pymongo.errors import DuplicateKeyError

from blocks.history.run_documents import from_json, no_such_run, searchable, several_runs, to_json
from blocks.mongo.connection import MongoConnection
from blocks.mongo.documents import Document, documents_of, grouped, parsed, text_of
from blocks.mongo.run_reader import AT_A_TIME, MOST_TRIES, RunReader
from blocks.mongo.schema import CHILDREN, META
from blocks.mongo.session import MongoSession
from blocks.ports import BestScore, LedgerEntry
from flywheel.errors import TransientRemoteError
from flywheel.results import JudgeRun, RunResult
from flywheel.retention import SCORED

_LEFT_OVER = timedelta(hours=24)


class MongoRunStore:
    """Runs, candidates, evaluations, customizations, judge runs and the ledger, in one database.

    May be used from any thread, and by any number of processes at once. A call waits for a server that is away for as
    long as the connection's patience, and may be repeated: every write has the same effect twice. Saving a run writes
    the documents below it first and the run's own last, so that no reader sees a half, with no need of transactions.

    Every method raises DataError (a database of something else, a damaged document), EndpointRefused (user,
    password), ConfigError (the address) and TransientRemoteError (away for longer than the patience).
    """

    def __init__(self, connection: MongoConnection) -> None:
        self._session = MongoSession(connection)
        self._reader = RunReader(self._session)

    def save_run(self, run: RunResult) -> None:
        """Insert or replace a run with its candidates, evaluations and customizations."""
        self._write(run, replacing=None)

    def update_run(self, run_id: str, change: Callable[[RunResult], RunResult]) -> RunResult:
        """Replace a run by what `change` makes of it; tried again where another writer was faster."""
        whole_id = searchable(self.load_run(run_id).run_id)
        for _ in range(MOST_TRIES):
            head = self._session.call(lambda database: database.flywheel_runs.find_one({"_id": whole_id}))
            found = self._reader.load([head] if head else [])
            if not found:
                raise no_such_run(run_id, self._reader.ids())
            run = change(found[0])
            if self._write(run, replacing=head["revision"]):
                return run
        raise TransientRemoteError(f"Others kept changing the run {run_id}. Try again.")

    def load_run(self, run_id: str) -> RunResult:
        """The run with this id, or whose id alone begins with it.

        Raises: DataError with the nearest ids where there is none, or with those that begin so where there are
        several.
        """
        if run := self.find_run(run_id):
            return run
        prefix = searchable(run_id)
        begin_so = self._reader.heads({"_id": {"$gte": prefix, "$lt": prefix + "\U0010ffff"}}, limit=6)
        if len(begin_so) > 1:
            raise several_runs(run_id, [head["_id"] for head in begin_so])
        if found := self._reader.load(begin_so):
            return found[0]
        raise no_such_run(run_id, self._reader.ids())

    def find_run(self, run_id: str) -> RunResult | None:
        """The run with exactly this id, or None."""
        found = self._reader.load(self._reader.heads({"_id": searchable(run_id)}, limit=1))
        return found[0] if found else None

    def list_runs(
        self, workload_id: str | None = None, client_id: str | None = None, limit: int = 50
    ) -> list[RunResult]:
        """The newest runs, of one workload or client where given, newest first."""
        wanted = {"workload_id": workload_id, "client_id": client_id}
        query = {name: searchable(value) for name, value in wanted.items() if value is not None}
        return self._reader.load(self._reader.heads(query, limit)) if limit > 0 else []

    def all_runs(self) -> Iterator[RunResult]:
        """Every run that was there at the start and still is, oldest first, a few in memory at a time."""
        ids = self._reader.ids()[::-1]
        for start in range(0, len(ids), AT_A_TIME):
            some = ids[start : start + AT_A_TIME]
            heads = {
                head["_id"]: head for head in self._reader.heads({"_id": {"$in": some}}, limit=len(some))
            }
            yield from self._reader.load([heads[run_id] for run_id in some if run_id in heads])

    def comparable_run(self, run: RunResult) -> RunResult | None:
        """The newest run before `run` of the same workload and client over the same evaluation set, with scores."""
        if not run.eval_set:
            return None
        query = {
            "workload_id": searchable(run.workload_id),
            "client_id": searchable(run.client_id),
            "eval_set": run.eval_set,
            "started_at": {"$lt": run.started_at},
            "status": {"$in": list(SCORED)},
        }
        found = self._reader.load(self._reader.heads(query, limit=1))
        return found[0] if found else None

    def best_score(
        self, workload_id: str, client_id: str, metric: str, eval_set: str | None = None
    ) -> BestScore | None:
        """The best score so far under one metric, on one evaluation set where given; the earliest in a tie."""
        query: Document = {"workload_id": searchable(workload_id), "client_id": searchable(client_id)}
        query |= {"metric": metric, "score": {"$type": "number"}, "error": None}
        if eval_set is not None:
            query["eval_set"] = eval_set
        earliest = [("started_at", 1), ("run_id", 1), ("candidate_position", 1), ("position", 1)]

        def first_of_a_saved_run(database: Any) -> tuple[Document, Document] | None:
            for found in database.evaluations.find(query).sort([("score", -1), *earliest]):
                whose = {
                    "_id": found["run_id"],
                    "revision": found["revision"],
                }  # else left over, or not saved yet
                if head := database.flywheel_runs.find_one(whose):
                    return found, head
            return None

        for _ in range(MOST_TRIES):
            found = self._session.call(first_of_a_saved_run)
            if found is None:
                return None
            evaluation, head = found
            runs = self._reader.load([head])
            if runs and _is_at(runs[0], evaluation):  # else it was replaced or removed meanwhile
                candidate = runs[0].candidates[evaluation["candidate_position"]]
                return BestScore(
                    runs[0].run_id, candidate.candidate, candidate.evaluations[evaluation["position"]]
                )
        raise TransientRemoteError(f"Others kept changing the best run of {workload_id}. Try again.")

    def remove_run(self, run_id: str) -> bool:
        """Remove a run and all below it. False, and nothing happens, where it is running or holds resources."""
        wanted = searchable(run_id)

        def remove(database: Any) -> bool:
            if database.resources.find_one({"run_id": wanted}):
                return False
            not_alive = {"_id": wanted, "status": {"$ne": "running"}}
            head = database.flywheel_runs.find_one_and_delete(not_alive)
            if head is None and database.flywheel_runs.find_one({"_id": wanted}):
                return False
            if head is not None:
                # Only up to its revision: the same run may be begun again at this moment.
                _delete_below(database, wanted, {"$lte": head["revision"]})
            database.llm_judge_runs.delete_many({"run_id": wanted})
            return True

        return self._session.call(remove)

    def save_judge_run(self, judged: JudgeRun) -> None:
        """Insert or replace what a judge said."""
        revision, parts = ObjectId(), list[Document]()
        run_id = searchable(judged.run_id)
        document: Document = {
            "_id": searchable(judged.id),
            "run_id": run_id,
            "judge": searchable(judged.judge),
        }
        document |= {"created_at": judged.created_at}
        document |= text_of(judged, f"{revision}/llm_judge_runs", run_id, revision, parts)

        def save(database: Any) -> None:
            _replace_all(database, "document_parts", parts)
            before = database.llm_judge_runs.find_one_and_replace(
                {"_id": document["_id"]}, document, upsert=True, return_document=ReturnDocument.BEFORE
            )
            if before and "parts_of" in before and before["parts_of"] != document.get("parts_of"):
                database.document_parts.delete_many({"of": before["parts_of"]})

        self._session.call(save)

    def judge_runs(self, run_id: str) -> list[JudgeRun]:
        """What judges said of a run, oldest first."""

        def read(database: Any) -> list[JudgeRun | None]:
            found = list(
                database.llm_judge_runs.find({"run_id": searchable(run_id)}).sort(
                    [("created_at", 1), ("_id", 1)]
                )
            )
            of = [document["parts_of"] for document in found if "parts_of" in document]
            parts = list(database.document_parts.find({"of": {"$in": of}})) if of else []
            return [parsed(document, JudgeRun, grouped(parts, "of")) for document in found]

        for _ in range(MOST_TRIES):
            judged = self._session.call(read)
            whole = [verdict for verdict in judged if verdict is not None]
            if len(whole) == len(judged):
                return whole
        raise self._reader.incomplete(f"a judge run of {run_id}")

    def record_resource(self, entry: LedgerEntry) -> None:
        """Note that this exists or is about to; an entry of the same kind and name is replaced."""
        key = _ledger_key(entry.kind, entry.name)
        document = {
            "_id": key,
            "run_id": searchable(entry.run_id),
            "platform": searchable(entry.platform),
            "created_at": entry.created_at,
            "document": to_json(entry),
        }
        self._session.call(
            lambda database: database.resources.replace_one({"_id": key}, document, upsert=True)
        )

    def strike_resource(self, kind: str, name: str) -> None:
        """Note that this is gone; nothing happens where it was not noted."""
        self._session.call(lambda database: database.resources.delete_one({"_id": _ledger_key(kind, name)}))

    def allocated(self, run_id: str | None = None) -> list[LedgerEntry]:
        """What is noted and not struck off, of one run where given, oldest first."""
        query = {} if run_id is None else {"run_id": searchable(run_id)}
        in_order = [("created_at", 1), ("_id.kind", 1), ("_id.name", 1)]
        found = self._session.call(lambda database: list(database.resources.find(query).sort(in_order)))
        return [
            from_json(document["document"], LedgerEntry, f"MongoDB's ledger entry {document['_id']}")
            for document in found
        ]

    def identity(self) -> str:
        """An id of this history, made by whoever asks for it first."""
        whose = {"_id": "history"}

        def kept(database: Any) -> str:
            found = database[META].find_one(whose)
            if found is None:
                with contextlib.suppress(DuplicateKeyError):  # another was faster
                    database[META].insert_one(whose | {"identity": secrets.token_hex(8)})
                found = database[META].find_one(whose)
            return str(found["identity"])

        return self._session.call(kept)

    def close(self) -> None:
        """Give the connections back. The store may be used again afterwards."""
        self._session.close()

    def _write(self, run: RunResult, replacing: ObjectId | None) -> bool:
        """Write a run under a new revision. False where `replacing` is not the run's revision any more."""
        revision = ObjectId()
        documents = documents_of(run, revision)
        run_id = documents.head["_id"]
        condition = {"_id": run_id} if replacing is None else {"_id": run_id, "revision": replacing}

        def write(database: Any) -> bool:
            for name, below in documents.below.items():
                _replace_all(database, name, below)
            before = database.flywheel_runs.find_one_and_replace(
                condition,
                documents.head,
                upsert=replacing is None,
                return_document=ReturnDocument.BEFORE,
            )
            if before is None and replacing is not None:
                # Somebody was faster, unless it was we, and the answer was lost.
                if database.flywheel_runs.find_one({"_id": run_id, "revision": revision}):
                    return True
                _delete_below(database, run_id, {"$eq": revision})
                return False
            if before is not None and before["revision"] != revision:
                _delete_below(database, run_id, {"$eq": before["revision"]})
            long_ago = ObjectId.from_datetime(datetime.now(UTC) - _LEFT_OVER)
            _delete_below(database, run_id, {"$lt": long_ago, "$ne": revision})  # of writers that were killed
            return True

        return self._session.call(write)


def _replace_all(database: Any, name: str, documents: list[Document]) -> None:
    if documents:
        writes = [ReplaceOne({"_id": document["_id"]}, document, upsert=True) for document in documents]
        database[name].bulk_write(writes, ordered=False)


def _delete_below(database: Any, run_id: str, revision: Document) -> None:
    for name in CHILDREN:
        database[name].delete_many({"run_id": run_id, "revision": revision})


def _is_at(run: RunResult, evaluation: Document) -> bool:
    """Whether the run still has an evaluation of this kind at this place."""
    position, place = evaluation["candidate_position"], evaluation["position"]
    if position >= len(run.candidates) or place >= len(run.candidates[position].evaluations):
        return False
    found = run.candidates[position].evaluations[place]
    score = found.scores.get(found.primary) if found.primary else None
    return score is not None and (found.primary, score.value) == (evaluation["metric"], evaluation["score"])


def _ledger_key(kind: str, name: str) -> Document:
    return {"kind": searchable(kind), "name": searchable(name)}
