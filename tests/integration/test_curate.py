"""What `flywheel curate` leaves: files, exit codes, and what it says."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flywheel.cli.main import main
from tests.integration.curating import curate, curate_apart, lines_of, many_records, write_records

pytestmark = pytest.mark.slow  # some claims start the command once or twice

FILES = {
    "base/eval_data.jsonl",
    "icl/eval_data.jsonl",
    "icl/examples.jsonl",
    "icl/not_run.jsonl",
    "train/training.jsonl",
    "train/validation.jsonl",
    "train/index.jsonl",
    "rejected.jsonl",
    "certificate.json",
    "manifest.json",
}
DATASETS = sorted(name for name in FILES if name.startswith(("base", "icl", "train")))


@pytest.fixture(scope="module")
def curated(sample_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("curated") / "out"
    run = curate_apart(sample_log, out, "--eval-size", "40")
    assert run.returncode == 0, run.stderr
    return out


def test_the_files_are_exactly_those_that_are_promised(curated: Path) -> None:
    assert {p.relative_to(curated).as_posix() for p in curated.rglob("*") if p.is_file()} == FILES


def test_rows_have_the_promised_shapes_and_sizes(curated: Path) -> None:
    base, icl = lines_of(curated / "base/eval_data.jsonl"), lines_of(curated / "icl/eval_data.jsonl")
    assert len(base) == 40
    assert {tuple(row) for row in [*base, *icl]} == {("id", "request", "response", "cluster", "weight")}
    assert {row["id"] for row in icl} <= {row["id"] for row in base}
    assert all(a["request"] != b["request"] for a in icl for b in base if a["id"] == b["id"])
    training, validation = (lines_of(curated / f"train/{name}.jsonl") for name in ("training", "validation"))
    assert training
    assert validation
    assert {tuple(row) for row in [*training, *validation]} == {("messages", "tools")}
    assert all(row["messages"][-1]["role"] == "assistant" for row in training)


def test_the_index_matches_the_rows_and_no_cluster_is_on_two_sides(curated: Path) -> None:
    index = lines_of(curated / "train/index.jsonl")
    counts = {split: sum(row["split"] == split for row in index) for split in ("train", "validation")}
    assert counts["train"] == len(lines_of(curated / "train/training.jsonl"))
    assert counts["validation"] == len(lines_of(curated / "train/validation.jsonl"))
    sides: dict[str, set[str]] = {}
    for row in [
        *index,
        *({**row, "split": "evaluation"} for row in lines_of(curated / "base/eval_data.jsonl")),
    ]:
        sides.setdefault(row["cluster"], set()).add(row["split"])
    assert all(len(of) == 1 for of in sides.values())


def test_every_line_of_the_log_is_accounted_for(curated: Path, sample_log: Path) -> None:
    funnel = json.loads((curated / "manifest.json").read_text())["funnel"]
    rejected = lines_of(curated / "rejected.jsonl")
    assert {tuple(row) for row in rejected} == {("reason", "detail", "file", "line", "record")}
    parts = ("invalid", "exact_duplicates", "near_duplicates", "leaks_removed")
    assert len(rejected) == sum(funnel[name] for name in parts)
    assert funnel["exact_duplicates"] > 0
    assert funnel["near_duplicates"] > 0
    plain, packed = (
        (sample_log / "calls-1.jsonl").read_bytes(),
        (sample_log / "calls-2.jsonl.gz").read_bytes(),
    )
    written = [line for line in (plain + gzip.decompress(packed)).split(b"\n") if line.strip()]
    assert funnel["lines"] == len(written)


def test_what_production_contradicts_itself_on_is_left_out_of_training_and_accounted_for(
    tmp_path: Path,
) -> None:
    records = many_records(80)
    no = {"choices": [{"message": {"role": "assistant", "content": "No."}, "finish_reason": "stop"}]}
    contrary = [{**entry, "id": f"again-{entry['id']}", "response": no} for entry in records[:40]]
    log = write_records(tmp_path / "log.jsonl", [*records, *contrary])
    run = curate(
        log, tmp_path / "out", "--set", "dedup_config.contradictions=drop", "--json", workload="w", client="c"
    )
    assert run.returncode == 0, run.stderr
    funnel = json.loads(run.stdout)["funnel"]
    assert funnel["exact_duplicates"] == 40
    assert 20 <= funnel["contradicted"] <= 40
    rejected = lines_of(tmp_path / "out" / "rejected.jsonl")
    assert sum(line["reason"] == "contradicted" for line in rejected) == funnel["contradicted"]
    assert len(lines_of(tmp_path / "out" / "train" / "index.jsonl")) == 60 - funnel["contradicted"]


def test_manifest_and_certificate_say_how_it_came_about(curated: Path) -> None:
    manifest = json.loads((curated / "manifest.json").read_text())
    assert manifest["settings"]["data_split_config"]["eval_size"] == 40
    assert set(manifest["files"]) == FILES - {"manifest.json"}
    assert manifest["classes"]["evaluation"]
    assert json.loads((curated / "certificate.json").read_text())["verdict"] == "clean"


def test_evaluation_shares_no_near_duplicate_with_training(curated: Path) -> None:
    def shingles(messages: list[Any]) -> set[str]:
        text = "\n".join(str(m.get("content")) for m in messages if m["role"] == "user")
        return {text[i : i + 5] for i in range(len(text) - 4)}

    trained = [
        shingles(row["messages"])
        for name in ("training", "validation")
        for row in lines_of(curated / f"train/{name}.jsonl")
    ]
    for item in lines_of(curated / "base/eval_data.jsonl"):
        own = shingles(item["request"]["messages"])
        assert max(len(own & other) / len(own | other) for other in trained) < 0.8


def test_the_order_of_the_log_changes_no_byte_of_the_datasets(tmp_path: Path) -> None:
    records = many_records(120)
    first = write_records(tmp_path / "a.jsonl", records)
    random.Random(1).shuffle(records)
    second = write_records(tmp_path / "b.jsonl", records)
    for log, out in ((first, "a"), (second, "b")):
        assert curate_apart(log, tmp_path / out, workload="w", client="c").returncode == 0
    for name in DATASETS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_curating_leaves_the_random_state_of_the_process_alone(tmp_path: Path) -> None:
    log = write_records(tmp_path / "log.jsonl", many_records(80))
    before = random.getstate(), np.random.get_state()[1].tobytes()
    options = ["--workload", "w", "--client", "c", "--seed", "7", "--out", str(tmp_path / "out"), "--json"]
    assert main(["curate", "--logs", str(log), *options]) == 0
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before


def test_the_seed_that_was_used_is_written_down_and_zero_is_a_seed(tmp_path: Path) -> None:
    log = write_records(tmp_path / "log.jsonl", many_records(80))
    drawn = []
    for out, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert curate(log, tmp_path / out, "--seed", seed, workload="w", client="c").returncode == 0
        manifest = json.loads((tmp_path / out / "manifest.json").read_text())
        assert manifest["settings"]["data_split_config"]["random_seed"] == int(seed)
        drawn.append({name: (tmp_path / out / name).read_bytes() for name in DATASETS})
    assert drawn[0] == drawn[1]
    assert drawn[0]["base/eval_data.jsonl"] != drawn[2]["base/eval_data.jsonl"]


def test_json_is_one_document_on_stdout_and_nothing_else(sample_log: Path, tmp_path: Path) -> None:
    run = curate_apart(sample_log, tmp_path / "out", "--json")
    assert json.loads(run.stdout) == {
        "out": str(tmp_path / "out"),
        **json.loads((tmp_path / "out/manifest.json").read_text()),
    }


def test_a_second_run_replaces_the_first_and_foreign_directories_are_left_alone(
    sample_log: Path, tmp_path: Path
) -> None:
    assert curate(sample_log, tmp_path / "out", "--eval-size", "10").returncode == 0
    assert curate(sample_log, tmp_path / "out", "--eval-size", "12").returncode == 0
    assert len(lines_of(tmp_path / "out/base/eval_data.jsonl")) == 12
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    run = curate(sample_log, tmp_path / "mine")
    assert run.returncode == 2
    assert "name another directory" in run.stderr
    assert os.listdir(tmp_path / "mine") == ["thesis.txt"]


def test_without_room_for_examples_the_other_datasets_stand_and_the_icl_set_is_not_run(
    tmp_path: Path,
) -> None:
    log = write_records(tmp_path / "log.jsonl", many_records(80))
    run = curate(
        log, tmp_path / "out", "--set", "icl_config.max_context_length=256", workload="w", client="c"
    )
    assert run.returncode == 0
    assert (tmp_path / "out/icl/eval_data.jsonl").read_bytes() == b""
    assert len(lines_of(tmp_path / "out/icl/not_run.jsonl")) == 20
    assert "No icl set" in run.stdout
    assert json.loads((tmp_path / "out/manifest.json").read_text())["steps"]["icl"]["status"] == "not_run"
