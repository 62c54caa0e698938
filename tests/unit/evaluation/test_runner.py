from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flywheel.errors import DataError, EndpointRefused, RemoteRejected, TransientRemoteError
from flywheel.evaluation.runner import Answer, run_evaluation
from flywheel.results import EvalItem, Prediction
from tests.unit.evaluation.cases import calls, item, text

RIGHT = calls(("get_weather", {"city": "Berlin"}))


def some(count: int) -> list[EvalItem]:
    return [item(RIGHT, f"i{n:03}") for n in range(count)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Model:
    """Answers every item rightly, unless told otherwise for some, and remembers who asked."""

    def __init__(self, fails: dict[str, Exception] | None = None, seconds: float = 0) -> None:
        self.asked: list[str] = []
        self.under_way = 0
        self.most_under_way = 0
        self._fails = fails or {}
        self._seconds = seconds

    async def __call__(self, question: EvalItem, /) -> Answer:
        self.asked.append(question.id)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(self._seconds)
        self.under_way -= 1
        if question.id in self._fails:
            raise self._fails[question.id]
        return Answer(RIGHT, 12.5)


async def test_every_item_gets_one_scored_line_in_the_order_of_the_items(tmp_path: Path) -> None:
    path, model = tmp_path / "new" / "predictions.jsonl", Model()
    result = await run_evaluation(some(7), model, path, concurrency=3)
    assert [p.id for p in result] == [f"i{n:03}" for n in range(7)]
    assert [line["id"] for line in lines(path)] == [p.id for p in result]
    assert all(line["scores"]["function_name_and_args_accuracy"] == 1 for line in lines(path))
    assert lines(path)[0]["tool_calls"] == [{"name": "get_weather", "arguments": {"city": "Berlin"}}]
    assert msgspec.convert(lines(path), list[Prediction]) == list(result)
    assert list(path.parent.iterdir()) == [path]


async def test_no_more_than_the_allowed_requests_are_under_way(tmp_path: Path) -> None:
    model = Model(seconds=0.01)
    await run_evaluation(some(20), model, tmp_path / "p.jsonl", concurrency=4)
    assert model.most_under_way == 4


async def test_an_item_that_fails_is_an_error_line_and_the_others_are_scored(tmp_path: Path) -> None:
    refused = RemoteRejected("the prompt does not fit")
    refused.attempts = 3
    result = await run_evaluation(some(5), Model({"i002": refused}), tmp_path / "p.jsonl", concurrency=2)
    assert [p.error for p in result] == [None, None, "the prompt does not fit", None, None]
    assert result[2].scores == dict.fromkeys(result[1].scores)
    assert result[2].attempts == 3


async def test_a_rerun_asks_only_for_what_is_missing_or_failed(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    await run_evaluation(some(4), Model({"i001": RemoteRejected("no")}), path, concurrency=2)
    again = Model()
    result = await run_evaluation(some(6), again, path, concurrency=2)
    assert sorted(again.asked) == ["i001", "i004", "i005"]
    assert all(p.error is None for p in result)
    nothing = Model()
    await run_evaluation(some(6), nothing, path, concurrency=2)
    assert nothing.asked == []


async def test_a_line_torn_by_a_kill_is_asked_again_and_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    await run_evaluation(some(3), Model(), path, concurrency=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    # This time it stops half-way again: the next line must not be glued to the torn one.
    with pytest.raises(RuntimeError, match="bug"):
        await run_evaluation(some(5), Model({"i003": RuntimeError("bug")}), path, concurrency=1)
    last = Model()
    await run_evaluation(some(5), last, path, concurrency=1)
    assert last.asked == ["i003", "i004"]


async def test_garbage_in_the_file_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(
        b'\xff\xfe\n{"id": 7}\n[1]\n\n{"id": "stranger", "response": {}}\n' + b"[" * 5000 + b"\n"
    )
    result = await run_evaluation(some(2), Model(), path, concurrency=2)
    assert [line["id"] for line in lines(path)] == [p.id for p in result] == ["i000", "i001"]


async def test_what_was_answered_survives_a_cancel(tmp_path: Path) -> None:
    path, slow = tmp_path / "p.jsonl", Model(seconds=0.05)
    work = asyncio.create_task(run_evaluation(some(40), slow, path, concurrency=4))
    while not path.exists() or path.read_bytes().count(b"\n") < 4:
        await asyncio.sleep(0.005)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    kept = {line["id"] for line in lines(path)}
    assert 4 <= len(kept) < 40
    assert slow.under_way <= 4
    rest = Model()
    await run_evaluation(some(40), rest, path, concurrency=4)
    assert not kept & set(rest.asked)
    assert len(kept) + len(rest.asked) == 40


async def test_an_endpoint_that_refuses_everything_is_left_early(tmp_path: Path) -> None:
    items = some(500)
    refusing = Model({each.id: EndpointRefused("answered 401: wrong key") for each in items})
    with pytest.raises(EndpointRefused, match=r"failures in a row.*wrong key"):
        await run_evaluation(items, refusing, tmp_path / "p.jsonl", concurrency=4)
    assert len(refusing.asked) <= 12


async def test_an_endpoint_that_dies_half_way_is_left_and_the_rest_asked_later(tmp_path: Path) -> None:
    items, path = some(100), tmp_path / "p.jsonl"
    dying = Model({each.id: TransientRemoteError("cannot be reached") for each in items[50:]})
    with pytest.raises(TransientRemoteError, match="run again"):
        await run_evaluation(items, dying, path, concurrency=2)
    rest = Model()
    await run_evaluation(items, rest, path, concurrency=2)
    assert sorted(rest.asked) == [each.id for each in items[50:]]


async def test_items_refused_for_their_own_sake_never_stop_the_others(tmp_path: Path) -> None:
    items = some(60)
    long = Model({each.id: RemoteRejected("too long") for each in items[:50]})
    result = await run_evaluation(items, long, tmp_path / "p.jsonl", concurrency=2)
    assert sum(p.error is None for p in result) == 10


async def test_an_evaluation_without_one_answer_is_an_error_not_an_empty_score(tmp_path: Path) -> None:
    items, path = some(3), tmp_path / "p.jsonl"
    with pytest.raises(RemoteRejected, match=r"none of the 3 items got an answer.*too long"):
        await run_evaluation(
            items, Model({i.id: RemoteRejected("too long") for i in items}), path, concurrency=8
        )
    assert [line["error"] for line in lines(path)] == ["too long"] * 3


async def test_a_bug_in_asking_comes_out_as_itself(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        await run_evaluation(some(9), Model({"i004": KeyError("x")}), tmp_path / "p.jsonl", concurrency=3)


async def test_two_items_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="id"):
        await run_evaluation([*some(2), *some(1)], Model(), tmp_path / "p.jsonl", concurrency=1)


async def test_progress_reaches_the_total_and_counts_errors(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None, str]] = []
    model = Model({"i001": RemoteRejected("no")})
    path = tmp_path / "p.jsonl"
    await run_evaluation(some(4), model, path, 2, lambda *state: seen.append(state), stage="small base-eval")
    assert seen[0] == ("small base-eval", 0, 4, "")
    assert seen[-1] == ("small base-eval", 4, 4, "1 error")
    assert [done for _, done, _, _ in seen] == sorted(done for _, done, _, _ in seen)


async def test_plain_answers_are_scored_as_text(tmp_path: Path) -> None:
    async def ask(question: EvalItem, /) -> Answer:
        return Answer(text("Good morning"), 1.0)

    items = [item(text("Good morning"), tools=[])]
    result = await run_evaluation(items, ask, tmp_path / "p.jsonl", concurrency=1)
    assert result[0].scores == {"exact_match": 1, "rouge_l": 1, "bleu": 1, "chrf": 1}


async def test_no_items_are_no_error(tmp_path: Path) -> None:
    assert list(await run_evaluation([], Model(), tmp_path / "p.jsonl", concurrency=1)) == []


async def test_a_full_disk_ends_the_evaluation_with_the_systems_own_words(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        await run_evaluation(some(3), Model(), Path("/dev/full"), concurrency=2)
