"""Settings of the judge: a model that rates answers where no program can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from flywheel.config.base import Address, Fraction, KeyVariable, Settings

JudgedAnswers = Literal["text", "calls", "all"]
WAYS = ("model", "block", "function")
"""What names a judge: one of these."""
JUDGE_METRICS = ("similarity", "tool_calling_correctness")


class JudgeMetricConfig(Settings):
    """A metric of your own: a prompt file and the scale that it asks for."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,59}$", description="Name of the score; small letters, digits and _."
    )
    prompt: str = Field(
        min_length=1, description="File with the prompt; docs/judge-and-metrics.md tells its form."
    )
    low: int = Field(default=1, ge=-1000, le=1000, description="Worst rating.")
    high: int = Field(default=10, ge=-1000, le=1000, description="Best rating.")
    applies_to: JudgedAnswers = Field(
        default="all",
        description="Which items are rated: those that production answered in words, those with tool calls, or all.",
    )

    @model_validator(mode="after")
    def _scale_has_two_ends(self) -> JudgeMetricConfig:
        if self.low >= self.high:
            raise ValueError(f"the scale goes from {self.low} to {self.high}; low must be below high")
        return self


class JudgeConfig(Settings):
    """Who rates answers, and how. Without a judge all metrics are computed by programs.

    The judge is one of: an endpoint (`base_url` and `model`), a saved block (`block`), a model that the run's platform
    deploys for as long as it is needed (`model` alone), or a function of your own (`function`).
    """

    base_url: Address = Field(
        default="",
        description="Address of the judge, with /v1, any OpenAI-compatible chat endpoint. Empty with a model: "
        "the run's platform deploys that model while it is needed.",
    )
    model: str = Field(default="", max_length=400, description="Name of the judge model. Empty: no judge.")
    api_key_env: KeyVariable = Field(
        default="", description="Environment variable that holds the endpoint's key. Empty: it wants none."
    )
    block: str = Field(
        default="",
        description="Saved block of the judge, '<block type>/<block name>', in place of address, model and key.",
    )
    function: str = Field(
        default="",
        description="A judge of your own, 'module:function' or 'file.py:function': gets the chat messages, returns the "
        "verdict as text.",
    )
    gpus: int = Field(
        default=1, ge=0, le=64, description="GPU slots held while a judge that the platform deploys is up."
    )
    metrics: list[Literal["similarity", "tool_calling_correctness"]] = Field(
        default=["similarity", "tool_calling_correctness"],
        description="Built-in metrics: plain answers from 1 to 10, tool calls 0 or 1.",
    )
    similarity_prompt: str = Field(default="", description="File in place of the built-in similarity prompt.")
    tool_calling_prompt: str = Field(
        default="", description="File in place of the built-in prompt of tool_calling_correctness."
    )
    custom_metrics: list[JudgeMetricConfig] = Field(
        default=[], max_length=20, description="Metrics of your own, each a prompt file with a scale."
    )
    output: Literal["auto", "structured", "text"] = Field(
        default="auto",
        description="How verdicts are asked for: by a JSON schema, as text, or by schema until it is refused.",
    )
    temperature: float | None = Field(
        default=0.0, ge=0, description="Sampling temperature of the judge; none sends none."
    )
    max_tokens: int = Field(default=1024, ge=16, description="Longest verdict, in tokens, reasons included.")
    most_characters: int = Field(
        default=24_000,
        ge=200,
        description="Characters of one text that the judge sees; a longer one loses its middle, visibly.",
    )
    position_probe: Fraction = Field(
        default=0.1,
        description="Share of the items rated once more with reference and answer in the other order.",
    )
    human_labels: str = Field(
        default="",
        description="File of ratings by people (JSONL), for agreement and corrected scores; see label_sheet.jsonl.",
    )
    concurrency: int = Field(default=8, ge=1, le=1024, description="Requests under way at once.")
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="Most requests a minute; none is no bound."
    )
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="Most tokens a minute; none is no bound."
    )
    timeout_seconds: float = Field(default=120, gt=0, description="Longest wait for one verdict, in seconds.")
    max_attempts: int = Field(
        default=4, ge=1, le=20, description="Tries for one verdict, first one included."
    )

    @classmethod
    def displaced(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """A judge that is named takes the place of one of another kind; another model stays at its address."""
        named = [way for way in WAYS if given.get(way)]
        if len(named) != 1:
            return {}
        others = dict.fromkeys((way for way in WAYS if way != named[0]), "")
        return others if named == ["model"] else others | {"base_url": "", "api_key_env": ""}

    @property
    def enabled(self) -> bool:
        """Whether there is a judge at all."""
        return bool(self.model or self.block or self.function)

    @property
    def deployed(self) -> bool:
        """Whether the run's platform has to deploy the judge."""
        return bool(self.model and not self.base_url)

    @model_validator(mode="after")
    def _one_judge(self) -> JudgeConfig:
        if self.base_url and not self.model:
            raise ValueError("a judge at an address needs the name of its model too")
        ways = [name for name in WAYS if getattr(self, name)]
        if len(ways) > 1:
            raise ValueError(f"give one judge: {' and '.join(ways)} are both set")
        names = [metric.name for metric in self.custom_metrics]
        twice = sorted({name for name in names if names.count(name) > 1} | set(names) & set(JUDGE_METRICS))
        if twice:
            raise ValueError(f"two judge metrics are named {twice[0]!r}; give each its own name")
        if self.enabled and not self.metrics and not self.custom_metrics:
            raise ValueError("a judge without metrics rates nothing; name one in metrics or custom_metrics")
        return self
