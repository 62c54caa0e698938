"""Settings of the metrics that programs compute: how arguments compare, and metrics of the user's own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from flywheel.config.base import Settings

Compare = Literal["exact", "text", "judge", "number", "date", "set", "ignore"]


class ArgumentConfig(Settings):
    """How one argument of one tool is compared, in place of what its schema says."""

    tool: str = Field(default="*", min_length=1, description="Name of the tool; '*' is every tool.")
    argument: str = Field(
        min_length=1,
        description="Name of the argument; 'a.b' lies within 'a', 'a[].b' in each element of 'a'.",
    )
    compare: Compare = Field(
        description="exact: to the letter; text: without case, punctuation and extra blanks; judge: as text, "
        "and by the judge in a score of its own, function_name_and_args_judged; number: by value, also "
        "as text; date: by instant; set: a list in any order; ignore: not at all.",
    )
    tolerance: float = Field(
        default=0.0,
        ge=0,
        description="Largest difference that counts as equal: of numbers, or of dates in seconds.",
    )

    @model_validator(mode="after")
    def _tolerance_has_a_use(self) -> ArgumentConfig:
        if self.tolerance and self.compare not in ("number", "date"):
            raise ValueError(f"compare {self.compare!r} knows no tolerance; only number and date do")
        return self


class CustomMetricConfig(Settings):
    """A metric of your own: a Python function, or a command such as a suite of code tests."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,59}$", description="Name of the score; small letters, digits and _."
    )
    function: str = Field(
        default="",
        description="'module:function' or 'file.py:function', called with request, reference and response; returns a "
        "score from 0 to 1, a truth value, or None where it does not apply.",
    )
    command: list[str] = Field(
        default=[],
        max_length=100,
        description="Command with its arguments; gets one answer as JSON on its input, and passes it with exit code 0.",
    )
    timeout_seconds: float = Field(
        default=60, gt=0, le=3600, description="Longest time for one answer, in seconds; commands only."
    )

    @model_validator(mode="after")
    def _function_or_command(self) -> CustomMetricConfig:
        if bool(self.function) == bool(self.command):
            raise ValueError(f"metric {self.name!r} needs either a function or a command")
        return self


class MetricsConfig(Settings):
    """Which scores are computed beside the built-in ones, and which stands for the whole."""

    primary: str = Field(
        default="",
        max_length=60,
        description="The score that stands for an evaluation in tables and verdicts. Empty: exact calls where there "
        "are tools, else ROUGE-L.",
    )
    arguments: list[ArgumentConfig] = Field(
        default=[],
        max_length=1000,
        description="How arguments of tools compare where the schema does not say it; the first that fits counts.",
    )
    custom: list[CustomMetricConfig] = Field(
        default=[],
        max_length=50,
        description="Metrics of your own: functions, and commands such as code tests.",
    )
    command_concurrency: int = Field(
        default=2, ge=1, le=256, description="Commands of custom metrics under way at once."
    )
    embedding_similarity: bool = Field(
        default=True,
        description="Score plain answers by the cosine of their vectors too, where icl_config.embedder is set.",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> MetricsConfig:
        names = [metric.name for metric in self.custom]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two custom metrics are named {twice[0]!r}; give each its own name")
        return self
