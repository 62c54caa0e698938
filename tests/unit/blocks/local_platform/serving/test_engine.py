"""Many requests at once give what each would have got alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from blocks.local_platform.models.chat_format import ChatFormat
from blocks.local_platform.models.model_loading import load_model
from blocks.local_platform.serving.engine import Engine
from blocks.local_platform.serving.generation import Generation
from tests.fakes.toy_model import write_toy_model

SYSTEM = {"role": "system", "content": "You are one of many routers of a large company."}
QUESTIONS = ["Hi", "Where is my parcel?", "Please send me the long list of all your shops!", "No", "x" * 50]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("model"), weights=True)


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    engine = Engine(ChatFormat(folder), context_length=512)
    engine.add_model("toy", load_model(folder, torch.device("cpu"), torch.float32))
    engine.start()
    yield engine
    engine.close()


def prompt(engine: Engine, question: str) -> list[int]:
    return engine.format.prompt([SYSTEM, {"role": "user", "content": question}])


def run(engine: Engine, generations: list[Generation]) -> list[Generation]:
    ended = threading.Semaphore(0)
    for generation in generations:
        generation.on_end = lambda _: ended.release()
        engine.submit(generation)
    for _ in generations:
        assert ended.acquire(timeout=300)
    return generations


def ask(engine: Engine, questions: list[str], tokens: int = 24, **options: object) -> list[list[int]]:
    made = [Generation("toy", prompt(engine, question), tokens, **options) for question in questions]  # type: ignore[arg-type]
    return [generation.answer for generation in run(engine, made)]


def by_transformers(folder: Path, prompt_ids: list[int], tokens: int) -> list[int]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([prompt_ids])
    answer = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=[256, 258],
    )
    return [int(token) for token in answer[0, len(prompt_ids) :]]


def test_a_batch_behind_a_shared_prefix_answers_as_transformers_does_one_by_one(
    engine: Engine, folder: Path
) -> None:
    answers = ask(engine, QUESTIONS)
    expected = [by_transformers(folder, prompt(engine, question), 24) for question in QUESTIONS]
    assert answers == expected
    assert len({tuple(answer) for answer in answers}) > 1


def test_the_shared_prefix_is_computed_once_for_all_batches(engine: Engine) -> None:
    ask(engine, QUESTIONS)
    ask(engine, [question + "?" for question in QUESTIONS])
    length = len(prompt(engine, ""))
    counted = engine.throughput
    assert engine.models["toy"].prefixes.tokens_computed <= length
    own = sum(len(prompt(engine, q)) * 2 + 1 for q in QUESTIONS) - 2 * len(QUESTIONS) * (length - 40)
    assert counted.prompt_tokens_computed < own < counted.prompt_tokens


def test_requests_that_come_later_join_without_changing_any_answer(engine: Engine, folder: Path) -> None:
    ended = threading.Semaphore(0)
    made = [Generation("toy", prompt(engine, q), 60, on_end=lambda _: ended.release()) for q in QUESTIONS]
    for generation in made:
        engine.submit(generation)
        ended.acquire(timeout=0.02)
    while not all(generation.is_done for generation in made):
        assert ended.acquire(timeout=300)
    for question, generation in zip(QUESTIONS, made, strict=True):
        assert generation.answer == by_transformers(folder, prompt(engine, question), 60)


def test_two_models_are_served_side_by_side(engine: Engine, tmp_path: Path) -> None:
    other = write_toy_model(tmp_path / "other", weights=True, seed=5)
    engine.add_model("other", load_model(other, torch.device("cpu"), torch.float32))
    made = [Generation(name, prompt(engine, "Hi"), 12) for name in ("toy", "other", "toy")]
    first, second, third = (generation.answer for generation in run(engine, made))
    assert first == third == by_transformers_cached(engine, "toy", first)
    assert first != second


def by_transformers_cached(engine: Engine, model: str, answer: list[int]) -> list[int]:
    """The same model asked again alone must repeat itself."""
    return run(engine, [Generation(model, prompt(engine, "Hi"), len(answer))])[0].answer


def test_an_answer_ends_at_its_bound_at_the_context_or_at_a_stop_string(engine: Engine) -> None:
    (short,) = run(engine, [Generation("toy", prompt(engine, "Hi"), 3)])
    assert (len(short.answer), short.finish_reason) == (3, "length")
    long_prompt = prompt(engine, "y" * 400)
    (full,) = run(engine, [Generation("toy", long_prompt, 10_000)])
    assert full.finish_reason == "stop" or len(long_prompt) + len(full.answer) == 512
    (free,) = run(engine, [Generation("toy", prompt(engine, "Hi"), 20)])
    mark = engine.format.decode(free.answer)[2:4]
    (stopped,) = run(engine, [Generation("toy", prompt(engine, "Hi"), 20, stop=[mark])])
    assert stopped.finish_reason == "stop"
    assert len(stopped.answer) < len(free.answer)


def test_the_same_seed_draws_the_same_and_another_seed_does_not(engine: Engine) -> None:
    drawn = [ask(engine, ["Hi"], 30, temperature=1.5, seed=seed)[0] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_a_seeded_answer_does_not_depend_on_its_neighbours(engine: Engine) -> None:
    alone = ask(engine, ["Hi"], 20, temperature=1.0, seed=3)[0]
    assert ask(engine, ["Hi", *QUESTIONS], 20, temperature=1.0, seed=3)[0] == alone


def test_a_broken_step_fails_its_requests_and_the_engine_goes_on(engine: Engine) -> None:
    (broken,) = run(engine, [Generation("toy", [10**6], 5)])
    assert broken.error is not None
    assert ask(engine, ["Hi"], 4)


def test_a_request_for_a_model_that_is_gone_is_told_so(engine: Engine) -> None:
    (lost,) = run(engine, [Generation("nobody", prompt(engine, "Hi"), 5)])
    assert isinstance(lost.error, LookupError)


def test_an_abandoned_request_leaves_the_others_alone(engine: Engine) -> None:
    dropped = Generation("toy", prompt(engine, "Where?"), 400)
    engine.submit(dropped)
    dropped.abandoned.set()
    assert ask(engine, ["Hi"], 4)
    assert dropped.finish_reason is None


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_log_probabilities_are_those_that_the_model_itself_gives_to_the_answer(
    engine: Engine, folder: Path, temperature: float
) -> None:
    from transformers import AutoModelForCausalLM

    made = [
        Generation("toy", prompt(engine, q), 12, temperature=temperature, seed=1, tells_logprobs=q != "No")
        for q in QUESTIONS
    ]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for question, told in zip(QUESTIONS, run(engine, made), strict=True):
        if question == "No":
            assert told.logprobs == []
            continue
        ids = torch.tensor([[*told.prompt, *told.answer]])
        with torch.inference_mode():
            of_all = model(input_ids=ids).logits[0, len(told.prompt) - 1 : -1].log_softmax(-1)
        expected = [float(row[token]) for row, token in zip(of_all, told.answer, strict=True)]
        assert told.logprobs == pytest.approx(expected, abs=1e-3)
