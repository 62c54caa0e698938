"""What `flywheel curate` says when it cannot, and that nothing half-made is left then."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.generate_log import CLIENT, WORKLOAD, write_log
from flywheel.sample import ROUTER_WORKLOAD, WEB_CLIENT
from tests.integration.curating import Ended, curate, curate_apart, many_records, words, write_records

pytestmark = pytest.mark.slow  # some claims start the command


def assert_fails(run: Ended | subprocess.CompletedProcess[str], code: int, folder: Path, *words: str) -> None:
    """The exit code, a message with these words and no traceback, and nothing left in the folder."""
    assert run.returncode == code, run.stderr
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in run.stderr
    assert not [name for name in os.listdir(folder) if "out" in name]


def test_too_few_records_name_the_numbers_and_the_setting(tmp_path: Path) -> None:
    log = write_records(tmp_path / "log.jsonl", many_records(30))
    run = curate(log, tmp_path / "out", workload="w", client="c")
    assert_fails(run, 3, tmp_path, "30", "min_total_records")


def test_records_that_were_refused_are_named_by_their_reasons_where_too_few_are_left(
    tmp_path: Path,
) -> None:
    # no rejected file is left of a run that fails, so the reasons have no other place to stand
    silent = {"choices": [{"message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}]}
    records = many_records(30, response=silent)
    records[0] = {**records[0], "request": None}
    log = write_records(tmp_path / "log.jsonl", records)
    with log.open("a") as file:
        file.write("[]\n")
    run = curate(log, tmp_path / "out", workload="w", client="c")
    assert_fails(
        run,
        3,
        tmp_path,
        "No usable records",
        "Refused were 31: 29 empty_answer, 1 missing_request, 1 not_json.",
    )


def test_a_log_without_one_record_shows_what_is_wrong_with_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(many_records(2)) + "\n")  # the array that some exports are
    run = curate(tmp_path / "log.jsonl", tmp_path / "out", workload="w", client="c")
    assert_fails(run, 3, tmp_path, "1 of them not_json", "The first of them (log.jsonl:1): ")


def test_an_evaluation_set_too_large_after_deduplication_names_the_numbers_and_the_setting(
    tmp_path: Path,
) -> None:
    # checked before deduplication, 60 records that are left crash on an empty training set
    records = many_records(60)
    repeats = [{**entry, "id": f"again-{entry['id']}"} for entry in records]
    log = write_records(tmp_path / "log.jsonl", records + repeats)
    run = curate(log, tmp_path / "out", "--eval-size", "100", workload="w", client="c")
    assert_fails(run, 3, tmp_path, "60", "eval_size")


def test_no_share_for_validation_is_allowed(tmp_path: Path) -> None:
    log = write_records(tmp_path / "log.jsonl", many_records(60))
    assert curate(log, tmp_path / "out", "--val-ratio", "0", workload="w", client="c").returncode == 0
    assert (tmp_path / "out/train/validation.jsonl").read_bytes() == b""


def test_a_wrong_setting_is_a_usage_error(tmp_path: Path) -> None:
    log = write_records(tmp_path / "log.jsonl", many_records(60))
    run = curate(log, tmp_path / "out", "--set", "data_split_config.evalsize=3", workload="w", client="c")
    assert_fails(run, 2, tmp_path, "did you mean data_split_config.eval_size")
    assert_fails(
        curate(log, tmp_path / "out", "--eval-size", "0", workload="w", client="c"), 2, tmp_path, "eval_size"
    )


@pytest.mark.parametrize("content", [None, ""])
def test_no_log_or_an_empty_one_is_an_error_of_the_data(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "log.jsonl").write_text(content)
    assert_fails(curate(tmp_path / "log.jsonl", tmp_path / "out"), 3, tmp_path, "log.jsonl")


def test_a_full_disk_leaves_no_half_dataset(tmp_path: Path) -> None:
    log = write_records(tmp_path / "log.jsonl", many_records(3_000))

    def small_disk() -> None:  # no file of more than 200 kB: what writing to a full disk looks like
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    run = curate_apart(log, tmp_path / "out", workload="w", client="c", preexec_fn=small_disk)
    assert_fails(run, 1, tmp_path, "File too large", "free space")


def test_a_place_that_cannot_be_written_to_is_named(sample_log: Path, tmp_path: Path) -> None:
    assert_fails(curate(sample_log, Path("/proc/datasets")), 1, tmp_path, "writable", "/proc")


def test_a_directory_inside_a_file_is_a_usage_error(sample_log: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_fails(curate(sample_log, tmp_path / "file" / "x"), 2, tmp_path, "file is a file")


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    write_log(tmp_path / "log.jsonl", 30_000)
    command = words(
        *(tmp_path / "log.jsonl", tmp_path / "out", "--limit", "none"), workload=WORKLOAD, client=CLIENT
    )
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-m", "flywheel.cli.main", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        deadline = time.monotonic() + 240
        while not list(tmp_path.glob(".out-*/*/validate/*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
        _, errors = process.communicate(timeout=240)
        if process.returncode != 0:
            break
        shutil.rmtree(tmp_path / "out")  # it was done before we came to interrupt it
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert not list(tmp_path.glob("*out*"))
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    "odd", ["../../etc/passwd", "a/b c:ü", "<script>alert(1)</script>", "\x1b[31mred\x1b[0m"]
)
def test_odd_workload_ids_are_only_names(tmp_path: Path, odd: str) -> None:
    log = write_records(tmp_path / "log.jsonl", many_records(60, workload_id=odd))
    run = curate(log, tmp_path / "out", workload=odd, client="c")
    assert run.returncode == 0, run.stderr
    assert json.loads((tmp_path / "out/manifest.json").read_text())["settings"]["workload_id"] == odd
    assert sorted(os.listdir(tmp_path)) == ["log.jsonl", "out"]
    assert "\x1b" not in run.stdout


def test_curating_imports_nothing_heavy(sample_log: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from flywheel.cli.main import main\n"
        f"sys.argv[1:] = ['curate', '--logs', {str(sample_log)!r}, '--workload', {ROUTER_WORKLOAD!r}, '--client', "
        f"{WEB_CLIENT!r}, '--out', {str(tmp_path / 'out')!r}, '--json']\n"
        "code = main()\n"
        "heavy = {'prefect', 'torch', 'transformers', 'matplotlib', 'pandas'} & set(sys.modules)\n"
        "sys.exit(code or (f'imported {sorted(heavy)}' if heavy else 0))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
