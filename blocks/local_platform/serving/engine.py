"""Generation for many requests and several models at once, in one thread.

Requests of one model behind one prefix form a group. New ones join a running group between two steps, finished ones
leave it, so no answer waits for a longer one. Groups take turns, step by step.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any

import torch

from blocks.local_platform.models.chat_format import ChatFormat
from blocks.local_platform.models.packed_attention import PackedRows
from blocks.local_platform.serving.generation import Generation, Throughput
from blocks.local_platform.serving.prefix_cache import PrefixCache
from blocks.local_platform.serving.sampling import logprobs_of, next_tokens
from blocks.local_platform.training.row_batch import RowBatch

MOST_ROWS = 64
MOST_PROMPT_TOKENS = 4096
"""Own tokens of the prompts that are read in one forward pass; a longer prompt is read alone."""
SECONDS_TO_GATHER = 0.005
MOST_SECONDS_TO_GATHER = 0.05

logger = logging.getLogger(__name__)


class ServedModel:
    """A model with its prefixes."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.prefixes = PrefixCache(model)


class _Group:
    """Rows of one model behind one prefix: requests, and their keys and values in the same order."""

    def __init__(self, served: ServedModel, batch: RowBatch) -> None:
        self.served = served
        self.batch = batch
        self.rows: list[Generation] = []


