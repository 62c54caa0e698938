"""The reference of all settings, made from the settings themselves.

python -m flywheel.settings_reference > docs/settings.md
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel

from flywheel.config import (
    ArgumentConfig,
    CandidateConfig,
    CustomMetricConfig,
    FlywheelConfig,
    JudgeMetricConfig,
    PriceConfig,
    WorkloadThresholds,
)

LISTS: dict[str, type[BaseModel]] = {
    "metrics_config.arguments": ArgumentConfig,
    "metrics_config.custom": CustomMetricConfig,
    "judge_config.custom_metrics": JudgeMetricConfig,
    "analysis_config.prices": PriceConfig,
    "analysis_config.workloads": WorkloadThresholds,
}
"""Settings whose entries are trees of their own, none of them by default."""


def settings_markdown() -> str:
    """Every setting with its path, default and description."""
    lines = [
        "# Settings",
        "",
        "Made from `flywheel/config/` by `python -m flywheel.settings_reference`. On the command line:",
        "`--set path=value`; in a file: `--config FILE.yaml`; in the Prefect UI: the form of the `flywheel` flow, or",
        "its parameter `overrides`.",
        "",
        "| setting | default | what it does |",
        "|---|---|---|",
    ]
    lines += [f"| `{path}` | {default} | {text} |" for path, default, text in settings(FlywheelConfig)]
    lines += [
        "",
        "## Each entry of `candidates`",
        "",
        "`--set candidates.0.gpus=2` changes the first, `--set candidates.NAME.gpus=2` the one of that name.",
        "",
        "| setting | default | what it does |",
        "|---|---|---|",
    ]
    lines += [f"| `{path}` | {default} | {text} |" for path, default, text in settings(CandidateConfig)]
    for path, model in LISTS.items():
        lines += [
            "",
            f"## Each entry of `{path}`",
            "",
            "| setting | default | what it does |",
            "|---|---|---|",
        ]
        lines += [f"| `{name}` | {default} | {text} |" for name, default, text in settings(model)]
    return "\n".join(lines) + "\n"


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(path, default, description) of every leaf of the tree."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from settings(annotation, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else _default(field.default)
        yield f"{prefix}{name}", default, f"{field.description}{_choices(annotation)}"


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        if value and isinstance(value[0], BaseModel):
            return "one, the demo's model"
        return ", ".join(f"`{entry}`" for entry in value) or "empty"
    return f"`{value}`" if value != "" else "empty"


def _choices(annotation: Any) -> str:
    options = []
    for part in _parts(annotation):
        if typing.get_origin(part) is Literal:
            options += [f"`{option}`" for option in typing.get_args(part)]
    return f" One of {', '.join(options)}." if len(options) > 1 else ""


def _parts(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


if __name__ == "__main__":
    print(settings_markdown(), end="")
