"""Which prefix each prompt shares with others, and its keys and values, computed once."""

from __future__ import annotations

from typing import Any

import torch

from blocks.local_platform.models.packed_attention import LayerState, PackedRows
from blocks.local_platform.models.token_prefixes import SHORTEST_WORTHWHILE, shared_length

MOST_FAMILIES = 8
MOST_STATES = 4


class PrefixCache:
    """Prefixes of one model.

    Prompts that begin alike are a family; what all members seen so far share is the family's prefix. It only ever
    gets shorter, and the state of a shorter one is a part of the state of the longer one, so little is computed twice.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._families: list[list[int]] = []  # newest use last
        self._states: dict[tuple[int, ...], list[LayerState]] = {}
        self.tokens_computed = 0

    def prefix_of(self, prompt: list[int], companions: list[list[int]]) -> tuple[int, ...]:
        """The tokens that this prompt shares with its family, empty where that is not worth it.

        Args:
            companions: Prompts that wait beside it; they join the family too if they fit.
        """
        family = self._join(prompt)
        if family is None:
            family = prompt[:-1]
            self._families.append(family)
            self._families = self._families[-MOST_FAMILIES:]
            alone = True
        else:
            alone = False
        for other in companions:
            if other is not prompt and shared_length(other, family) >= max(
                SHORTEST_WORTHWHILE, len(family) // 2
            ):
                family = self._join(other) or family
                alone = False
        length = min(shared_length(prompt, family), len(prompt) - 1)
        return () if alone or length < SHORTEST_WORTHWHILE else tuple(prompt[:length])

    def _join(self, prompt: list[int]) -> list[int] | None:
        """Shorten the best fitting family to what it shares with the prompt; None where none fits."""
        best, position = 0, -1
        for number, family in enumerate(self._families):
            length = min(shared_length(prompt, family), len(prompt) - 1)
            # A short common beginning, such as a template's preamble, must not eat up a long prefix.
            if length >= max(SHORTEST_WORTHWHILE, len(family) // 2) and length > best:
                best, position = length, number
        if position < 0:
            return None
        self._families.append(self._families.pop(position)[:best])
        return self._families[-1]

    def state(self, prefix: tuple[int, ...]) -> list[LayerState]:
        """Keys and values of the prefix, one for each layer, shape (1, heads, tokens, size)."""
        known = self._states.pop(prefix, None) or self._part_of_longer(prefix) or self._computed(prefix)
        self._states[prefix] = known
        while len(self._states) > MOST_STATES:
            del self._states[next(iter(self._states))]
        return known

    def _part_of_longer(self, prefix: tuple[int, ...]) -> list[LayerState] | None:
        for tokens, layers in self._states.items():
            if tokens[: len(prefix)] == prefix:
                return [
                    LayerState(*(tensor[:, :, : len(prefix)].contiguous() for tensor in s)) for s in layers
                ]
        return None

    def _computed(self, prefix: tuple[int, ...]) -> list[LayerState]:
        self.tokens_computed += len(prefix)
        device = self._model.device
        layout = PackedRows(0, [len(prefix)], device, record=True)
        self._model(
            input_ids=torch.tensor([prefix], device=device),
            position_ids=layout.positions(),
            layout=layout,
            use_cache=False,
            logits_to_keep=1,
        )
        return layout.recorded
