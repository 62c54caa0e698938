"""The MongoDB store over a socket: the contract, and what is its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from bson import ObjectId

from blocks.mongo.connection import MongoConnection, connection_from_environment
from blocks.mongo.documents import documents_of
from blocks.mongo.run_store import MongoRunStore
from blocks.mongo.schema import COLLECTIONS, MIGRATIONS, prepare
from flywheel.errors import ConfigError, DataError
from tests.contracts.run_store import RunStoreContract
from tests.contracts.run_store.cases import entry, evaluation, judged, run, scored


@pytest.fixture
def store(mongo: MongoConnection) -> Iterator[MongoRunStore]:
    store = MongoRunStore(mongo)
    yield store
    store.close()


@pytest.fixture
def opening(mongo: MongoConnection) -> str:
    return (
        "from blocks.mongo.connection import MongoConnection\n"
        "from blocks.mongo.run_store import MongoRunStore\n"
        f"store = MongoRunStore(MongoConnection({mongo.url!r}, database={mongo.database!r}))"
    )


class TestContract(RunStoreContract):
    pass


def names_of(mongo: MongoConnection, collection: str) -> set[str]:
    with mongo.client() as client:
        return set(client[mongo.database_name][collection].index_information())


def test_the_collections_can_be_searched_with_any_tool(store: MongoRunStore, mongo: MongoConnection) -> None:
    store.save_run(run(eval_set="set-a"))
    store.save_judge_run(judged())
    store.record_resource(entry())
    with mongo.client() as client:
        database = client[mongo.database_name]
        assert (
            database.flywheel_runs.count_documents({"workload_id": "support-router", "eval_set": "set-a"})
            == 1
        )
        assert database.nims.distinct("status") == ["completed", "failed"]
        found = database.evaluations.find_one({"score": {"$gte": 0.5}, "eval_type": "base-eval"})
        assert (found["metric"], found["score"], found["n"], found["unscored"]) == ("exact_match", 0.5, 18, 2)
        assert found["interval"] == [0.29, 0.71]
        assert database.customizations.distinct("job") == ["job-1"]
        assert database.llm_judge_runs.distinct("judge") == ["large-judge"]
        assert database.resources.find_one({"_id.name": "fw-1"})["platform"] == "local"


def test_the_store_makes_its_indexes_and_the_searches_use_them(
    store: MongoRunStore, mongo: MongoConnection
) -> None:
    store.save_run(run())
    with mongo.client() as client:
        database = client[mongo.database_name]
        query = {"workload_id": "support-router", "client_id": "acme-web"}
        plan = database.flywheel_runs.find(query).sort([("started_at", -1), ("_id", -1)]).explain()
        assert "workload_id_1" in str(plan["queryPlanner"]["winningPlan"])
        unique = database.nims.index_information()["revision_1_candidate_1"]
        assert unique["unique"]


def test_only_the_documents_of_what_was_saved_last_are_left(
    store: MongoRunStore, mongo: MongoConnection
) -> None:
    for count in (3, 1, 2):
        store.save_run(run(candidates=run().candidates[: min(2, count)]))
    with mongo.client() as client:
        database = client[mongo.database_name]
        assert [database[name].count_documents({}) for name in ("flywheel_runs", "nims", "evaluations")] == [
            1,
            2,
            2,
        ]
        assert store.remove_run("run-1")
        assert sum(database[name].count_documents({}) for name in COLLECTIONS) == 0


def test_a_run_longer_than_any_document_may_be_is_kept_whole(
    store: MongoRunStore, mongo: MongoConnection
) -> None:
    error = "ü" * 3_100_000  # 18.6 MB as ASCII JSON; MongoDB takes 16 MiB
    result = msgspec.structs.replace(
        run().candidates[0], evaluations=[evaluation(error=error), evaluation(eval_type="icl-eval")]
    )
    whole = run(config={"text": error}, candidates=[result])
    store.save_run(whole)
    assert store.load_run("run-1") == whole
    store.save_judge_run(judged(details={"text": error}))
    assert store.judge_runs("run-1") == [judged(details={"text": error})]
    store.save_run(run())
    store.save_judge_run(judged())
    assert store.load_run("run-1") == run()
    with mongo.client() as client:
        assert client[mongo.database_name].document_parts.count_documents({}) == 0


def test_a_ledger_entry_too_long_for_a_document_is_refused_and_the_old_one_stays(
    store: MongoRunStore,
) -> None:
    store.record_resource(entry())
    with pytest.raises(DataError, match="Nothing was written"):
        store.record_resource(entry(details={"text": "x" * 17_000_000}))
    assert store.allocated() == [entry()]


def test_a_database_of_another_program_is_left_alone(store: MongoRunStore, mongo: MongoConnection) -> None:
    # The best known data flywheel names its collections as we do.
    with mongo.client() as client:
        client[mongo.database_name].flywheel_runs.insert_one({"workload_id": "w", "status": "pending"})
        for ask in (store.list_runs, lambda: store.save_run(run())):
            with pytest.raises(DataError, match="another program"):
                ask()
        names = client[mongo.database_name].list_collection_names()
    assert names == ["flywheel_runs"]


def test_a_database_of_a_newer_flywheel_is_refused(store: MongoRunStore, mongo: MongoConnection) -> None:
    store.save_run(run())
    with mongo.client() as client:
        client[mongo.database_name].flywheel_meta.update_one(
            {"_id": "schema"}, {"$set": {"version": len(MIGRATIONS) + 1}}
        )
    newer = MongoRunStore(mongo)
    with pytest.raises(DataError, match="newer flywheel"):
        newer.list_runs()
    newer.close()


def test_an_older_database_is_brought_up_to_date_with_its_runs_by_two_at_once(
    store: MongoRunStore, mongo: MongoConnection
) -> None:
    store.save_run(run())

    def added(database: Any) -> None:
        database.flywheel_runs.create_index([("production_model", 1)])

    with mongo.client() as client, ThreadPoolExecutor(2) as threads:
        database = client[mongo.database_name]
        list(threads.map(lambda _: prepare(database, "here", (*MIGRATIONS, added)), range(2)))
        prepare(database, "here", (*MIGRATIONS, added))
        assert database.flywheel_meta.find_one()["version"] == len(MIGRATIONS) + 1
    assert "production_model_1" in names_of(mongo, "flywheel_runs")
    assert store.load_run("run-1") == run()


def test_a_migration_that_was_interrupted_is_made_the_next_time(mongo: MongoConnection) -> None:
    def interrupted(database: Any) -> None:
        raise KeyboardInterrupt

    with mongo.client() as client:
        with pytest.raises(KeyboardInterrupt):
            prepare(client[mongo.database_name], "here", (*MIGRATIONS, interrupted))
        store = MongoRunStore(mongo)
        store.save_run(run())
        assert store.load_run("run-1") == run()
        store.close()


def test_documents_that_somebody_deleted_are_a_clear_error_and_no_smaller_run(
    store: MongoRunStore, mongo: MongoConnection
) -> None:
    store.save_run(run())
    with mongo.client() as client:
        client[mongo.database_name].evaluations.delete_one({})
    with pytest.raises(DataError, match="run-1 without all of its documents"):
        store.load_run("run-1")
    store.save_run(run())
    assert store.load_run("run-1") == run()


def test_a_document_that_cannot_be_read_is_a_clear_error(
    store: MongoRunStore, mongo: MongoConnection
) -> None:
    store.save_run(run())
    with mongo.client() as client:
        client[mongo.database_name].flywheel_runs.update_one({}, {"$set": {"document": "{"}})
    with pytest.raises(DataError, match="RunResult that cannot be read"):
        store.load_run("run-1")


def test_what_a_killed_writer_left_is_not_seen_and_goes_with_a_later_save(
    store: MongoRunStore, mongo: MongoConnection
) -> None:
    store.save_run(scored("run-1", 1, 0.5))
    killed = documents_of(
        scored("run-1", 1, 1.0), ObjectId.from_datetime(datetime.now(UTC) - timedelta(days=2))
    )
    with mongo.client() as client:
        for name, documents in killed.below.items():
            if documents:
                client[mongo.database_name][name].insert_many(documents)
        assert store.load_run("run-1") == scored("run-1", 1, 0.5)
        best = store.best_score("support-router", "acme-web", "exact_match")
        assert best is not None
        assert best.evaluation.scores["exact_match"].value == 0.5
        store.save_run(scored("run-1", 1, 0.5))
        assert client[mongo.database_name].nims.count_documents({}) == 1


def test_writes_wait_for_the_majority_unless_the_address_says_otherwise(mongo: MongoConnection) -> None:
    with mongo.client() as client:
        assert client.write_concern.document == {"w": "majority"}
    other = MongoConnection("mongodb://localhost/?w=1")
    with other.client() as client:
        assert client.write_concern.document == {"w": 1}


def test_the_database_is_the_one_set_else_that_of_the_address_else_flywheel() -> None:
    assert MongoConnection("mongodb://h/history?tls=true").database_name == "history"
    assert MongoConnection("mongodb://h/history", database="other").database_name == "other"
    assert MongoConnection("mongodb://h").database_name == "flywheel"
    assert MongoConnection("mongodb://a:1,b:2,c:3/?replicaSet=r").place == "a:1,b:2,c:3/flywheel"


def test_the_password_of_an_address_is_never_shown() -> None:
    connection = MongoConnection("mongodb://user:geheim@h/x", username="u", password="streng")
    for shown in (repr(connection), str(connection), connection.place):
        assert "geheim" not in shown
        assert "streng" not in shown


def test_the_environment_says_where_mongodb_is() -> None:
    with pytest.raises(ConfigError, match="MONGODB_URL"):
        connection_from_environment({})
    found = connection_from_environment(
        {"MONGODB_URL": "mongodb://h/x", "MONGODB_USERNAME": "u", "MONGODB_PASSWORD": "p"}
    )
    assert found == MongoConnection("mongodb://h/x", username="u", password="p")
    assert found.patience_seconds == 30
    url = {"MONGODB_URL": "mongodb://h/x"}
    assert connection_from_environment(url | {"MONGODB_PATIENCE_SECONDS": "2.5"}).patience_seconds == 2.5
    for wrong in ("soon", "0", "-1", "1e9"):
        with pytest.raises(ConfigError, match="MONGODB_PATIENCE_SECONDS"):
            connection_from_environment(url | {"MONGODB_PATIENCE_SECONDS": wrong})
