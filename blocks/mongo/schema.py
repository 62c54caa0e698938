"""Collections of the run store, their indexes, and how an older database becomes a current one.

flywheel_runs     _id: run_id      one for each run; `revision` says which of the documents below belong to it
nims              candidates       | all three hold `run_id` and `revision`, and what people search by;
evaluations                        | the whole structure is JSON text in `document`
customizations                     |
document_parts                     what is too long for one document
llm_judge_runs    _id: id          what judges said
resources         _id: kind, name  the ledger
flywheel_meta     _id: "schema"    `version`: how many of the migrations were made
                  _id: "history"   `identity`: an id of this history
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pymongo import ASCENDING, DESCENDING

from flywheel.errors import DataError

CHILDREN = ("nims", "evaluations", "customizations", "document_parts")
COLLECTIONS = ("flywheel_runs", *CHILDREN, "llm_judge_runs", "resources")
META = "flywheel_meta"
_SCHEMA = {"_id": "schema"}

Migration = Callable[[Any], None]


def _first_indexes(database: Any) -> None:
    owner = [("workload_id", ASCENDING), ("client_id", ASCENDING)]
    newest = [("started_at", DESCENDING), ("_id", DESCENDING)]
    database.flywheel_runs.create_index(newest)
    database.flywheel_runs.create_index([*owner, *newest])
    database.flywheel_runs.create_index([("client_id", ASCENDING), *newest])
    database.flywheel_runs.create_index([*owner, ("eval_set", ASCENDING), *newest])
    database.nims.create_index([("revision", ASCENDING), ("candidate", ASCENDING)], unique=True)
    database.evaluations.create_index(
        [("revision", ASCENDING), ("candidate", ASCENDING), ("eval_type", ASCENDING)], unique=True
    )
    database.evaluations.create_index([*owner, ("metric", ASCENDING), ("score", DESCENDING)])
    database.customizations.create_index([("revision", ASCENDING), ("candidate", ASCENDING)], unique=True)
    database.document_parts.create_index([("revision", ASCENDING), ("of", ASCENDING), ("part", ASCENDING)])
    for name in CHILDREN:
        database[name].create_index([("run_id", ASCENDING)])
    database.llm_judge_runs.create_index([("run_id", ASCENDING), ("created_at", ASCENDING)])
    database.resources.create_index([("run_id", ASCENDING)])


MIGRATIONS: tuple[Migration, ...] = (_first_indexes,)
"""A migration is appended and never edited afterwards. Each may be made twice, and by two processes at once."""


def prepare(database: Any, place: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Make the database current. Raises DataError where it belongs to something else or to a newer flywheel."""
    version = _version(database)
    if version is None:
        if (
            any(database[name].find_one({}, {"_id": 1}) for name in COLLECTIONS)
            and _version(database) is None
        ):
            raise DataError(
                f"The MongoDB database {place} holds collections of another program that are named like ours. "
                "Choose another database for the run store (MONGODB_DATABASE, or the block's database)."
            )
        database[META].update_one(_SCHEMA, {"$max": {"version": 0}}, upsert=True)
        version = 0
    if version > len(migrations):
        raise DataError(
            f"The MongoDB database {place} was written by a newer flywheel (schema {version}, this one knows "
            f"{len(migrations)}). Upgrade, or choose another database."
        )
    if version < len(migrations):
        for migration in migrations[version:]:
            migration(database)
        database[META].update_one(_SCHEMA, {"$max": {"version": len(migrations)}}, upsert=True)


def _version(database: Any) -> int | None:
    found = database[META].find_one(_SCHEMA)
    return None if found is None else int(found["version"])
