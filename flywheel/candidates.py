"""Candidates have names of their own, and everything made for them is named after run, candidate and content."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import msgspec

from flywheel.config import CandidateConfig, FlywheelConfig, JudgeConfig
from flywheel.naming import slug

_LONGEST_ID = 12
_OF_A_DEPLOYMENT = {"model", "context_length", "customize", "deployment_config"}


def with_names(config: FlywheelConfig) -> FlywheelConfig:
    """`config` with a unique name for each candidate.

    A candidate without a name gets its model's last part; where several would share it, they are numbered in order.
    """
    taken = Counter(candidate.name for candidate in config.candidates if candidate.name)
    named = []
    for candidate in config.candidates:
        name = candidate.name
        if not name:
            base = slug(candidate.model.rstrip("/").replace(":", "/").rsplit("/", 1)[-1])
            name = base
            number = 2
            while taken[name]:
                name = f"{base}-{number}"
                number += 1
            taken[name] += 1
        named.append(candidate.model_copy(update={"name": name}))
    return config.model_copy(update={"candidates": named})


def content_hash(*parts: Any) -> str:
    """16 hexadecimal digits that change with any part; parts are what msgspec encodes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(msgspec.json.encode(part, order="deterministic"))
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def prefix_of(run_id: str) -> str:
    """How the names of all remote things of a run begin, and of no other run's.

    An id that is short and plain stands in it as it is. Of a longer one its hash does: ids of flow runs begin with the
    time, so runs that were started together would share the beginning.
    """
    plain = len(run_id) <= _LONGEST_ID and run_id.isascii() and run_id.isalnum() and run_id == run_id.lower()
    return f"fw-{run_id if plain else content_hash(run_id)[:_LONGEST_ID]}-"


def deployment_name(run_id: str, candidate: CandidateConfig) -> str:
    """Name of the candidate's deployment in one run: the same after a restart, another in another run.

    Whatever shapes a deployment shapes its name, so that one with other settings is never adopted.
    """
    settings = candidate.model_dump(include=_OF_A_DEPLOYMENT)
    return f"{prefix_of(run_id)}{slug(candidate.name)}-{content_hash(settings)[:8]}"


def judge_of(candidate: CandidateConfig, judge: JudgeConfig) -> CandidateConfig:
    """The model that rates the candidate's answers, as the platform deploys it."""
    return CandidateConfig(name=account_of_judge(candidate), model=judge.model, gpus=judge.gpus)


def account_of_judge(candidate: CandidateConfig) -> str:
    """Under which name a run keeps what judging the candidate's answers has used."""
    return f"judge of {candidate.name}"[:100]


def fine_tune_name(
    run_id: str, config: FlywheelConfig, candidate: CandidateConfig, training_data: str
) -> str:
    """Name of the candidate's fine-tune in one run; other data or other settings make another name.

    Args:
        training_data: Content hash of the training rows.
    """
    training = config.training_for(candidate)
    settings = [
        training.model_dump(),
        config.lora_for(candidate).model_dump(),
        candidate.customizer_config.model_dump(),
    ]
    if training.keep == "best_score":
        settings.append(config.metrics_config.model_dump(include={"primary", "arguments"}))
    content = content_hash(candidate.model, training_data, settings)
    return f"{prefix_of(run_id)}{slug(candidate.name)}-{content[:12]}"
