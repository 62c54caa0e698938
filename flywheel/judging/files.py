"""Files of a judge: its verdicts, the sheet for people to fill in, and what they filled in.

verdicts.jsonl     one `JudgeVerdict` a line
label_sheet.jsonl  the same texts in an order by chance, without the judge's ratings: fill in `label`, and name the file
                   as judge_config.human_labels
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from flywheel.errors import ConfigError, DataError
from flywheel.judging.metrics import JudgeMetric
from flywheel.judging.questions import JudgeVerdict

VERDICTS_FILE = "verdicts.jsonl"
SHEET_FILE = "label_sheet.jsonl"

_ENCODER = msgspec.json.Encoder()


class _Label(msgspec.Struct):
    """One line of a file of labels; other fields are for the person who fills it in."""

    key: str
    metric: str
    label: int | None = None


class SheetLine(msgspec.Struct, frozen=True):
    """One line of the sheet: what a person reads, and where the rating goes."""

    key: str
    metric: str
    scale: str
    prompt: str
    reference: str
    answer: str
    label: int | None = None


def write_verdicts(path: Path, verdicts: Iterable[JudgeVerdict]) -> None:
    """One line for each, in this order."""
    path.write_bytes(b"".join(_ENCODER.encode(verdict) + b"\n" for verdict in verdicts))


def read_verdicts(path: Path) -> list[JudgeVerdict]:
    """The lines of a verdicts file. Raises: ConfigError (no such file), DataError (a line is no verdict)."""
    decoder = msgspec.json.Decoder(JudgeVerdict)
    found = []
    for number, line in enumerate(_lines_of(path, "verdicts file"), 1):
        if line.strip():
            try:
                found.append(decoder.decode(line))
            except msgspec.DecodeError as error:
                raise DataError(f"{path}:{number}: expected one verdict of a judge, but: {error}") from error
    return found


def write_sheet(path: Path, verdicts: Iterable[JudgeVerdict], metrics: Iterable[JudgeMetric]) -> None:
    """The sheet for people; ordered by content key, so that whoever rates the first hundred rates a fair sample."""
    scales = {metric.name: f"{metric.low} to {metric.high}" for metric in metrics}
    lines = {
        (verdict.key, verdict.metric): SheetLine(
            verdict.key,
            verdict.metric,
            scales[verdict.metric],
            verdict.prompt,
            verdict.reference,
            verdict.answer,
        )
        for verdict in verdicts
        if verdict.outcome != "settled"
    }
    path.write_bytes(b"".join(_ENCODER.encode(lines[place]) + b"\n" for place in sorted(lines)))


def read_labels(path: Path, metrics: Iterable[JudgeMetric]) -> Mapping[tuple[str, str], int]:
    """Ratings by people, by content key and metric; lines without a label, or of other metrics, are passed over.

    Raises:
        ConfigError: There is no such file.
        DataError: A line is none, a label is outside its scale, or one thing has two different labels.
    """
    scales = {metric.name: metric for metric in metrics}
    decoder = msgspec.json.Decoder(_Label)
    found: dict[tuple[str, str], int] = {}
    for number, line in enumerate(_lines_of(path, "file of human labels"), 1):
        if not line.strip():
            continue
        try:
            row = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise DataError(
                f'{path}:{number}: expected one JSON object {{"key", "metric", "label"}}, but: {error}'
            ) from error
        metric = scales.get(row.metric)
        if row.label is None or metric is None:
            continue
        if not metric.low <= row.label <= metric.high:
            raise DataError(
                f"{path}:{number}: the label {row.label} is outside the scale of {row.metric}, "
                f"{metric.low} to {metric.high}."
            )
        if found.setdefault((row.key, row.metric), row.label) != row.label:
            raise DataError(
                f"{path}:{number}: {row.key} has another label in an earlier line; keep the one agreed on."
            )
    return found


def _lines_of(path: Path, what: str) -> list[bytes]:
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise ConfigError(
            f"The {what} {path} cannot be read ({error.strerror}); correct the path."
        ) from error
