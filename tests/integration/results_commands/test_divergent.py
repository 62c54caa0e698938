"""`flywheel divergent`: where a candidate answered otherwise, shown and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from flywheel.evaluation.files import read_items
from tests.integration.results_commands.stored_runs import BERLIN, ITEMS, store_run


def test_divergent_answers_are_listed_worst_first_with_the_difference_marked(
    home: Path, flywheel: Any
) -> None:
    code, out, _ = flywheel("divergent", "first")
    assert code == 0
    assert out.count("wrong arguments") == 5
    assert '"⟦Berlin⟧"' in out
    assert '"⟦Bonn⟧"' in out
    assert "5 of 5 divergent answers" in out


def test_one_item_is_shown_in_full(home: Path, flywheel: Any) -> None:
    code, out, _ = flywheel("divergent", "first", "--item", "i0", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["request"] == ITEMS[0].request
    assert [answer["candidate"] for answer in document["divergent"]] == ["small"]
    code, out, _ = flywheel("divergent", "first", "--item", "i0")
    assert "response of production" in out
    code, _, err = flywheel("divergent", "first", "--item", "nope")
    assert code == 3
    assert "flywheel divergent first" in err


def test_a_divergent_answer_bears_the_scores_that_no_program_of_ours_gave(
    home: Path, flywheel: Any, tmp_path: Path
) -> None:
    store_run(home, "policed", wrong=1, own={"policy": 0.0})
    code, out, _ = flywheel("divergent", "policed", "--json")
    assert code == 0
    assert [answer["scores"] for answer in json.loads(out)] == [{"policy": 0.0}]
    _, out, _ = flywheel("divergent", "policed")
    assert "scored     policy 0.00" in out
    page = tmp_path / "report.html"
    flywheel("report", "policed", "--out", str(page))
    assert "<span>scored policy 0.00</span>" in page.read_text(encoding="utf-8")


def test_exported_items_are_a_set_that_score_and_later_runs_read(
    home: Path, flywheel: Any, tmp_path: Path
) -> None:
    out = tmp_path / "specialist.jsonl"
    code, said, _ = flywheel("divergent", "first", "--candidate", "small", "--export", str(out))
    assert code == 0
    assert "evaluation_config.extra_items" in said
    assert {one.id for one in read_items(out)} == {"i0", "i1", "i2", "i3", "i4"}
    code, _, _ = flywheel("divergent", "first", "--candidate", "small", "--export", str(out))
    assert code == 0, "an earlier set is replaced"
    log = tmp_path / "log.jsonl"
    log.write_text('{"workload_id": "w"}\n', encoding="utf-8")
    code, _, err = flywheel("divergent", "first", "--candidate", "small", "--export", str(log))
    assert code == 2, "anything else is not"
    assert "name another file with --export" in err
    assert log.read_text(encoding="utf-8") == '{"workload_id": "w"}\n'
    answers = tmp_path / "answers.jsonl"
    answers.write_bytes(
        b"".join(msgspec.json.encode({"id": f"i{n}", "response": BERLIN}) + b"\n" for n in range(5))
    )
    code, scored, _ = flywheel("score", "--items", str(out), "--predictions", str(answers), "--json")
    assert json.loads(scored)["scores"]["function_name_and_args_accuracy"]["value"] == 1.0
