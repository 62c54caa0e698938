"""The sample log through the real steps of curation: what was planted is what is found."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from blocks.logs.file_log_store import FileLogStore
from blocks.ports import LogQuery
from flywheel.cli.main import main
from flywheel.config import ValidationConfig
from flywheel.curation.extraction import extract
from flywheel.curation.validation.validate_stage import validate
from flywheel.progress import silent
from flywheel.sample import ROUTER_WORKLOAD, WEB_CLIENT, write_sample_log
from flywheel.sample.generator import entries
from flywheel.sample.spoiled import SPOILERS

ODD_IDS_AND_LINES = 5  # three lines delivered twice, two ids used twice: for deduplication to find


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Extracted and validated, in a directory with one folder a step."""
    root = tmp_path_factory.mktemp("sample")
    write_sample_log(root / "log")
    for step in ("extracted", "validated"):
        (root / step).mkdir()
    query = LogQuery(ROUTER_WORKLOAD, WEB_CLIENT)
    extract(FileLogStore(root / "log").read(query, silent), root / "extracted", silent)
    report = validate(root / "extracted", root / "validated", ValidationConfig(), silent)
    (root / "report.json").write_text(json.dumps(report))
    return root


def reasons_in(*files: Path) -> Counter[str]:
    return Counter(json.loads(line)["reason"] for file in files for line in file.read_text().splitlines())


def test_every_spoiled_record_is_refused_for_the_reason_it_was_made_for(validated: Path) -> None:
    found = reasons_in(*(validated / step / "rejected.jsonl" for step in ("extracted", "validated")))
    expected = Counter(reason for reason, _ in SPOILERS)
    assert (
        expected.pop("arguments_break_schema") == 2
    )  # reported, and refused only where the settings ask for it
    assert found == expected


def test_every_good_record_of_the_workload_passes(validated: Path) -> None:
    report = json.loads((validated / "report.json").read_text())
    ours = [
        entry
        for entry in entries()
        if (entry.call.workload_id, entry.client_id) == (ROUTER_WORKLOAD, WEB_CLIENT)
    ]
    schema_breakers = report["schema_violations"]["records"]
    assert schema_breakers == 2
    assert report["valid"] == len(ours) + schema_breakers + ODD_IDS_AND_LINES
    assert set(report["answer_classes"]) >= {
        "no_tool",
        "find_store+track_order",
        "track_order",
        "cancel_order",
    }
    assert report["several_choices"]["records"] == 2


def test_curation_finds_the_planted_repeats_and_nothing_else(
    validated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "curate",
        "--logs",
        str(validated / "log"),
        "--workload",
        ROUTER_WORKLOAD,
        "--client",
        WEB_CLIENT,
    ]
    assert main([*command, "--eval-size", "40", "--out", str(tmp_path / "out"), "--json"]) == 0
    funnel = json.loads(capsys.readouterr().out)["funnel"]
    planted = Counter(entry.kind for entry in entries())
    found = reasons_in(tmp_path / "out" / "rejected.jsonl")
    assert found["duplicate_id"] == 2
    assert funnel["near_duplicates"] == found["near_duplicate"] == planted["near_repeat"]
    # Repeats, other answers to the same question, tool calls that break the schema, lines delivered twice.
    assert (
        funnel["exact_duplicates"]
        == found["exact_duplicate"]
        == planted["repeat"] + planted["other_answer"] + 2 + 3
    )
    assert funnel["leaks_removed"] == 0
    assert funnel["evaluation"] == 40
    assert funnel["train"] + funnel["validation"] >= 330
