"""The settings tree, as the run form shows it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from flywheel.config import DataSplitConfig, FlywheelConfig, IclConfig, Settings


def every_model(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for sub in model.__subclasses__():
        yield from every_model(sub)


@pytest.mark.parametrize("model", list(every_model(Settings)), ids=lambda model: model.__name__)
def test_every_setting_has_a_description_that_ends_like_a_sentence(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name}"
        assert field.description.endswith("."), f"{model.__name__}.{name}"


def test_every_setting_but_workload_and_client_has_a_default() -> None:
    required = [name for name, field in FlywheelConfig.model_fields.items() if field.is_required()]
    assert required == ["workload_id", "client_id"]


def test_a_misspelt_setting_is_an_error() -> None:
    with pytest.raises(ValidationError, match="evalsize"):
        DataSplitConfig.model_validate({"evalsize": 3})


def test_settings_cannot_be_changed_after_they_are_made() -> None:
    with pytest.raises(ValidationError):
        DataSplitConfig().eval_size = 5  # type: ignore[misc]


def test_no_limit_and_seed_zero_and_no_validation_are_legal() -> None:
    config = DataSplitConfig(limit=None, random_seed=0, val_ratio=0)
    assert (config.limit, config.random_seed, config.val_ratio) == (None, 0, 0)


def test_more_examples_demanded_than_allowed_is_an_error() -> None:
    with pytest.raises(ValidationError, match=r"min_examples \(5\) is larger than max_examples \(2\)"):
        IclConfig(min_examples=5, max_examples=2)


def test_the_tree_survives_json() -> None:
    config = FlywheelConfig(workload_id="w", client_id="c")
    assert FlywheelConfig.model_validate_json(config.model_dump_json()) == config
