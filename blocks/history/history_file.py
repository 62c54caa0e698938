"""History in a file, to move it from one run store to another or to keep it: one JSON object a line.

{"kind": "history", "version": 1}
{"kind": "run", "content": a run with its candidates and evaluations}
{"kind": "judge run", "content": ...}
{"kind": "resource", "content": an entry of the ledger}

Numbers are as Python's `json` writes them: the open end of an interval is `Infinity`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from blocks.history.run_documents import to_json
from blocks.ports import LedgerEntry, RunStore
from flywheel.errors import ConfigError, DataError
from flywheel.progress import Progress
from flywheel.results import JudgeRun, RunResult

VERSION = 1
_KINDS: dict[str, type[RunResult | JudgeRun | LedgerEntry]] = {
    "run": RunResult,
    "judge run": JudgeRun,
    "resource": LedgerEntry,
}


class Imported(msgspec.Struct):
    """What an import did. `different` are ids of runs that the store has with other content, and that it kept."""

    added: int = 0
    replaced: int = 0
    already_there: int = 0
    judge_runs: int = 0
    resources: int = 0
    different: list[str] = []


def export_history(store: RunStore, path: Path, progress: Progress) -> dict[str, int]:
    """Write all history to a new file, whole or not at all; returns how much of each kind.

    Raises: ConfigError where the file exists, OSError.
    """
    if path.exists():
        raise ConfigError(f"{path} exists already. Choose another name, or move it away.")
    counts: Counter[str] = Counter(dict.fromkeys(_KINDS, 0))
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("x", encoding="ascii") as file:
            file.write(json.dumps({"kind": "history", "version": VERSION}) + "\n")
            for kind, content in _contents(store):
                file.write(f'{{"kind": {json.dumps(kind)}, "content": {to_json(content)}}}\n')
                counts[kind] += 1
                progress("export", counts["run"], None, "runs")
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return dict(counts)


def import_history(store: RunStore, path: Path, progress: Progress, *, replace: bool = False) -> Imported:
    """Add what a file holds to a store. The whole file is checked before anything is written.

    Importing a file twice adds nothing. A run that the store has with other content is left alone and named in the
    result, unless `replace` is set.

    Raises: ConfigError (no such file), DataError (a line that is no history, with its number; nothing is written).
    """
    total = sum(1 for _ in _lines(path))
    done = Imported()
    for number, content in enumerate(_lines(path), 1):
        progress("import", number, total)
        match content:
            case RunResult():
                _import_run(store, content, done, replace)
            case JudgeRun():
                store.save_judge_run(content)
                done.judge_runs += 1
            case LedgerEntry():
                store.record_resource(content)
                done.resources += 1
    return done


def _import_run(store: RunStore, run: RunResult, done: Imported, replace: bool) -> None:
    found = store.find_run(run.run_id)
    if found == run:
        done.already_there += 1
        return
    if found is not None and not replace:
        done.different.append(run.run_id)
        return
    store.save_run(run)
    if found is None:
        done.added += 1
    else:
        done.replaced += 1


def _contents(store: RunStore) -> Iterator[tuple[str, Any]]:
    for entry in store.allocated():
        yield "resource", entry
    for run in store.all_runs():
        yield "run", run
        for judged in store.judge_runs(run.run_id):
            yield "judge run", judged


def _lines(path: Path) -> Iterator[RunResult | JudgeRun | LedgerEntry]:
    if not path.is_file():
        raise ConfigError(f"{path} is no file; give one that `flywheel runs export` wrote.")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}:{number}"
            try:
                entry = json.loads(line)
                if number == 1:
                    _check_head(entry, where)
                    continue
                yield msgspec.convert(entry["content"], _KINDS[entry["kind"]])
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                if isinstance(error, DataError):
                    raise
                raise DataError(
                    f"{where} is no history of a flywheel, or its end is missing ({error}). Nothing was imported."
                ) from error
        if file.tell() == 0:
            raise DataError(f"{path} is empty. Nothing was imported.")


def _check_head(entry: Any, where: str) -> None:
    if not isinstance(entry, dict) or entry.get("kind") != "history":
        raise DataError(f"{where} is not the beginning of a file that `flywheel runs export` wrote.")
    if entry.get("version") != VERSION:
        raise DataError(
            f"{where} was written by another flywheel (version {entry.get('version')}, this one reads {VERSION})."
        )
