"""Erasing a record from everything that was made of a log, as a user does it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest

from blocks.connections import open_dataset_store
from blocks.erasure import reach
from blocks.logs.file_log_store import FileLogStore
from blocks.ports import DatasetStore, LogQuery
from flywheel.cli.main import main
from flywheel.config import ConnectionsConfig
from flywheel.curation.extraction import extract
from flywheel.curation.funnel import funnel_of
from flywheel.curation.intake import Intake
from flywheel.curation.pipeline import curate
from flywheel.curation.validation.validate_stage import validate
from flywheel.evaluation.files import read_items
from flywheel.progress import silent
from flywheel.token_counters import counter_for
from tests.integration.erasing import CONFIG, Made


@pytest.fixture(params=["embedded"])
def made(tmp_path: Path, request: pytest.FixtureRequest) -> Made:
    url = {"file": f"file://{tmp_path}/elsewhere", "memory": f"memory://{tmp_path.name}-{uuid4().hex}"}
    return Made(tmp_path / "home", stored_at=url.get(request.param, request.param))


def datasets_at(*places: str) -> pytest.MarkDecorator:
    """Datasets in the home, in a shared directory by its URL, or in an object store."""
    return pytest.mark.parametrize("made", places, indirect=True)


@pytest.fixture
def erase(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    monkeypatch.setenv("FLYWHEEL_HOME", str(made.home))

    def command(*words: str) -> Any:
        capsys.readouterr()
        store = f"connections.dataset_store={made.connections.dataset_store}"
        assert main(["erase", *words, "--json", "--set", store]) == 0
        return json.loads(capsys.readouterr().out)

    return command


@datasets_at("embedded", "memory")
def test_a_training_record_is_told_wherever_it_is_and_goes_from_there(
    made: Made, erase: Callable[..., Any]
) -> None:
    victim = made.trained[3]
    text = made.texts[victim]
    before = made.holding(text)
    assert {"training.jsonl", "validated-00000.parquet", "extracted-00000.parquet", "eval_data.jsonl"} <= set(
        before
    )
    report = erase("--record-id", victim, "--record-id", f"r1{int(victim[1:]):02d}")
    assert {place["file"] for place in report["datasets"]} >= {
        "train/training.jsonl",
        "train/index.jsonl",
        "assignment.parquet",
        "deduplicated.parquet",
        "validated-00000.parquet",
        "extracted-00000.parquet",
        "rejected.jsonl",
    }
    assert [found["job"] for found in report["adapters"]] == ["tune"]
    shown = any(place["how"] == "removed with the item that showed it" for place in report["datasets"])
    assert [found["eval_type"] for found in report["evaluations"]] == ["icl-eval"] * shown
    assert victim in (made.adapter / "erased-records.jsonl").read_text()
    assert made.holding(text) == []
    for kind in made.refs:
        made.at(kind)  # checksums are those of the files as they are
    others = [name for name in made.trained if name != victim]
    rows = (made.at("datasets") / "train" / "training.jsonl").read_text()
    assert all(json.dumps(made.texts[name])[1:-1] in rows for name in others)


@datasets_at("file")
def test_an_evaluation_record_goes_from_items_and_answers_and_its_scores_are_told(
    made: Made, erase: Callable[..., Any]
) -> None:
    victim = made.items[0]
    report = erase("--record-id", victim, "--record-id", f"r1{int(victim[1:]):02d}")
    assert made.holding(made.texts[victim]) == []
    assert [item.id for item in read_items(made.at("datasets") / "base" / "eval_data.jsonl")] == made.items[
        1:
    ]
    assert [(e["run_id"], e["candidate"], e["eval_type"]) for e in report["evaluations"]] == [
        ("run-a", "alpha", "base-eval"),
        ("run-a", "alpha", "icl-eval"),
    ]
    assert report["adapters"] == [] or victim in made.trained
    assert any("run-a" in task for task in report["by_hand"])


@datasets_at("embedded", "memory")
def test_a_dry_run_tells_the_same_and_changes_nothing(made: Made, erase: Callable[..., Any]) -> None:
    before = {
        path: path.read_bytes()
        for path in made.home.parent.rglob("*")
        if path.is_file() and path.suffix != ".sqlite"
    }
    dry = erase("--record-id", made.trained[0], "--dry-run")
    assert {path: path.read_bytes() for path in before} == before
    assert not made.store.erased()
    wet = erase("--record-id", made.trained[0])
    assert wet["datasets"] == dry["datasets"]
    assert (dry["on_list"], wet["on_list"]) == (False, True)


def test_erasing_again_finds_only_what_names_it_and_harms_nothing(
    made: Made, erase: Callable[..., Any]
) -> None:
    victim = made.trained[0]
    first = erase("--record-id", victim)
    rows = (made.at("datasets") / "train" / "training.jsonl").read_bytes()
    note = (made.adapter / "erased-records.jsonl").read_bytes()
    again = erase("--record-id", victim)
    assert (made.at("datasets") / "train" / "training.jsonl").read_bytes() == rows
    assert (made.adapter / "erased-records.jsonl").read_bytes() == note
    assert again["adapters"] == first["adapters"] != []
    assert erase("--record-id", "another", "--dry-run")["adapters"] == []


class Ending:
    """A dataset store whose machine goes down at the first change."""

    def __init__(self, store: DatasetStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def revised(self, name: str) -> None:
        raise OSError("the machine goes down")


def test_an_adapter_is_marked_before_the_rows_go_that_tell_what_it_learned_from(made: Made) -> None:
    """Else an erasure that ends in between would leave it unmarked for ever."""
    victim = made.trained[0]
    with pytest.raises(OSError, match="goes down"):
        reach.erase(Ending(made.opened()), made.runs, [victim], dry_run=False)  # type: ignore[arg-type]
    assert victim in (made.adapter / "erased-records.jsonl").read_text()
    assert "training.jsonl" in made.holding(made.texts[victim])


def test_an_erasure_that_was_killed_between_two_files_takes_no_other_row(
    made: Made, erase: Callable[..., Any]
) -> None:
    victim = made.trained[0]
    training = made.at("datasets") / "train" / "training.jsonl"
    lines = training.read_bytes().splitlines(keepends=True)
    training.write_bytes(b"".join(lines[1:]))  # as if the index were still to be done
    erase("--record-id", victim)
    assert training.read_bytes() == b"".join(lines[1:])
    made.at("datasets")


def test_records_that_asked_the_same_are_named_and_stay(made: Made, erase: Callable[..., Any]) -> None:
    victim = made.trained[5]
    report = erase("--record-id", victim)
    assert report["repeats"] == [f"r1{int(victim[1:]):02d}"]


def test_a_rerun_does_not_bring_it_back_while_the_log_still_has_it(
    made: Made, erase: Callable[..., Any], tmp_path: Path
) -> None:
    victims = [made.trained[1], f"r1{int(made.trained[1][1:]):02d}"]
    erase(*(word for name in victims for word in ("--record-id", name)))
    log = FileLogStore(made.log).read(LogQuery("w", "c"), silent)
    manifest = curate(log, tmp_path / "out", CONFIG, counter_for(), silent, made.store.erased())
    assert manifest["funnel"]["erased"] == 2
    refused = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    gone = [row for row in refused if row["reason"] == "erased"]
    assert [(row["line"], row["record"]) for row in gone] == [
        (int(victims[0][1:]) + 1, None),
        (int(victims[0][1:]) + 61, None),
    ]
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or made.texts[victims[0]] not in path.read_text()


def test_a_run_that_is_resumed_from_what_was_extracted_still_adds_up(
    made: Made, erase: Callable[..., Any], tmp_path: Path
) -> None:
    erase("--record-id", made.trained[1])
    valid = validate(made.at("extracted"), tmp_path / "v", CONFIG.validation_config, silent)
    counts = made.counts("extracted")
    assert (counts["read"], counts["invalid"], counts["erased"]) == (120, 1, 1)
    funnel_of(counts, valid, {"train": valid["valid"]})


def test_a_record_without_an_id_in_the_log_is_known_by_the_one_that_was_made(tmp_path: Path) -> None:
    made = Made(tmp_path / "home", with_ids=False)
    table = pq.read_table(next(made.at("validated").glob("*.parquet")))
    name = table["record_id"][7].as_py()
    assert not name.startswith("r")
    intake = Intake(CONFIG, {name})
    log = FileLogStore(made.log).read(LogQuery("w", "c"), silent)
    counts = extract(log, tmp_path / "again", silent, intake=intake)
    assert counts["erased"] == 1
    assert json.loads((tmp_path / "again" / "rejected.jsonl").read_text())["line"] == table["line"][7].as_py()


def test_copies_of_another_machine_are_not_read_any_more_and_go_when_it_opens_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"file://{tmp_path}/elsewhere"
    made = Made(tmp_path / "home", stored_at=url)
    victim = made.items[0]
    text = made.texts[victim]
    other = ConnectionsConfig(home=str(tmp_path / "other"), dataset_store=url)
    asyncio.run(open_dataset_store(other)).open(made.refs["datasets"])
    monkeypatch.setenv("FLYWHEEL_HOME", str(made.home))
    assert main(["erase", "--record-id", victim, "--set", f"connections.dataset_store={url}"]) == 0
    assert "other machines" in " ".join(capsys.readouterr().out.split())

    fresh = asyncio.run(open_dataset_store(other)).open(made.refs["datasets"])
    assert victim not in [item.id for item in read_items(fresh / "base" / "eval_data.jsonl")]
    left = [path.name for path in (tmp_path / "other").rglob("*.jsonl") if f'"{victim}"' in path.read_text()]
    assert left == []
    assert text not in (fresh / "base" / "eval_data.jsonl").read_text()


def test_an_empty_id_is_refused(made: Made) -> None:
    assert main(["erase", "--record-id", " "]) == 2
