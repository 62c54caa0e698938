"""Attention over many rows that begin with the same tokens, computed without repeating those.

The rows of one workload share their system message and tools. Here a forward pass sees one long sequence: the shared
prefix once, then the own tokens of each row, one after the other. Every layer but attention treats tokens one by one
and needs to know nothing; attention is told by a `Layout` which tokens may see which: a row sees the prefix and its
own past, never another row. Positions count as if each row stood alone, so the result is that of separate rows, up to
rounding (the same idea for decoding alone: Juravsky et al. 2024, "Hydragen", arXiv:2402.05099).

It is plugged into transformers' attention interface, so it serves every architecture that uses that interface.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from flywheel.errors import ConfigError

NAME = "flywheel_packed"
MOST_SCORES = 1 << 25
"""Attention scores of one layer that are kept in memory while training; above it a slower, leaner kernel is used."""


class Rule(NamedTuple):
    """What an architecture wants beside plain attention."""

    scale: float
    window: int | None = None
    softcap: float | None = None


class LayerState(NamedTuple):
    """Keys and values of one layer, shape (rows, heads, tokens, size)."""

    keys: Tensor
    values: Tensor


class Layout(Protocol):
    """Which tokens of one forward pass belong together."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, rule: Rule) -> Tensor:
        """Shapes: query (1, heads, tokens, size), key and value (1, key heads, tokens, size); result as query."""


def register() -> None:
    """Make the interface known to transformers under `NAME`. May be called again."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, _attention)


class PackedRows:
    """Prefix tokens, then the tokens of each row, all in one sequence.

    Args:
        prefix: Number of shared tokens at the beginning of this very sequence.
        lengths: Number of own tokens of each row; at least one each.
        cached: Keys and values of a prefix computed earlier, one for each layer, in place of prefix tokens here.
        record: Keep the rows' keys and values in `recorded`, padded at the end to the longest row.
    """

    def __init__(
        self,
        prefix: int,
        lengths: list[int],
        device: torch.device,
        cached: list[LayerState] | None = None,
        record: bool = False,
    ) -> None:
        assert not (prefix and cached), "a prefix is either in the sequence or cached"
        self.lengths = lengths
        self.tokens_of_prefix = prefix
        self.prefix_length = cached[0].keys.shape[2] if cached else prefix
        self.recorded: list[LayerState] = []
        self._cached = cached
        self._record = record
        self._device = device
        self._longest = max(lengths, default=0)
        spread, own = [], []
        start = prefix
        for row, length in enumerate(lengths):
            spread += [*range(start, start + length), *[start] * (self._longest - length)]
            own += [row * self._longest + offset for offset in range(length)]
            start += length
        self._spread = torch.tensor(spread, dtype=torch.long, device=device)
        self._own = torch.tensor(own, dtype=torch.long, device=device)
        self._biases: dict[tuple[int, int | None, torch.dtype], Tensor] = {}

    def positions(self) -> Tensor:
        """Position of each token in its own row, shape (1, tokens)."""
        first = self.prefix_length
        parts = [torch.arange(self.tokens_of_prefix)]
        parts += [torch.arange(first, first + length) for length in self.lengths]
        return torch.cat(parts)[None].to(self._device)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, rule: Rule) -> Tensor:
        """See `Layout.attend`."""
        split = self.tokens_of_prefix
        outputs = []
        prefix = self._cached[layer] if self._cached else LayerState(key[:, :, :split], value[:, :, :split])
        if split:
            bias = self._bias(0, split, rule, query.dtype)
            outputs.append(attend_with_bias(query[:, :, :split], prefix.keys, prefix.values, bias, rule))
        if self.lengths:
            keys, values = self._rows(key), self._rows(value)
            if self._record:
                self.recorded.append(LayerState(keys, values))
            if self.prefix_length:
                shared = (len(self.lengths), -1, -1, -1)
                keys = torch.cat([prefix.keys.expand(shared), keys], dim=2)
                values = torch.cat([prefix.values.expand(shared), values], dim=2)
            bias = self._bias(self.prefix_length, self._longest, rule, query.dtype)
            padded = attend_with_bias(self._rows(query), keys, values, bias, rule)
            rows, heads, longest, size = padded.shape
            flat = padded.transpose(1, 2).reshape(rows * longest, heads, size).index_select(0, self._own)
            outputs.append(flat.transpose(0, 1)[None])
        return torch.cat(outputs, dim=2) if len(outputs) > 1 else outputs[0]

    def _rows(self, packed: Tensor) -> Tensor:
        """(1, heads, tokens, size) to (rows, heads, longest, size); padding repeats a row's first token."""
        _, heads, _, size = packed.shape
        spread = packed[0].index_select(1, self._spread)
        return spread.view(heads, len(self.lengths), self._longest, size).transpose(0, 1)

    def _bias(self, before: int, length: int, rule: Rule, dtype: torch.dtype) -> Tensor:
        """0 where a token may look, minus infinity elsewhere, shape (length, before + length)."""
        wanted = (before, rule.window, dtype)
        if wanted not in self._biases:
            query = torch.arange(before, before + length, device=self._device)[:, None]
            key = torch.arange(before + length, device=self._device)[None]
            allowed = key <= query
            if rule.window is not None:
                allowed &= key > query - rule.window
            bias = torch.zeros(allowed.shape, dtype=dtype, device=self._device)
            self._biases[wanted] = bias.masked_fill_(~allowed, float("-inf"))
        return self._biases[wanted]


def attend_with_bias(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, rule: Rule) -> Tensor:
    """Softmax attention with grouped key heads.

    Plain matrix products beat the fused kernel on CPUs when gradients are needed: its backward pass took a third of a
    training step. It remains for what would need too much memory, and where no gradient is needed.

    Args:
        query: Shape (rows, heads, tokens, size).
        keys, values: Shape (rows, key heads, seen, size).
        bias: Added to the scores; broadcasts to (rows, key heads, heads per key head, tokens, seen).
    """
    rows, heads, tokens, size = query.shape
    key_heads = keys.shape[1]
    group = heads // key_heads
    big = rows * heads * tokens * keys.shape[2] > MOST_SCORES
    if rule.softcap is None and bias.dim() == 2 and (big or not torch.is_grad_enabled()):
        return functional.scaled_dot_product_attention(
            query,
            keys.repeat_interleave(group, dim=1),
            values.repeat_interleave(group, dim=1),
            attn_mask=bias,
            scale=rule.scale,
        )
    scores = (query.reshape(rows, key_heads, group * tokens, size) * rule.scale) @ keys.transpose(2, 3)
    if rule.softcap is not None:
        scores = torch.tanh(scores / rule.softcap) * rule.softcap
    scores = scores.view(rows, key_heads, group, tokens, -1) + bias
    weights = torch.softmax(scores, dim=-1)  # in float32 inside, whatever goes in and out
    return (weights.view(rows, key_heads, group * tokens, -1) @ values).view(rows, heads, tokens, size)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    layout: Layout | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """The signature that transformers calls; `layout` comes through the keyword arguments of the model's forward."""
    if layout is None or others.get("s_aux") is not None:
        raise ConfigError(
            f"The architecture {type(module).__name__} cannot be trained or served here; use a Llama-like model."
        )
    rule = Rule(query.shape[-1] ** -0.5 if scaling is None else scaling, sliding_window, softcap)
    return layout.attend(module.layer_idx, query, key, value, rule).transpose(1, 2).contiguous(), None
