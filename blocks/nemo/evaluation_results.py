"""What an Evaluator job leaves, read item by item."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from blocks.nemo.evaluation_tasks import (
    HIGHEST_RATING,
    JUDGE_METRIC,
    JUDGE_SCORE,
    JUDGED,
    LOWEST_RATING,
    TOOL_SCORES,
    scores_of,
)
from flywheel.config import EvaluationConfig
from flywheel.errors import RemoteError
from flywheel.results import EvalItem, Prediction

RESULTS_FILE = "results.json"
LARGEST_RESULTS = 2_000_000_000
"""Bytes of unpacked results beyond which an archive is refused."""

NO_ROW = "the NeMo Evaluator's results have no row for this item"
NO_ANSWER = "the NeMo Evaluator got no answer for this item"


def read_predictions(
    archive: Path, items: Sequence[EvalItem], settings: EvaluationConfig
) -> list[Prediction]:
    """One prediction for each item out of the downloaded archive, in the order of the items.

    Nothing is unpacked to disk. Rows of items that were not asked for are passed over. A score that the job owes and
    did not give is there as None, so that it is counted.

    Raises: RemoteError where it is no archive, or one without results.
    """
    owed = {item.id: dict.fromkeys(scores_of(item, settings)) for item in items}
    found: dict[str, Prediction] = {}
    for row in _rows(archive):
        item = row.get("item")
        name = item.get("id") if isinstance(item, dict) else None
        if isinstance(name, str) and name in owed:
            found[name] = _prediction(name, row, owed[name])
    return [
        found.get(item.id) or Prediction(item.id, error=NO_ROW, scores={**owed[item.id]}) for item in items
    ]


def _rows(archive: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [info for info in packed.infolist() if Path(info.filename).name == RESULTS_FILE]
            if not members:
                raise RemoteError(
                    "The NeMo Evaluator's results hold no results.json; run the evaluation again."
                )
            if sum(info.file_size for info in members) > LARGEST_RESULTS:
                raise RemoteError(
                    f"The NeMo Evaluator's results unpack to more than {LARGEST_RESULTS:,} bytes."
                )
            for info in members:
                document = json.loads(packed.read(info))  # takes the bare NaN that the service writes
                for rows in document.values() if isinstance(document, dict) else ():
                    yield from (row for row in rows if isinstance(row, dict))
    except (zipfile.BadZipFile, ValueError, RecursionError) as error:
        raise RemoteError(f"The NeMo Evaluator's results cannot be read: {error}") from error


def _prediction(name: str, row: Mapping[str, Any], owed: Mapping[str, float | None]) -> Prediction:
    sample = row.get("sample")
    response = sample.get("response") if isinstance(sample, dict) else None
    if not isinstance(response, dict):
        return Prediction(name, error=NO_ANSWER, scores={**owed})
    return Prediction(name, response, scores={**owed, **dict(_scores(row.get("metrics")))})


def _scores(metrics: Any) -> Iterator[tuple[str, float | None]]:
    for metric, result in metrics.items() if isinstance(metrics, dict) else ():
        scores = result.get("scores") if isinstance(result, dict) else None
        for score, entry in scores.items() if isinstance(scores, dict) else ():
            value = entry.get("value") if isinstance(entry, dict) else None
            if metric == JUDGE_METRIC and score == JUDGE_SCORE:
                yield JUDGED, rating_as_share(value)
            elif score in TOOL_SCORES:
                yield TOOL_SCORES[score], _share(value)


def rating_as_share(value: Any) -> float | None:
    """A judge's whole number from 1 to 10 as a value in [0, 1]; anything else is no rating: None."""
    number = _number(value)
    if number is None or not LOWEST_RATING <= number <= HIGHEST_RATING or number != int(number):
        return None
    return (number - LOWEST_RATING) / (HIGHEST_RATING - LOWEST_RATING)


def _share(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number <= 1 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
