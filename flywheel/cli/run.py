"""`flywheel run`: one turn of the flywheel on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flywheel.config import FlywheelConfig

HELP = "run the flywheel once for one workload: curate, evaluate, fine-tune, compare"
EXAMPLE = "flywheel run --logs logs/ --workload support-router --client acme-web --set candidates.0.model=./my-model"

DIVERGENT_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The log, the settings, and how to run."""
    from flywheel.cli.settings_arguments import add_settings_arguments

    add_settings_arguments(parser)
    add_run_arguments(parser)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """What `run` and `demo` have in common."""
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with this run under its own settings: what it finished is not repeated",
    )
    parser.add_argument(
        "--keep-server", action="store_true", help="leave the Prefect server up to browse the run"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run and show; exit code 4 if every candidate failed."""
    from flywheel.cli.settings_arguments import config_from_arguments

    if arguments.resume:
        config, run_id = resumed(arguments)
        return run_and_show(config, arguments, run_id)
    return run_and_show(config_from_arguments(arguments), arguments)


def resumed(arguments: argparse.Namespace) -> tuple[FlywheelConfig, str]:
    """The settings of the run to go on with, what else was given over them, and its whole id.

    Raises: DataError where there is no such run, ConfigError for settings that are wrong or of another workload.
    """
    import asyncio

    from flywheel.cli.settings_arguments import config_from_arguments, connections_from_arguments
    from flywheel.cli.stored_run import load_run
    from flywheel.errors import ConfigError

    connections = connections_from_arguments(
        arguments, alone=True
    )  # the rest is for the run's own candidates
    run = asyncio.run(load_run(arguments.resume, connections))
    config = config_from_arguments(arguments, base=run.config)
    if (config.workload_id, config.client_id) != (run.workload_id, run.client_id):
        raise ConfigError(
            f"Run {run.run_id} is of the workload {run.workload_id!r} of client {run.client_id!r}; leave --workload "
            "and --client out, or start a new run without --resume."
        )
    return config, run.run_id


def run_and_show(config: FlywheelConfig, arguments: argparse.Namespace, run_id: str | None = None) -> int:
    """Run one turn under `config` and print what it found."""
    from flywheel.cli.running import run_here
    from flywheel.cli.show import show_run

    result = run_here(
        config,
        run_id=run_id or arguments.resume,
        keep_server=arguments.keep_server,
        quiet=arguments.json,
        debug=arguments.debug,
    )
    show_run(result, config.connections, as_json=arguments.json, most_divergent=DIVERGENT_SHOWN)
    return 4 if result.status == "failed" else 0
