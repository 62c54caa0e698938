"""`flywheel demo`: the sample workload end to end, with a real model on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flywheel.config import FlywheelConfig

HELP = "run the whole flywheel on a sample production log, with a real small model on CPU"
EXAMPLE = "flywheel demo"
WORKLOAD = "support-router"
CLIENT = "acme-web"
MODEL = "demo:smollm2-135m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `run` has, without the log."""
    from flywheel.cli.run import add_run_arguments

    add_run_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the sample log, run on it, show what came out."""
    from blocks.connections import home_directory
    from flywheel.cli.run import run_and_show
    from flywheel.config import ConnectionsConfig
    from flywheel.sample import write_sample_log

    logs = home_directory(ConnectionsConfig()) / "sample-log"
    write_sample_log(logs)
    return run_and_show(demo_config(str(logs)), arguments)


def demo_config(logs: str) -> FlywheelConfig:
    """One small model as it is, with in-context examples, and fine-tuned; sized for two CPU cores and minutes."""
    from flywheel.config import (
        CandidateConfig,
        DataSplitConfig,
        EvaluationConfig,
        FlywheelConfig,
        IclConfig,
        LogsConfig,
        TrainingConfig,
    )

    return FlywheelConfig(
        workload_id=WORKLOAD,
        client_id=CLIENT,
        description="The demo: can a model of 135 million parameters route support requests?",
        logs=LogsConfig(path=logs),
        data_split_config=DataSplitConfig(eval_size=40, limit=430),
        icl_config=IclConfig(max_context_length=2048, reserved_tokens=128, max_examples=3),
        training_config=TrainingConfig(epochs=1, learning_rate=2e-3),
        evaluation_config=EvaluationConfig(concurrency=40, default_max_tokens=64),
        candidates=[CandidateConfig(name="smollm2-rank16", model=MODEL)],
    )
