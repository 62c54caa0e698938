"""What `curate` leaves is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from flywheel.curation.output_directory import append_lines, replacing, write_manifest
from flywheel.errors import ConfigError


def leave(out: Path, content: str) -> None:
    with replacing(out) as (result, work):
        (result / "data.jsonl").write_text(content)
        (work / "half").write_text("not for anyone")
        write_manifest(result, {})


def everything_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_result_takes_its_place_and_nothing_else_stays(tmp_path: Path) -> None:
    leave(tmp_path / "deep" / "out", "1")
    assert everything_in(tmp_path) == ["deep", "deep/out", "deep/out/data.jsonl", "deep/out/manifest.json"]


def test_an_earlier_result_is_replaced_whole(tmp_path: Path) -> None:
    leave(tmp_path / "out", "1")
    (tmp_path / "out" / "left-over").write_text("of the first")
    leave(tmp_path / "out", "2")
    assert everything_in(tmp_path) == ["out", "out/data.jsonl", "out/manifest.json"]
    assert (tmp_path / "out" / "data.jsonl").read_text() == "2"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_no_half_result_and_the_earlier_one_untouched(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def fail(out: Path) -> None:
        with replacing(out) as (result, _):
            (result / "data.jsonl").write_text("half")
            raise error("stop")

    with pytest.raises(error):
        fail(tmp_path / "new")
    assert everything_in(tmp_path) == []
    leave(tmp_path / "out", "1")
    with pytest.raises(error):
        fail(tmp_path / "out")
    assert everything_in(tmp_path) == ["out", "out/data.jsonl", "out/manifest.json"]
    assert (tmp_path / "out" / "data.jsonl").read_text() == "1"


def test_a_directory_inside_a_file_is_refused_by_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ConfigError, match=r"notes is a file, so .*out cannot be a directory"):
        leave(tmp_path / "notes" / "deep" / "out", "1")
    assert (tmp_path / "notes").read_text() == "mine"


def test_an_empty_directory_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    leave(tmp_path / "out", "1")
    assert (tmp_path / "out" / "data.jsonl").exists()


@pytest.mark.parametrize("manifest", [None, "not json", "[]", '{"kind": "something else"}'])
def test_a_directory_with_something_else_in_it_is_refused_and_kept(
    tmp_path: Path, manifest: str | None
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    if manifest is not None:
        (out / "manifest.json").write_text(manifest)
    with pytest.raises(ConfigError, match="name another directory"):
        leave(out, "1")
    assert (out / "thesis.txt").read_text() == "years of work"


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigError, match="is a file"):
        leave(tmp_path / "out", "1")


def test_the_manifest_has_size_and_checksum_of_every_file(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "rows.jsonl").write_bytes(b"{}\n")
    write_manifest(tmp_path, {"funnel": {"read": 1}})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["funnel"] == {"read": 1}
    assert manifest["files"] == {
        "base/rows.jsonl": {"bytes": 3, "sha256": hashlib.sha256(b"{}\n").hexdigest()}
    }


def test_appending_counts_lines_and_an_absent_file_has_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1\n2\n")
    assert append_lines(tmp_path / "a", tmp_path / "b") == 2
    assert append_lines(tmp_path / "none", tmp_path / "b") == 0
    assert append_lines(tmp_path / "a", tmp_path / "b") == 2
    assert (tmp_path / "b").read_bytes() == b"1\n2\n1\n2\n"
