"""What a judge can be asked: a prompt, a scale, and which items it is about.

A prompt file is the system message, a line `---`, and the user message. `{{...}}` in it is filled in:

    {{answers}}       reference and answer, each fenced; they can change places, so the position probe works
    {{reference}} {{answer}}   the same one by one, for a prompt that fixes the order
    {{conversation}}  the messages that were answered       {{tools}}   the tools offered with them
    {{low}} {{high}}  the ends of the scale                 {{fence}}   what the fences mean
    {{output}}        how the verdict is to be written down

Everything that logs and models wrote is fenced, wherever it is put; `{{answers}}` or both single ones must be there,
and so must `{{fence}}` and `{{output}}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import msgspec

from flywheel.config import ArgumentConfig, JudgeConfig
from flywheel.config.judge import JudgedAnswers
from flywheel.errors import ConfigError

SIMILARITY = "similarity"
TOOL_CALLING_CORRECTNESS = "tool_calling_correctness"
ARGUMENTS_JUDGED = "function_name_and_args_judged"
"""Strict calls, but for the arguments that are left to the judge: it is asked where all else is right."""
PLACEHOLDERS = frozenset(
    {
        "answers",
        "reference",
        "answer",
        "conversation",
        "tools",
        "low",
        "high",
        "fence",
        "output",
    }
)
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}\s]*)\s*\}\}")
_SEPARATOR = re.compile(r"^---[ \t]*$", re.MULTILINE)
_BUILT_IN: dict[str, tuple[int, int, JudgedAnswers]] = {
    SIMILARITY: (1, 10, "text"),
    TOOL_CALLING_CORRECTNESS: (0, 1, "calls"),
}


class JudgeMetric(msgspec.Struct, frozen=True):
    """One metric. Ratings are whole numbers from `low` to `high`; scores are where in that range they lie, 0 to 1."""

    name: str
    system: str
    user: str
    low: int
    high: int
    applies_to: JudgedAnswers
    rules: tuple[ArgumentConfig, ...] = ()  # of ARGUMENTS_JUDGED

    @property
    def binary(self) -> bool:
        """Whether there are only two ratings."""
        return self.high - self.low == 1

    @property
    def can_swap(self) -> bool:
        """Whether the prompt lets reference and answer change places."""
        return "answers" in placeholders(self.user + self.system)

    def score(self, rating: float) -> float:
        """The rating as a share of the scale: 1 to 10 becomes 0 to 1."""
        return (rating - self.low) / (self.high - self.low)

    def passes(self, rating: float) -> bool:
        """Whether a rating says "the same": the best one, or on a longer scale the one below it too."""
        return rating >= (self.high if self.binary else self.high - 1)


def metrics_of(config: JudgeConfig, rules: Sequence[ArgumentConfig] = ()) -> list[JudgeMetric]:
    """The metrics of the settings with their prompts. Raises: ConfigError for a bad prompt file.

    Args:
        rules: How single arguments compare; where one leaves that to the judge, there is a metric more.
    """
    own_prompts = {
        SIMILARITY: config.similarity_prompt,
        TOOL_CALLING_CORRECTNESS: config.tool_calling_prompt,
    }
    metrics = []
    for name in dict.fromkeys(config.metrics):
        low, high, applies_to = _BUILT_IN[name]
        path = own_prompts[name]
        metrics.append(metric_from(name, _built_in(name, path), low, high, applies_to, path or name))
    metrics += [
        metric_from(own.name, _read(own.prompt), own.low, own.high, own.applies_to, own.prompt)
        for own in config.custom_metrics
    ]
    if any(rule.compare == "judge" for rule in rules):
        text = _built_in(TOOL_CALLING_CORRECTNESS, config.tool_calling_prompt)
        metric = metric_from(ARGUMENTS_JUDGED, text, 0, 1, "calls", TOOL_CALLING_CORRECTNESS)
        metrics.append(msgspec.structs.replace(metric, rules=tuple(rules)))
    return metrics


def metric_from(
    name: str, text: str, low: int, high: int, applies_to: JudgedAnswers, source: str
) -> JudgeMetric:
    """A metric from the text of its prompt file. Raises: ConfigError that says what is wrong with it."""
    parts = _SEPARATOR.split(text, maxsplit=1)
    system, user = (parts[0], parts[1]) if len(parts) == 2 else ("", parts[0])
    found = placeholders(text)
    if unknown := sorted(found - PLACEHOLDERS):
        raise ConfigError(
            f"The prompt {source} has the placeholder {{{{{unknown[0]}}}}}, which nothing fills; known are "
            f"{', '.join(sorted(PLACEHOLDERS))}."
        )
    if "answers" not in found and not {"reference", "answer"} <= found:
        raise ConfigError(
            f"The prompt {source} shows no answers; put {{{{answers}}}} where the judge is to see them."
        )
    for needed, why in (
        ("fence", "tells the judge what is material"),
        ("output", "tells it how to write its verdict"),
    ):
        if needed not in found:
            raise ConfigError(f"The prompt {source} lacks {{{{{needed}}}}}, which {why}.")
    return JudgeMetric(name, system.strip(), user.strip(), low, high, applies_to)


def placeholders(text: str) -> set[str]:
    """Names of the placeholders in a prompt."""
    return set(_PLACEHOLDER.findall(text))


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders filled in, once: what is put in is not looked at again."""
    return _PLACEHOLDER.sub(lambda found: values[found.group(1)], text)


def _built_in(name: str, own: str) -> str:
    return _read(own) if own else files("flywheel.judging").joinpath(f"{name}.md").read_text("utf-8")


def _read(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The judge's prompt file {path} cannot be read ({error}); correct the setting."
        ) from error
