"""The judge of the settings: an endpoint, a saved block, a function."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocks.ports import Endpoint
from blocks.scoring.judge import FunctionJudge, ModelJudge, rate
from blocks.scoring.judge_cache import JudgeCache
from blocks.scoring.judge_connection import JudgeConnection, JudgeModel, judge_name, open_judge
from flywheel.config import JudgeConfig
from flywheel.errors import ConfigError
from flywheel.progress import silent
from tests.fakes.judge_server import ScriptedJudge
from tests.unit.blocks.scoring.test_judge import questions


async def test_a_judge_is_an_endpoint_or_a_function_by_the_settings(tmp_path: Path) -> None:
    endpoint = await open_judge(JudgeConfig(base_url="http://127.0.0.1:9/v1", model="big"))
    assert isinstance(endpoint, ModelJudge)
    assert judge_name(endpoint) == "big"
    path = tmp_path / "own.py"
    path.write_text("def judge(messages):\n    return '7'\n", encoding="utf-8")
    function = await open_judge(JudgeConfig(function=f"{path}:judge"))
    assert isinstance(function, FunctionJudge)
    assert judge_name(function) == f"{path}:judge"


async def test_settings_without_a_judge_are_a_clear_error() -> None:
    for config in (JudgeConfig(), JudgeConfig(model="only-on-the-platform")):
        with pytest.raises(ConfigError, match="There is no judge"):
            await open_judge(config)
    with pytest.raises(ConfigError, match="'<block type>/<block name>'"):
        await open_judge(JudgeConfig(block="nothing"))


def test_a_judges_block_shows_its_key_to_nobody_and_hands_it_on() -> None:
    block = JudgeModel(base_url="http://h/v1", model="m", api_key="sk-very-secret")  # type: ignore[arg-type]
    assert "sk-very-secret" not in repr(block) + block.model_dump_json()
    connection = block.connect()
    assert (connection.key, connection.endpoint.model) == ("sk-very-secret", "m")
    assert "sk-very-secret" not in repr(connection)


async def test_a_judge_that_is_deployed_anew_elsewhere_is_not_asked_again(tmp_path: Path) -> None:
    config = JudgeConfig(model="big", position_probe=0)
    verdicts = []
    for _ in range(2):
        async with ScriptedJudge() as server:
            deployed = JudgeConnection(Endpoint(server.base_url, "big"))
            async with await open_judge(config, deployed) as judge:
                asked = questions(["Berlin", "Paris is in France"])
                verdicts.append(await rate(asked, judge, JudgeCache(tmp_path), config, silent))
            requests = len(server.bodies)
        assert judge_name(judge) == "big"
    assert requests == 0
    assert verdicts[0] == verdicts[1]
