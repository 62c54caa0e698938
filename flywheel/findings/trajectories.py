"""Scores of whole conversations, beside those of their single steps. Plain typed data, kept with a run's analysis."""

from __future__ import annotations

import msgspec

from flywheel.findings.bounds import Bounds


class ShareOf(msgspec.Struct, frozen=True):
    """A mean over `n` conversations, in [0, 1]; `unscored` ones lack an answer that it would take to say."""

    value: float | None
    n: int
    unscored: int = 0
    interval: Bounds | None = None


class Trajectories(msgspec.Struct, frozen=True):
    """One evaluation over the conversations of which it asked two steps or more; each counts once.

    Every step is asked with production's history, so what stands before the first divergence is what the candidate
    would have done, and what stands behind it is not.

    `metric` says whether a step agrees. `agreeing` is the share of a conversation's steps before the first that
    differs, `agreeing_steps` the same in steps (mean). `first_divergence[k]` counts conversations that first differ at
    step k + 1. `calls_in_order` and `calls_any_order` are over conversations with tool calls, arguments included.
    """

    candidate: str
    eval_type: str
    metric: str
    conversations: int
    steps: int
    all_agree: ShareOf
    agreeing: ShareOf
    agreeing_steps: float | None = None
    first_divergence: list[int] = []
    calls_in_order: ShareOf | None = None
    calls_any_order: ShareOf | None = None
