"""Keys and values of the rows that are being continued together, and attention of one new token each."""

from __future__ import annotations

import torch
from torch import Tensor

from blocks.local_platform.models.packed_attention import LayerState, Rule, attend_with_bias

STEP = 64
"""Room is made for this many tokens at a time."""


class RowBatch:
    """Rows behind one shared prefix (or none). A `Layout` for forward passes with one token of each row.

    Args:
        prefix: Keys and values of the prefix, one for each layer, shape (1, heads, tokens, size); None for no prefix.
    """

    def __init__(self, prefix: list[LayerState] | None) -> None:
        self.prefix = prefix
        self.prefix_length = prefix[0].keys.shape[2] if prefix else 0
        self.lengths: list[int] = []
        self._layers: list[LayerState] = []
        self._targets = torch.empty(0, dtype=torch.long)
        self._bias = torch.empty(0)

    def add(self, recorded: list[LayerState], lengths: list[int]) -> None:
        """Take in new rows as `PackedRows` recorded them."""
        self._grow(max([*self.lengths, *lengths]))
        room = self._layers[0].keys.shape[2] if self._layers else self._capacity(max(lengths))
        after = []
        for layer, new in enumerate(recorded):
            rows, heads, longest, size = new.keys.shape
            keys, values = (torch.zeros(rows, heads, room, size, dtype=t.dtype, device=t.device) for t in new)
            keys[:, :, :longest], values[:, :, :longest] = new.keys, new.values
            if self._layers:
                old = self._layers[layer]
                keys, values = torch.cat([old.keys, keys]), torch.cat([old.values, values])
            after.append(LayerState(keys, values))
        self._layers = after
        self.lengths += lengths

    def keep(self, rows: list[int]) -> None:
        """Drop every other row."""
        if len(rows) == len(self.lengths):
            return
        if self._layers and rows:
            index = torch.tensor(rows, dtype=torch.long, device=self._layers[0].keys.device)
            self._layers = [
                LayerState(s.keys.index_select(0, index), s.values.index_select(0, index))
                for s in self._layers
            ]
        elif not rows:
            self._layers = []
        self.lengths = [self.lengths[row] for row in rows]

    def begin_step(self) -> Tensor:
        """Make room for one more token of each row; returns their positions, shape (1, rows)."""
        self._grow(max(self.lengths) + 1)
        some = self._layers[0].keys
        self._targets = torch.tensor(self.lengths, dtype=torch.long, device=some.device)
        seen = torch.arange(max(self.lengths) + 1, device=some.device)
        own = torch.zeros(len(self.lengths), len(seen), dtype=some.dtype, device=some.device)
        own.masked_fill_(seen[None] > self._targets[:, None], float("-inf"))
        self._bias = torch.cat([own.new_zeros(len(self.lengths), self.prefix_length), own], dim=1)
        return (self._targets + self.prefix_length)[None]

    def end_step(self) -> None:
        """The token of this step belongs to its row now."""
        self.lengths = [length + 1 for length in self.lengths]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, rule: Rule) -> Tensor:
        """See `packed_attention.Layout.attend`; token number i belongs to row i."""
        keys, values = self._layers[layer]
        rows = torch.arange(len(self.lengths), device=keys.device)
        keys[rows, :, self._targets] = key[0].transpose(0, 1)
        values[rows, :, self._targets] = value[0].transpose(0, 1)
        seen = self._bias.shape[1] - self.prefix_length
        own_keys, own_values = keys[:, :, :seen], values[:, :, :seen]
        one_each = query[0].transpose(0, 1)[:, :, None]  # (rows, heads, 1, size)
        bias = self._bias
        if rule.window is not None:
            bias = self._windowed(bias, rule.window)
        if self.prefix is None:
            attended = attend_with_bias(one_each, own_keys, own_values, bias[:, None, None, None], rule)
        else:
            attended = self._with_prefix(
                one_each, self.prefix[layer], LayerState(own_keys, own_values), bias, rule
            )
        return attended[:, :, 0].transpose(0, 1)[None]

    def _with_prefix(
        self, query: Tensor, prefix: LayerState, own: LayerState, bias: Tensor, rule: Rule
    ) -> Tensor:
        """One softmax over prefix and own keys; the prefix is multiplied once for all rows, not copied for each."""
        rows, heads, _, size = query.shape
        key_heads = own.keys.shape[1]
        group = heads // key_heads
        grouped = query.reshape(rows, key_heads, group, size) * rule.scale
        by_head = grouped.transpose(0, 1).reshape(key_heads, rows * group, size)
        on_prefix = (
            (by_head @ prefix.keys[0].transpose(1, 2)).view(key_heads, rows, group, -1).transpose(0, 1)
        )
        scores = torch.cat([on_prefix, grouped @ own.keys.transpose(2, 3)], dim=-1)
        if rule.softcap is not None:
            scores = torch.tanh(scores / rule.softcap) * rule.softcap
        weights = torch.softmax(scores + bias[:, None, None], dim=-1)
        split = self.prefix_length
        for_prefix = weights[..., :split].transpose(0, 1).reshape(key_heads, rows * group, split)
        result = (for_prefix @ prefix.values[0]).view(key_heads, rows, group, size).transpose(0, 1)
        result = result + weights[..., split:] @ own.values
        return result.reshape(rows, heads, 1, size)

    def _windowed(self, bias: Tensor, window: int) -> Tensor:
        position = torch.arange(bias.shape[1], device=bias.device)[None]
        now = (self._targets + self.prefix_length)[:, None]
        return bias.masked_fill(position <= now - window, float("-inf"))

    @staticmethod
    def _capacity(tokens: int) -> int:
        return -(-tokens // STEP) * STEP

    def _grow(self, tokens: int) -> None:
        if not self._layers or tokens <= self._layers[0].keys.shape[2]:
            return
        more = self._capacity(tokens) - self._layers[0].keys.shape[2]
        self._layers = [
            LayerState(*(torch.nn.functional.pad(t, (0, 0, 0, more)) for t in s)) for s in self._layers
        ]
