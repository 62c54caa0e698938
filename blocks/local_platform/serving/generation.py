"""What is asked of the engine and what it gives back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Generation:
    """One answer in the making.

    `prompt` are token ids; `begun` are tokens that the answer must begin with. `on_end` is called once, from the
    engine's thread. `seed` None draws afresh. With `tells_logprobs`, `logprobs` has one entry for each token of the
    answer that the model chose itself: the natural logarithm of the probability that it gave to it, before temperature
    and nucleus.
    """

    model: str
    prompt: list[int]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: list[str] = field(default_factory=list)
    seed: int | None = None
    begun: list[int] = field(default_factory=list)
    on_end: Callable[[Generation], None] | None = None
    tells_logprobs: bool = False

    logprobs: list[float] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    error: Exception | None = None
    abandoned: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.answer = list(self.begun)
        self.generator = np.random.default_rng(self.seed)

    @property
    def is_done(self) -> bool:
        """Whether nothing more is wanted of it."""
        return self.finish_reason is not None or self.error is not None or self.abandoned.is_set()

    def end(self, finish_reason: str | None = None, error: Exception | None = None) -> None:
        """Set the outcome and tell who waits."""
        self.finish_reason, self.error = finish_reason, error
        if self.on_end is not None:
            self.on_end(self)


@dataclass
class Throughput:
    """Counted since the engine started; seconds are those in which it computed."""

    prompt_tokens: int = 0
    prompt_tokens_computed: int = 0
    prompt_seconds: float = 0.0
    answer_tokens: int = 0
    answer_seconds: float = 0.0
    steps: int = 0

    def rates(self) -> dict[str, float | int]:
        """Tokens per second of reading and of writing, and how full the batches were."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "prompt_tokens_computed": self.prompt_tokens_computed,
            "prompt_seconds": round(self.prompt_seconds, 3),
            "answer_tokens": self.answer_tokens,
            "answer_seconds": round(self.answer_seconds, 3),
            "answer_tokens_per_second": round(self.answer_tokens / self.answer_seconds, 1)
            if self.answer_seconds
            else 0.0,
            "rows_per_step": round(self.answer_tokens / self.steps, 2) if self.steps else 0.0,
        }
