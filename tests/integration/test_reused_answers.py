"""A run that may reuse answers asks only for what no earlier run of the same model holds."""

from __future__ import annotations

from pathlib import Path

import msgspec
from prefect.logging import disable_run_logger

from blocks.connections import open_dataset_store
from blocks.local_platform.models.model_files import revision
from blocks.local_platform.training.adapter_card import CARD_FILE, WEIGHTS_FILE, adapter_revision
from blocks.ports import Endpoint
from blocks.run_evidence import stored_file
from flywheel.config import CandidateConfig, EvaluationConfig, FlywheelConfig
from flywheel.evaluation.predictions import answered_before
from flywheel.results import CandidateResult, Customization, Evaluation, Prediction
from tasks.curating.curation import CuratedData
from tasks.evaluating.evaluation import evaluate
from tasks.evaluating.reused_answers import answerer_of
from tasks.runs import begin_run, end_run, keep_candidate
from tests.fakes.chat_server import ChatServer
from tests.integration.analysing import answering, curate, settings, write_log

ITEMS = 12
COLD = EvaluationConfig(temperature=0)
REUSING = EvaluationConfig(temperature=0, reuse_answers=True)


async def turn(
    run_id: str, config: FlywheelConfig, server: ChatServer, data: CuratedData | None
) -> tuple[CuratedData, Evaluation, int]:
    """A run that evaluates one candidate once; how many questions reached the endpoint stands behind it."""
    before = len(server.bodies)
    candidate = config.candidates[0]
    with disable_run_logger():
        await begin_run.fn(run_id, config)
        data = data or await curate(run_id, config)
        evaluation = await evaluate.fn(
            run_id, candidate, "base-eval", server.endpoint, data.datasets, None, config
        )
        result = CandidateResult("little", "small", "completed", [evaluation], Customization(job=""))
        await keep_candidate.fn(run_id, config, result)
        await end_run.fn(run_id, config, "completed", "")
    return data, evaluation, len(server.bodies) - before


async def predictions_of(config: FlywheelConfig, evaluation: Evaluation) -> list[Prediction]:
    store = await open_dataset_store(config.connections)
    assert evaluation.predictions is not None
    path = stored_file(store, evaluation.predictions)
    ids = {msgspec.json.decode(line)["id"] for line in path.read_bytes().splitlines()}
    return list(answered_before(path, ids).values())


async def test_only_what_no_earlier_run_of_the_same_model_holds_is_asked(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", range(60))
    base = settings(tmp_path, log, evaluation_config=COLD)
    split = base.data_split_config.model_copy(update={"eval_size": ITEMS})
    base = base.model_copy(update={"data_split_config": split})
    reusing = base.model_copy(update={"evaluation_config": REUSING})
    async with ChatServer(answering(lambda number: number % 2 == 0)) as server:
        data, first, asked = await turn("one", base, server, None)
        assert (asked, first.usage.reused) == (ITEMS, 0)

        _, second, asked = await turn("two", reusing, server, data)
        assert asked == 0
        assert second.scores == first.scores
        assert (second.usage.answered, second.usage.reused) == (ITEMS, ITEMS)
        assert second.usage.reused_tokens_in == second.usage.tokens_in == first.usage.tokens_in > 0
        assert (second.usage.latency_ms_p50, second.runtime_seconds) == (None, None)
        assert any(note.startswith(f"{ITEMS} of {ITEMS} answers are reused") for note in second.notes)

        _, third, _ = await turn("three", reusing, server, data)
        assert {p.reused for p in await predictions_of(reusing, third)} == {"one"}  # the run that asked

        # Not reused: where nobody allows it, with other sampling, or of a model that has other settings.
        longer = COLD.model_copy(update={"reuse_answers": True, "max_tokens": 77})
        bigger = CandidateConfig(name="little", model="small", context_length=4096)
        for name, changed in [
            ("four", {"evaluation_config": COLD}),
            ("five", {"evaluation_config": longer}),
            ("six", {"evaluation_config": EvaluationConfig(reuse_answers=True)}),
            ("seven", {"candidates": [bigger]}),
        ]:
            _, other, asked = await turn(name, reusing.model_copy(update=changed), server, data)
            assert (asked, other.usage.reused) == (ITEMS, 0), name
    async with ChatServer(answering(lambda number: False)) as elsewhere:
        _, other, asked = await turn("eight", reusing, elsewhere, data)
        assert (asked, other.usage.reused) == (ITEMS, 0)


def test_a_model_is_another_one_when_its_weights_its_adapter_or_its_address_change(tmp_path: Path) -> None:
    candidate = CandidateConfig(name="a", model="m")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = revision(tmp_path)
    assert revision(tmp_path) == before
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    assert revision(tmp_path) != before

    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / WEIGHTS_FILE).write_bytes(b"adapter")
    seen = {adapter_revision(adapter)}
    (adapter / CARD_FILE).write_text('{"base_weights_sha256": "ab", "job": "x"}')
    seen.add(adapter_revision(adapter))
    (adapter / CARD_FILE).write_text('{"base_weights_sha256": "ab", "job": "y"}')
    seen.add(adapter_revision(adapter))
    assert len(seen) == 2  # the job's name is no weight

    known = [
        answerer_of(candidate, Endpoint("http://h:1/v1", "m")),
        answerer_of(candidate, Endpoint("http://h:2/v1", "m")),
        answerer_of(candidate, Endpoint("http://h:1/v1", "n")),
        answerer_of(candidate, Endpoint("http://h:1/v1", "m", revision="r")),
    ]
    assert len(set(known)) == 4
    assert known[3] == answerer_of(
        candidate, Endpoint("http://h:9/v1", "job", revision="r")
    )  # a port of the day
