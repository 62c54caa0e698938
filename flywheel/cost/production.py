"""What the production model's logged answers took: tokens, latency, and when they were asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from flywheel.cost.prices import Call
from flywheel.curation.validated_table import numbers, read_batches
from flywheel.results import EvalItem, Prediction

_COLUMNS = ("record_id", "timestamp", "latency_ms", "tokens_in", "tokens_out")


class _Logged(msgspec.Struct, frozen=True):
    latency_ms: float | None
    tokens_in: int | None
    tokens_out: int | None


def production_calls(
    items: Sequence[EvalItem], validated: Path
) -> tuple[list[Call], npt.NDArray[np.float64]]:
    """Production's answers to the items, in their order, and the times of all logged calls, NaN where unknown.

    Tokens are those that the answer states, else those in the log. Times are in seconds since 1970.
    """
    logged, times = _logged(validated, {item.id for item in items})
    nothing = _Logged(None, None, None)
    calls = []
    for item in items:
        usage = item.response.get("usage")
        usage = usage if isinstance(usage, Mapping) else {}
        of_log = logged.get(item.id, nothing)
        tokens_in, tokens_out = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        calls.append(
            Call(
                id=item.id,
                model=str(item.response.get("model") or ""),
                cluster=item.cluster,
                weight=float(item.weight),
                tokens_in=of_log.tokens_in if tokens_in is None else tokens_in,
                tokens_out=of_log.tokens_out if tokens_out is None else tokens_out,
                latency_ms=of_log.latency_ms,
            )
        )
    return calls, times


def candidate_calls(predictions: Iterable[Prediction], model: str, production: Iterable[Call]) -> list[Call]:
    """A candidate's answers as calls that weigh what production's do; items without an answer are left out."""
    like = {call.id: call for call in production}
    return [
        msgspec.structs.replace(
            like[prediction.id],
            model=model,
            tokens_in=prediction.tokens_in,
            tokens_out=prediction.tokens_out,
            latency_ms=prediction.latency_ms,
        )
        for prediction in predictions
        if prediction.response is not None and prediction.id in like
    ]


def _logged(validated: Path, wanted: set[str]) -> tuple[dict[str, _Logged], npt.NDArray[np.float64]]:
    found: dict[str, _Logged] = {}
    times: list[npt.NDArray[np.float64]] = [np.zeros(0)]
    for _, batch in read_batches(validated, _COLUMNS):
        times.append(numbers(batch["timestamp"], float("nan")))
        for place, name in enumerate(batch["record_id"].to_pylist()):
            if name in wanted and name not in found:
                latency, tokens_in, tokens_out = (batch[column][place].as_py() for column in _COLUMNS[2:])
                found[name] = _Logged(latency, tokens_in, tokens_out)
    return found, np.concatenate(times)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