class Engine:
    """Answers `Generation`s. `submit` may be called from any thread; `add_model` and `remove_model` too."""

    def __init__(self, chat_format: ChatFormat, context_length: int) -> None:
        self.format = chat_format
        self.context_length = context_length
        self.throughput = Throughput()
        self.models: dict[str, ServedModel] = {}
        self._waiting: deque[Generation] = deque()
        self._groups: dict[tuple[str, tuple[int, ...]], _Group] = {}
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="generation", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self, patience: float = 0.0) -> None:
        """Stop after the current step, for which so many seconds are waited; what is under way is not answered."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if patience:
            self._thread.join(patience)

    def add_model(self, name: str, model: Any) -> None:
        """Serve `model`, in evaluation mode and with packed attention, under a name."""
        self.models[name] = ServedModel(model)

    def remove_model(self, name: str) -> bool:
        """Stop to take requests for it; those under way are finished. False where there is none."""
        return self.models.pop(name, None) is not None

    def submit(self, generation: Generation) -> None:
        """Queue a request; its `on_end` is called in time."""
        with self._wake:
            self._waiting.append(generation)
            self._wake.notify()

    @property
    def busy(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self._waiting or self._groups)

    def _run(self) -> None:
        with torch.inference_mode():
            while True:
                with self._wake:
                    while not (self._waiting or self._groups or self._closing):
                        self._wake.wait()
                    if self._closing:
                        return
                if not self._groups:
                    self._gather()
                self._admit()
                for key in list(self._groups):
                    self._advance(key)

    def _gather(self) -> None:
        """Wait until no more requests come in: a batch that starts together shares every step."""
        began = time.monotonic()
        seen = -1
        while seen != len(self._waiting) and time.monotonic() - began < MOST_SECONDS_TO_GATHER:
            seen = len(self._waiting)
            time.sleep(SECONDS_TO_GATHER)

    def _admit(self) -> None:
        """Move waiting requests into groups, as far as there is room."""
        room = MOST_ROWS - sum(len(group.rows) for group in self._groups.values())
        fresh: list[Generation] = []
        with self._wake:
            while self._waiting and len(fresh) < room:
                fresh.append(self._waiting.popleft())
        by_group: dict[tuple[str, tuple[int, ...]], list[Generation]] = {}
        for generation in fresh:
            served = self.models.get(generation.model)
            if served is None:
                generation.end(error=LookupError(generation.model))
            elif not generation.abandoned.is_set():
                companions = [other.prompt for other in fresh if other.model == generation.model]
                prefix = served.prefixes.prefix_of(generation.prompt, companions)
                by_group.setdefault((generation.model, prefix), []).append(generation)
        for key, generations in by_group.items():
            for part in _in_portions(generations, len(key[1])):
                try:
                    self._read_prompts(key, part)
                except Exception as error:
                    self._fail(part, error)

    def _read_prompts(self, key: tuple[str, tuple[int, ...]], generations: list[Generation]) -> None:
        """One forward pass over the own tokens of the prompts; their first answer tokens; into the group."""
        began = time.perf_counter()
        name, prefix = key
        group = self._groups.get(key)
        if group is None:
            served = self.models[name]
            group = _Group(served, RowBatch(served.prefixes.state(prefix) if prefix else None))
        own = [[*g.prompt[len(prefix) :], *g.begun] for g in generations]
        lengths = [len(tokens) for tokens in own]
        model = group.served.model
        layout = PackedRows(0, lengths, model.device, cached=group.batch.prefix, record=True)
        ends = torch.tensor(lengths, device=model.device).cumsum(0) - 1
        logits = model(
            input_ids=torch.tensor([[token for tokens in own for token in tokens]], device=model.device),
            position_ids=layout.positions(),
            layout=layout,
            use_cache=False,
            logits_to_keep=ends,
        ).logits[0]
        group.batch.add(layout.recorded, lengths)
        group.rows += generations
        self._groups[key] = group
        self.throughput.prompt_tokens += sum(len(g.prompt) for g in generations)
        self.throughput.prompt_tokens_computed += sum(lengths)
        self.throughput.prompt_seconds += time.perf_counter() - began
        self._extend(key, group, generations, logits)

    def _advance(self, key: tuple[str, tuple[int, ...]]) -> None:
        """One more token for each row of the group."""
        group = self._groups[key]
        self._drop_done(key, group)
        if not group.rows:
            return
        began = time.perf_counter()
        try:
            model = group.served.model
            positions = group.batch.begin_step()
            logits = model(
                input_ids=torch.tensor([[g.answer[-1] for g in group.rows]], device=model.device),
                position_ids=positions,
                layout=group.batch,
                use_cache=False,
            ).logits[0]
            group.batch.end_step()
            self.throughput.answer_tokens += len(group.rows)
            self.throughput.steps += 1
            self._extend(key, group, group.rows, logits)
        except Exception as error:
            del self._groups[key]
            self._fail(group.rows, error)
        self.throughput.answer_seconds += time.perf_counter() - began

    def _extend(
        self,
        key: tuple[str, tuple[int, ...]],
        group: _Group,
        generations: list[Generation],
        logits: torch.Tensor,
    ) -> None:
        tokens = next_tokens(
            logits,
            [g.temperature for g in generations],
            [g.top_p for g in generations],
            [g.generator for g in generations],
        )
        telling = [row for row, g in enumerate(generations) if g.tells_logprobs]
        if telling:
            told = logprobs_of(logits, telling, [tokens[row] for row in telling])
            for row, value in zip(telling, told, strict=True):
                generations[row].logprobs.append(value)
        for generation, token in zip(generations, tokens, strict=True):
            generation.answer.append(token)
            reason = self._reason_to_end(generation, token)
            if reason is not None:
                generation.end(reason)
        self._drop_done(key, group)

    def _reason_to_end(self, generation: Generation, token: int) -> str | None:
        if token in self.format.stop_ids:
            return "stop"
        if generation.stop:
            text = self.format.decode(generation.answer)
            if any(mark in text for mark in generation.stop):
                return "stop"
        if len(generation.answer) >= generation.max_tokens:
            return "length"
        if len(generation.prompt) + len(generation.answer) >= self.context_length:
            return "length"
        return None

    def _drop_done(self, key: tuple[str, tuple[int, ...]], group: _Group) -> None:
        alive = [row for row, generation in enumerate(group.rows) if not generation.is_done]
        group.batch.keep(alive)
        group.rows = [group.rows[row] for row in alive]
        if not alive:
            self._groups.pop(key, None)

    def _fail(self, generations: list[Generation], error: Exception) -> None:
        logger.error("A step failed", exc_info=error)
        for generation in generations:
            if not generation.is_done:
                generation.end(error=error)


def _in_portions(generations: list[Generation], prefix: int) -> list[list[Generation]]:
    """Requests of similar length together, each portion within the bound on tokens (padding counted)."""
    portions: list[list[Generation]] = []
    for generation in sorted(generations, key=lambda g: len(g.prompt)):
        longest = len(generation.prompt) - prefix
        if portions and longest * (len(portions[-1]) + 1) <= MOST_PROMPT_TOKENS:
            portions[-1].append(generation)
        else:
            portions.append([generation])
    return portions
