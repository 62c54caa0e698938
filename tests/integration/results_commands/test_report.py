"""`flywheel report`: one page about a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.results_commands.stored_runs import stored


def test_the_report_of_the_newest_run_is_one_file_that_is_there_whole(
    home: Path, flywheel: Any, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    code, said, _ = flywheel("report", "--out", str(out))
    assert code == 0
    assert str(out) in said
    page = out.read_text()
    assert page.endswith("</html>")
    assert "get_weather" in page
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_report_says_what_is_gone_instead_of_failing(home: Path, flywheel: Any, tmp_path: Path) -> None:
    predictions = stored(home, "second").candidates[0].evaluations[0].predictions
    Path(str(predictions).removeprefix("file://")).unlink()
    code, out, _ = flywheel("report", "second", "--out", str(tmp_path / "r.html"), "--json")
    assert code == 0
    (missing,) = json.loads(out)["missing"]
    assert "Answers of small in its base-eval" in missing


def test_a_report_to_a_directory_is_refused_with_what_to_do(
    home: Path, flywheel: Any, tmp_path: Path
) -> None:
    code, _, err = flywheel("report", "second", "--out", str(tmp_path))
    assert code == 2
    assert "--out" in err
