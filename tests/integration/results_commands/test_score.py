"""`flywheel score --run`: every score of a run again, from its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blocks.history.sqlite_run_store import SqliteRunStore
from tests.integration.results_commands.stored_runs import store_judged_run, stored


def test_every_score_of_a_run_comes_out_again_from_its_files(home: Path, flywheel: Any) -> None:
    store_judged_run(home)
    code, out, _ = flywheel("score", "--run", "judged", "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["differing"], document["missing"]) == (0, [])
    by_metric = {score["metric"]: score for score in document["scores"]}
    assert {"function_name", "similarity", "specialist/function_name"} <= by_metric.keys()
    assert by_metric["similarity"]["from_answers"] is False
    assert by_metric["function_name_and_args_accuracy"]["again"]["by_traffic"]["value"] == pytest.approx(
        8 / 16
    )
    code, out, _ = flywheel("score", "--run", "judged")
    assert code == 0
    assert f"{len(by_metric)} of {len(by_metric)} scores come out as they were kept" in out
    assert "DIFFERS" not in out


def test_a_score_that_its_answers_do_not_give_is_named(home: Path, flywheel: Any) -> None:
    run = stored(home, "first")
    (evaluation,) = run.candidates[0].evaluations
    nicer = msgspec.structs.replace(evaluation.scores["function_name_and_args_accuracy"], value=0.99)
    scores = evaluation.scores | {"function_name_and_args_accuracy": nicer}
    changed = msgspec.structs.replace(evaluation, scores=scores)
    candidate = msgspec.structs.replace(run.candidates[0], evaluations=[changed])
    SqliteRunStore(home / "runs.sqlite").save_run(msgspec.structs.replace(run, candidates=[candidate]))
    code, out, _ = flywheel("score", "--run", "first")
    assert code == 3
    assert out.count("DIFFERS") == 1
    path = Path(str(evaluation.predictions).removeprefix("file://"))
    path.chmod(0o644)
    path.write_text(path.read_text().replace("Berlin", "Munich"))
    code, out, _ = flywheel("score", "--run", "first", "--json")
    assert code == 3
    assert "predictions.jsonl changed" in json.loads(out)["missing"][0]
    code, _, err = flywheel("score", "--run", "first", "--items", "x.jsonl")
    assert code == 2
    assert "leave out --items" in err
    code, _, err = flywheel("score", "--items", "x.jsonl")
    assert code == 2
    assert "--run" in err
