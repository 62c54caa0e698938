"""A part of a run: single candidates, single stages, and what is taken over from the run that they were done in."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from pydantic import Field, model_validator

from flywheel.config import CandidateConfig, FlywheelConfig, Settings
from flywheel.errors import ConfigError
from flywheel.overrides import validated
from flywheel.results import EVAL_TYPES, CandidateResult, RunResult

Stage = Literal["base-eval", "icl-eval", "fine-tune", "customized-eval", "judge"]
OF_THE_DATA = (
    "workload_id",
    "client_id",
    "logs",
    "redaction_config",
    "validation_config",
    "dedup_config",
    "data_split_config",
    "leakage_config",
    "history_config",
)
"""Settings that shape the datasets, which a rerun takes over as they are."""


class PartConfig(Settings):
    """Which part of the flywheel to turn. Empty: all of it."""

    of_run: str = Field(
        default="",
        max_length=200,
        description="Do the part again that an earlier run did: on its datasets, with everything else taken over from "
        "it. The result is a run of its own. Empty: a run from the log on.",
    )
    only_candidates: list[str] = Field(
        default=[], max_length=100, description="Names of the candidates to work on. Empty: all."
    )
    stages: list[Stage] = Field(
        default=[],
        max_length=5,
        description="What to do with them. 'fine-tune' brings 'customized-eval' with it. Empty: everything.",
    )

    @model_validator(mode="after")
    def _judging_needs_answers(self) -> PartConfig:
        if not self.of_run and self.stages and set(self.stages) <= {"judge", "customized-eval"}:
            raise ValueError(
                f"the stages {self.stages} build on an earlier run; name it in of_run, or add the stages before them"
            )
        return self

    def wants(self, stage: Stage) -> bool:
        """Whether that stage is done."""
        return not self.stages or stage in self.stages or (stage == "customized-eval" and self.wants_training)

    @property
    def wants_training(self) -> bool:
        """Whether anything is trained."""
        return not self.stages or "fine-tune" in self.stages

    @property
    def judges_alone(self) -> bool:
        """Whether no model under test is needed."""
        return bool(self.stages) and set(self.stages) == {"judge"}


EVERYTHING = PartConfig()


def part_of(config: FlywheelConfig, part: PartConfig, earlier: RunResult | None) -> FlywheelConfig:
    """The settings of a run that does that part; `earlier` is the run that `part.of_run` names.

    Raises: ConfigError for a candidate that is not there.
    """
    if earlier is not None:
        tree = config.model_dump()
        tree |= {name: earlier.config[name] for name in OF_THE_DATA if name in earlier.config}
        config = validated(tree)
        known = {*part.only_candidates, *(result.candidate for result in earlier.candidates)}
        if part.only_candidates:  # one that is new and not asked for has nothing to be taken over
            kept = [candidate for candidate in config.candidates if candidate.name in known]
            config = config.model_copy(update={"candidates": kept})
    names = [candidate.name for candidate in config.candidates]
    for name in part.only_candidates:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1) or names
            raise ConfigError(f"There is no candidate {name!r} in this run's settings; perhaps {near[0]!r}.")
    if earlier is None and part.only_candidates:
        chosen = [candidate for candidate in config.candidates if candidate.name in part.only_candidates]
        config = config.model_copy(update={"candidates": chosen})
    return config


def without_unwanted(candidate: CandidateConfig, part: PartConfig) -> CandidateConfig:
    """The candidate with the stages switched off that are not asked for."""
    return candidate.model_copy(
        update={
            "icl": candidate.icl and part.wants("icl-eval"),
            "customize": candidate.customize and part.wants("customized-eval"),
        }
    )


def merged(new: CandidateResult, earlier: CandidateResult | None) -> CandidateResult:
    """`new` with the evaluations and the fine-tune of `earlier` that were not done again."""
    if earlier is None:
        return new
    found = {evaluation.eval_type: evaluation for evaluation in earlier.evaluations}
    found |= {evaluation.eval_type: evaluation for evaluation in new.evaluations}
    return msgspec.structs.replace(
        new,
        evaluations=[found[eval_type] for eval_type in EVAL_TYPES if eval_type in found],
        customization=new.customization or earlier.customization,
    )


def taken_over(candidate: CandidateConfig, earlier: RunResult) -> CandidateResult:
    """What the earlier run found of a candidate that is not worked on again."""
    return next(result for result in earlier.candidates if result.candidate == candidate.name)


def require_same_data(config: FlywheelConfig, earlier: Mapping[str, Any]) -> None:
    """Raises ConfigError where the settings ask for other data than the run with the settings `earlier` had."""
    now = config.model_dump(include=set(OF_THE_DATA))
    before = validated(earlier).model_dump(include=set(OF_THE_DATA))
    for path in _different(now, before):
        raise ConfigError(
            f"{path} cannot be changed in a rerun, which works on the datasets of the run that it names. Leave it out, "
            "or start a new run without --rerun."
        )


def _different(now: Mapping[str, Any], before: Mapping[str, Any], at: str = "") -> Iterator[str]:
    for name, value in now.items():
        if isinstance(value, dict) and isinstance(before[name], dict):
            yield from _different(value, before[name], f"{at}{name}.")
        elif value != before[name]:
            yield f"{at}{name}"


def data_settings_in(overrides: Mapping[str, Any]) -> list[str]:
    """Overrides that a rerun could not honour, because its datasets are there already."""
    return sorted(path for path in overrides if path.split(".")[0] in OF_THE_DATA)
