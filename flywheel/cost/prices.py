"""From a price list to the cost of a call, of a month, and of a fine-tune."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flywheel.config import PriceConfig
from flywheel.results import Customization


class Call(msgspec.Struct, frozen=True):
    """One answered request. `weight` counts the logged calls that it stands for; what is not known is None."""

    id: str
    model: str
    cluster: str
    weight: float = 1.0
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_ms: float | None = None

    @property
    def tokens(self) -> int | None:
        """Prompt and answer together."""
        if self.tokens_in is None or self.tokens_out is None:
            return None
        return self.tokens_in + self.tokens_out


def price_of(prices: Sequence[PriceConfig], names: Sequence[str], eval_type: str = "") -> PriceConfig | None:
    """The price under the first of the names that has one; one for this way of answering goes before one for all."""
    for name in names:
        for scope in (eval_type, "all"):
            found = [price for price in prices if price.model == name and price.applies_to == scope]
            if found:
                return found[0]
    return None


def tokens_cost(call: Call, price: PriceConfig) -> float | None:
    """Cost of the call's tokens, in-context examples among them; None where a count or the price is not known."""
    if price.input_per_1k is None or price.output_per_1k is None:
        return None
    if call.tokens_in is None or call.tokens_out is None:
        return None
    return (call.tokens_in * price.input_per_1k + call.tokens_out * price.output_per_1k) / 1000


def tokens_price(price: PriceConfig | None, tokens_in: int, tokens_out: int) -> float | None:
    """What so many tokens cost, nothing where the price is for GPU time alone; None where no price is known."""
    if price is None:
        return None
    return (tokens_in * (price.input_per_1k or 0.0) + tokens_out * (price.output_per_1k or 0.0)) / 1000


def hosting_per_month(price: PriceConfig) -> float:
    """Cost of GPUs that are held whether they are asked or not; 0 where none are."""
    if price.gpu_hour is None or price.gpu_hours_per_month is None:
        return 0.0
    return price.gpu_hour * price.gpus * price.gpu_hours_per_month


def gpu_time_cost(price: PriceConfig, seconds: float) -> float:
    """Cost of the model's GPUs for so long."""
    return (price.gpu_hour or 0.0) * price.gpus * seconds / 3600


def fine_tune_cost(price: PriceConfig, customization: Customization) -> float | None:
    """Cost of one fine-tune; None where no price says it."""
    known = 0.0
    if price.fine_tune is None and price.fine_tune_per_1k is None:
        if price.gpu_hour is None or customization.runtime_seconds is None:
            return None
        return gpu_time_cost(price, customization.runtime_seconds)
    known += price.fine_tune or 0.0
    if price.fine_tune_per_1k is not None:
        if not customization.tokens:
            return None
        known += price.fine_tune_per_1k * customization.tokens / 1000
    return known
