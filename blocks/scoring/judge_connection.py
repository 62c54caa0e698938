"""Which judge the settings name, and the Prefect block that a judge's address and key may stand in."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr

from blocks.ports import Endpoint
from blocks.scoring.judge import FunctionJudge, Judge, ModelJudge
from blocks.strict_block import StrictBlock
from flywheel.config import JudgeConfig
from flywheel.errors import ConfigError
from flywheel.evaluation.user_functions import load_function

DEPLOYED = "the platform"
"""Stands for the address of a judge that a run's platform deploys, wherever verdicts are kept by who gave them."""


class JudgeConnection:
    """Where a judge is and the key that opens it; the key is shown nowhere."""

    def __init__(self, endpoint: Endpoint, key: str | None = None) -> None:
        self.endpoint = endpoint
        self.key = key


class JudgeModel(StrictBlock):
    """A judge: any model behind an OpenAI-compatible chat endpoint."""

    _block_type_name: ClassVar[str] = "Flywheel Judge"
    _block_type_slug: ClassVar[str] = "flywheel-judge"
    _description: ClassVar[str] = "Address, model and key of a judge for judge_config.block."

    base_url: str = Field(min_length=1, description="Address with the version, such as https://host/v1.")
    model: str = Field(min_length=1, description="Name of the judge model.")
    api_key: SecretStr | None = Field(
        default=None, title="API key", description="Empty where none is wanted."
    )

    def connect(self) -> JudgeConnection:
        """Where the judge is."""
        return JudgeConnection(
            Endpoint(self.base_url, self.model), self.api_key.get_secret_value() if self.api_key else None
        )


async def open_judge(config: JudgeConfig, deployed: JudgeConnection | None = None) -> Judge:
    """The judge of the settings, not entered yet.

    Args:
        deployed: Where the run's platform has put the judge, for one that it deploys.

    Raises: ConfigError where the settings name none, or one that is not there.
    """
    if config.function:
        return FunctionJudge(load_function(config.function), config)
    if config.block:
        connection = await _saved(config.block)
        return ModelJudge(connection.endpoint, config, connection.key)
    if deployed is not None:
        judge = ModelJudge(deployed.endpoint, config, deployed.key)
        # Each deployment has an address of its own, and what is asked is the same model.
        judge.identity["base_url"] = DEPLOYED
        return judge
    if not config.base_url:
        raise ConfigError("There is no judge: set judge_config.base_url and judge_config.model.")
    return ModelJudge(Endpoint(config.base_url, config.model, config.api_key_env or None), config)


def judge_name(judge: Judge) -> str:
    """What the judge is called in results: its model, or its function."""
    return str(judge.identity.get("model") or judge.identity.get("function"))


async def _saved(name: str) -> JudgeConnection:
    from blocks.connections import saved_connection

    found = await saved_connection(name, "judge_config.block")
    if not isinstance(found, JudgeConnection):
        raise ConfigError(
            f"judge_config.block names {name!r}, which is no judge; use a block of the type flywheel-judge."
        )
    return found
