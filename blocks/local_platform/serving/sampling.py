"""Picking the next token of each row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch


def next_tokens(
    logits: torch.Tensor,
    temperatures: list[float],
    top_ps: list[float],
    generators: list[np.random.Generator],
) -> list[int]:
    """One token for each row: the likeliest at temperature 0, else drawn with the row's own generator.

    Args:
        logits: Shape (rows, vocabulary).
    """
    chosen: list[int] = logits.argmax(dim=-1).tolist()
    for row, temperature in enumerate(temperatures):
        if temperature > 0:
            scores = logits[row].float().cpu().numpy().astype(np.float64)
            chosen[row] = draw(scores, temperature, top_ps[row], generators[row])
    return chosen


def logprobs_of(logits: torch.Tensor, rows: list[int], tokens: list[int]) -> list[float]:
    """Natural logarithm of the probability that the model gives to each row's token, at temperature 1.

    Args:
        logits: Shape (rows, vocabulary).
        rows: Which of them.
        tokens: One for each of those.
    """
    chosen = logits[rows].float()
    own = chosen.gather(-1, torch.tensor(tokens, device=chosen.device)[:, None])[:, 0]
    told: list[float] = (own - torch.logsumexp(chosen, dim=-1)).tolist()
    return [min(0.0, value) for value in told]  # rounding may leave a hair above certainty


def draw(
    scores: npt.NDArray[np.float64], temperature: float, top_p: float, generator: np.random.Generator
) -> int:
    """Nucleus sampling: the fewest likeliest tokens with probability `top_p` together (Holtzman et al. 2020,
    arXiv:1904.09751)."""
    weights = np.exp((scores - scores.max()) / max(temperature, 1e-4))
    if top_p < 1:
        order = np.argsort(-weights)
        reached = np.cumsum(weights[order])
        kept = order[: int(np.searchsorted(reached, top_p * reached[-1])) + 1]
    else:
        kept = np.arange(len(weights))
    cumulated = np.cumsum(weights[kept])
    place = np.searchsorted(cumulated, generator.random() * cumulated[-1], side="right")
    return int(kept[min(int(place), len(kept) - 1)])
