"""A home with all that a run makes of a log, to erase records from."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq

from blocks.connections import open_dataset_store
from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.logs.file_log_store import FileLogStore
from blocks.ports import DatasetRef, DatasetStore, LogQuery
from flywheel.config import ConnectionsConfig, FlywheelConfig
from flywheel.curation.duplicates.deduplication import deduplicate
from flywheel.curation.extraction import extract
from flywheel.curation.leakage.check import check_leakage
from flywheel.curation.splitting.split import split
from flywheel.curation.validation.validate_stage import validate
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
