"""Settings of what is concluded: verdicts, prices, and what is kept from run to run."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field, model_validator

from flywheel.config.base import Address, Fraction, KeyVariable, Settings

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ThresholdsConfig(Settings):
    """What a candidate must reach to be surfaced."""

    margin: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="How much worse than production a candidate may be, in points of the score (0.05 is 5 points).",
    )
    min_score: dict[str, Fraction] = Field(
        default={},
        description="Least score of single metrics, whatever production reaches, for example {function_name: 0.98}.",
    )
    max_latency_ms_p95: Positive | None = Field(
        default=None,
        description="Longest 95th percentile of latency, in milliseconds; none is no bound.",
    )
    max_cost_per_request: Positive | None = Field(
        default=None,
        description="Highest cost of a request, in analysis_config.currency; none is no bound.",
    )
    sensitive: bool = Field(
        default=False,
        description="The workload carries compliance or brand risk: min_score must be reached by the lower end of the "
        "interval, and one answer that calls a tool wrongly keeps a candidate from being surfaced.",
    )


class WorkloadThresholds(Settings):
    """Thresholds of one workload over those of the run; a sweep has one configuration for many workloads."""

    workload_id: str = Field(min_length=1, description="The workload that these thresholds are for.")
    margin: float | None = Field(default=None, ge=0, lt=1, description="Its margin; none takes the run's.")
    min_score: dict[str, Fraction] | None = Field(
        default=None, description="Its least scores; none takes the run's."
    )
    max_latency_ms_p95: Positive | None = Field(
        default=None,
        description="Its longest 95th percentile of latency, in milliseconds; none takes the run's.",
    )
    max_cost_per_request: Positive | None = Field(
        default=None, description="Its highest cost of a request; none takes the run's."
    )
    sensitive: bool | None = Field(
        default=None, description="Whether it is sensitive; none takes what the run says."
    )


class PriceConfig(Settings):
    """What one model costs: tokens, GPU-hours, or both."""

    model: str = Field(
        min_length=1,
        description="Name of a candidate, of its model, of a judge, or of production as its answers name it.",
    )
    applies_to: Literal["all", "base-eval", "icl-eval", "customized-eval"] = Field(
        default="all", description="The price holds for this way of answering alone; a nearer one goes first."
    )
    input_per_1k: Price | None = Field(
        default=None, description="Price of 1,000 tokens of prompts; none is unknown, 0 is free."
    )
    output_per_1k: Price | None = Field(
        default=None, description="Price of 1,000 tokens of answers; none is unknown, 0 is free."
    )
    gpu_hour: Price | None = Field(default=None, description="Price of one GPU for an hour.")
    gpus: int = Field(default=1, ge=1, le=1024, description="GPUs that serve the model, for gpu_hour.")
    gpu_hours_per_month: float | None = Field(
        default=None,
        ge=0,
        le=744,
        description="Hours a month that each of its GPUs is held; 730 is always. None: the time that the evaluation "
        "took counts, as if the GPUs were held while they answer.",
    )
    fine_tune: Price | None = Field(
        default=None,
        description="Price of one fine-tune. None: GPU time of the training at gpu_hour, if that is given.",
    )
    fine_tune_per_1k: Price | None = Field(
        default=None, description="Price of 1,000 tokens trained on, added to fine_tune."
    )

    @model_validator(mode="after")
    def _says_something(self) -> PriceConfig:
        if (self.input_per_1k is None) != (self.output_per_1k is None):
            raise ValueError(
                f"the price of {self.model!r} has one of input_per_1k and output_per_1k; give both, 0 for what is free"
            )
        return self


class ProductionEndpointConfig(Settings):
    """Where the production model can be asked again, to see how far it agrees with itself."""

    base_url: Address = Field(
        default="", description="Address of a chat-completions endpoint, with /v1. Empty: it is not asked."
    )
    model: str = Field(default="", max_length=400, description="The model's name there.")
    api_key_env: KeyVariable = Field(
        default="", description="Environment variable that holds the endpoint's key. Empty: it wants none."
    )

    @model_validator(mode="after")
    def _address_and_model_go_together(self) -> ProductionEndpointConfig:
        if bool(self.base_url) != bool(self.model):
            raise ValueError("production_endpoint needs both base_url and model; leave both empty for none")
        return self


class AnalysisConfig(Settings):
    """How verdicts are reached and what things cost."""

    thresholds: ThresholdsConfig = Field(
        default=ThresholdsConfig(), description="What a candidate must reach to be surfaced."
    )
    workloads: list[WorkloadThresholds] = Field(
        default=[], max_length=1000, description="Thresholds of single workloads, over the run's."
    )
    weighting: Literal["traffic", "items"] = Field(
        default="traffic",
        description="In verdicts an item counts as often as production was asked it ('traffic'), or once ('items').",
    )
    min_repeats: int = Field(
        default=20,
        ge=2,
        description="Fewest requests answered more than once in the log from which production's own noise is taken; "
        "with fewer it is assumed to agree with itself always.",
    )
    production_endpoint: ProductionEndpointConfig = Field(
        default=ProductionEndpointConfig(), description="Where the production model can be asked again."
    )
    currency: str = Field(default="USD", min_length=1, max_length=10, description="Currency of every price.")
    prices: list[PriceConfig] = Field(
        default=[],
        max_length=1000,
        description="What models cost. A model without a price has no cost; it is shown as missing.",
    )

    def thresholds_for(self, workload_id: str) -> ThresholdsConfig:
        """The run's thresholds, with those of the workload's own over them."""
        for own in self.workloads:
            if own.workload_id == workload_id:
                return self.thresholds.model_copy(
                    update=own.model_dump(exclude={"workload_id"}, exclude_none=True)
                )
        return self.thresholds

    @model_validator(mode="after")
    def _each_workload_and_price_stands_once(self) -> AnalysisConfig:
        workloads = Counter(thresholds.workload_id for thresholds in self.workloads)
        prices = Counter((price.model, price.applies_to) for price in self.prices)
        for name, count in workloads.items():
            if count > 1:
                raise ValueError(f"analysis_config.workloads has {name!r} twice; give each workload once")
        for (model, applies_to), count in prices.items():
            if count > 1:
                raise ValueError(
                    f"analysis_config.prices has {model!r} twice for {applies_to}; give each price once"
                )
        return self


class HistoryConfig(Settings):
    """What runs of one workload keep for the next: the evaluation set, and what was ever evaluated or trained on."""

    keep_evaluation_set: bool = Field(
        default=True,
        description="Evaluate on the items of earlier runs again, so that runs can be compared, and keep what was "
        "trained on out of evaluation and the other way round. Off: draw anew and look at no earlier run.",
    )
    fresh_share: Fraction = Field(
        default=0.25,
        description="Records of traffic that no run has seen before, evaluated beside the kept items: this share of "
        "eval_size on top of it, as far as there are any.",
    )
    holdout_budget: int = Field(
        default=25,
        ge=1,
        description="Runs after which an evaluation set is worn out and a new one is drawn from traffic that no run "
        "has seen.",
    )
    stale_from: Fraction = Field(
        default=0.2,
        description="The evaluation set is stale where this share of the calls since it was drawn is of other kinds "
        "than those it was drawn from (tools of the answer, lengths), or this much more has a system prompt or tools "
        "that none of its items has, and chance does not explain it. A run says so.",
    )
    renew_when_stale: bool = Field(
        default=False,
        description="Draw a new evaluation set, from traffic that no run has seen, where the kept one is stale.",
    )
