"""What is wrong with the settings of scores is told before a model is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flywheel.config import FlywheelConfig
from flywheel.errors import ConfigError
from tasks.candidates.training_bounds import check_fine_tunes
from tasks.evaluating.judging import check_judge_and_metrics

ENDPOINT = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}


async def check(home: Path, **settings: Any) -> None:
    connections = {"home": str(home), "platform": settings.pop("platform", "local")}
    document = {"workload_id": "w", "client_id": "c", "connections": connections, **settings}
    await check_judge_and_metrics.fn(FlywheelConfig.model_validate(document))


async def test_a_score_that_verdicts_shall_go_by_and_nothing_computes_is_refused_with_the_names_there_are(
    tmp_path: Path,
) -> None:
    for name in ("function_nam", "similarity", "embedding_similarity", "nemo_function_name"):
        told = f"names '{name}', which these settings do not score; name one of function_name,"
        with pytest.raises(ConfigError, match=f"metrics_config.primary {told}"):
            await check(tmp_path, metrics_config={"primary": name})
        with pytest.raises(ConfigError, match=f"min_score {told}"):
            await check(tmp_path, analysis_config={"thresholds": {"min_score": {name: 0.9}}})
        own = [{"workload_id": "w", "min_score": {name: 0.9}}]
        with pytest.raises(ConfigError, match=f"min_score {told}"):
            await check(tmp_path, analysis_config={"workloads": own})


async def test_a_main_score_of_the_judge_the_embedder_the_user_or_the_platform_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("NEMO", "NIM", "DATASTORE"):
        monkeypatch.setenv(f"{service}_BASE_URL", "http://127.0.0.1:9")
    own = {"name": "polite", "command": ["true"]}
    await check(tmp_path, metrics_config={"primary": "similarity"}, judge_config=ENDPOINT)
    await check(
        tmp_path, metrics_config={"primary": "embedding_similarity"}, icl_config={"embedder": ENDPOINT}
    )
    await check(tmp_path, metrics_config={"primary": "polite", "custom": [own]})
    by_nemo = {"evaluator": "nemo"}
    await check(
        tmp_path, platform="nemo", metrics_config={"primary": "nemo_function_name"}, evaluation_config=by_nemo
    )


async def test_an_evaluator_that_the_platform_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the platform 'local' does not evaluate; set it to 'flywheel'"):
        await check(tmp_path, evaluation_config={"evaluator": "nemo"})


async def test_a_platform_of_no_such_name_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="'openia'; use 'local', 'nemo', 'openai', 'vllm' or '<block type>/"
    ):
        await check(tmp_path, platform="openia", evaluation_config={"evaluator": "nemo"})


async def test_epochs_compared_by_answers_are_refused_where_the_platform_trains_out_of_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("NEMO", "NIM", "DATASTORE", "OPENAI", "VLLM"):
        monkeypatch.setenv(f"{service}_BASE_URL", "http://127.0.0.1:9")

    def settings(platform: str, **candidate: Any) -> FlywheelConfig:
        return FlywheelConfig.model_validate(
            {
                "workload_id": "w",
                "client_id": "c",
                "connections": {"home": str(tmp_path), "platform": platform},
                "training_config": {"keep": "best_score"},
                "candidates": [{"name": "small", "model": "m", **candidate}],
            }
        )

    for platform in ("nemo", "openai"):
        with pytest.raises(
            ConfigError, match=f"'best_score' for 'small', and the platform '{platform}' trains where"
        ):
            await check_fine_tunes(settings(platform))
        await check_fine_tunes(settings(platform, customize=False))
        await check_fine_tunes(settings(platform, training_config={"keep": "best"}))
    for platform in ("local", "vllm"):
        await check_fine_tunes(settings(platform))
