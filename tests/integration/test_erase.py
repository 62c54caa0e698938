"""Erasing a record from everything that was made of a log, as a user does it."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pyarrow.parquet as pq
import pytest

from blocks.connections import open_dataset_store
from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.logs.file_log_store import FileLogStore
from blocks.ports import DatasetRef, DatasetStore, LogQuery
from flywheel.cli.main import main
from flywheel.config import ConnectionsConfig, FlywheelConfig
from flywheel.curation.deduplication import deduplicate
from flywheel.curation.extraction import extract
from flywheel.curation.funnel import funnel_of
from flywheel.curation.intake import Intake
from flywheel.curation.leakage import check_leakage
from flywheel.curation.pipeline import curate
from flywheel.curation.split import split
from flywheel.curation.validate_stage import validate
from flywheel.datasets.build import build_datasets
from flywheel.datasets.icl import build_icl
from flywheel.evaluation.files import read_items
from flywheel.progress import silent
from flywheel.results import CandidateResult, Customization, Evaluation, RunResult
from flywheel.token_counters import counter_for
from tests.unit.curation.calls import record, request
from tests.unit.curation.questions import question

CONFIG = FlywheelConfig.model_validate(
    {
        "workload_id": "w",
        "client_id": "c",
        "data_split_config": {"eval_size": 10, "min_total_records": 10},
        "icl_config": {"max_similarity": 1.0},
    }
)
SPLIT = CONFIG.data_split_config


class Made:
    """A home with a run's datasets, predictions and adapter, and the log that they came from."""

    def __init__(self, home: Path, *, with_ids: bool = True, stored_at: str = "embedded") -> None:
        self.home, self.log = home, home.parent / "log.jsonl"
        self.connections = ConnectionsConfig(home=str(home), dataset_store=stored_at)
        self.texts = {f"r{n}": question(n) for n in range(60)}
        records = [
            record(n, id=f"r{n}" if with_ids else ..., request=asked(self.texts[f"r{n}"])) for n in range(60)
        ]
        records += [
            record(100 + n, request=asked(self.texts[f"r{n}"]), timestamp=1_700_000_000) for n in range(60)
        ]
        self.log.write_text("".join(json.dumps(line) + "\n" for line in records))
        self.store = self.opened()
        self.refs: dict[str, DatasetRef] = {}
        log = FileLogStore(self.log).read(LogQuery("w", "c"), silent)
        self.make("extracted", lambda out: extract(log, out, silent))
        valid = self.make(
            "validated", lambda out: validate(self.at("extracted"), out, CONFIG.validation_config, silent)
        )
        self.make(
            "deduplicated",
            lambda out: deduplicate(valid, out, CONFIG.dedup_config, silent, {"client_id": "c"}),
        )
        self.make("split", lambda out: split(self.at("deduplicated"), out, SPLIT, silent))
        sides = self.make(
            "checked",
            lambda out: check_leakage(valid, self.at("split"), out, CONFIG.leakage_config, silent, {}),
        )
        self.make("datasets", lambda out: build_datasets(valid, sides, out, SPLIT, silent))
        self.make(
            "icl",
            lambda out: build_icl(valid, sides, out, CONFIG.icl_config, SPLIT, counter_for(), 8_000, silent),
        )
        self.items = [item.id for item in read_items(self.at("datasets") / "base" / "eval_data.jsonl")]
        index = (self.at("datasets") / "train" / "index.jsonl").read_text().splitlines()
        self.trained = [row["id"] for row in map(json.loads, index) if row["split"] == "train"]
        lines = [{"id": name, "response": {"said": self.texts[name]}} for name in self.items if with_ids]
        self.make("predictions", lambda out: written(out / "predictions.jsonl", lines))
        shutil.copy(
            self.at("predictions") / "predictions.jsonl", self.store.scratch("run-a") / "predictions.jsonl"
        )
        self.adapter = home / "jobs" / "tune" / "adapter"
        self.adapter.mkdir(parents=True)
        evaluation = Evaluation(
            "base-eval", "m", predictions=f"{self.refs['predictions'].uri}/predictions.jsonl"
        )
        tuned = Customization("tune", "tune", "completed", adapter=str(self.adapter))
        with_examples = Evaluation(
            "icl-eval", "m", predictions="elsewhere/predictions.jsonl", in_context=self.refs["icl"].uri
        )
        result = CandidateResult("alpha", "m", "completed", [evaluation, with_examples], tuned)
        datasets = {"datasets": self.refs["datasets"].uri}
        self.runs = SqliteRunStore(home / "runs.sqlite")
        self.runs.save_run(
            RunResult("run-a", "w", "c", "completed", "2026-01-01", datasets=datasets, candidates=[result])
        )

    def make(self, kind: str, work: Callable[[Path], dict[str, Any]]) -> Path:
        with self.store.create(kind, {"of": "run-a"}) as staging:
            staging.counts = work(staging.path)
        self.refs[kind] = staging.ref
        return self.at(kind)

    def at(self, kind: str) -> Path:
        return self.opened().open(self.refs[kind])

    def opened(self) -> DatasetStore:
        return asyncio.run(open_dataset_store(self.connections))

    def counts(self, kind: str) -> dict[str, Any]:
        counts: dict[str, Any] = json.loads((self.at(kind) / "manifest.json").read_text())["counts"]
        return counts

    def holding(self, text: str) -> list[str]:
        """Files of the home and of the dataset store in which a text stands, Parquet decoded."""
        files = {str(path): path.read_bytes() for path in self.home.rglob("*") if path.is_file()}
        if "://" in self.connections.dataset_store:
            there, root = fsspec.core.url_to_fs(self.connections.dataset_store)
            files |= {path: there.cat_file(path) for path in there.find(root)}
        found = []
        for path, data in sorted(files.items()):
            if not path.endswith(".sqlite"):
                decode = path.endswith(".parquet")
                content = str(pq.read_table(io.BytesIO(data)).to_pylist()) if decode else data.decode()
                if text in content:
                    found.append(path.rpartition("/")[2])
        return found


def asked(text: str) -> dict[str, Any]:
    return request({"role": "user", "content": text})


def written(path: Path, lines: list[dict[str, Any]]) -> dict[str, Any]:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {}


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
    erase("--record-id", victim)
    rows = (made.at("datasets") / "train" / "training.jsonl").read_bytes()
    erase("--record-id", victim)
    assert (made.at("datasets") / "train" / "training.jsonl").read_bytes() == rows


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
