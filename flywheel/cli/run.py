"""`flywheel run`: one turn of the flywheel on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flywheel.config import FlywheelConfig
    from flywheel.rerun import PartConfig

HELP = "run the flywheel once for one workload: curate, evaluate, fine-tune, compare"
EXAMPLE = "flywheel run --logs logs/ --workload support-router --client acme-web --set candidates.0.model=./my-model"

JUDGE_AGAIN = "flywheel run --rerun 3f2a --stage judge --set judge_config.model=other-judge"

DIVERGENT_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The log, the settings, and how to run."""
    from flywheel.cli.settings_arguments import add_settings_arguments

    add_settings_arguments(parser)
    add_run_arguments(parser)
    part = parser.add_argument_group(
        "a part of the flywheel",
        f"For example, the answers of a run rated by another judge:\n  {JUDGE_AGAIN}",
    )
    part.add_argument(
        "--rerun",
        metavar="RUN",
        help="do a part of this run again, on its datasets and under its settings, as a run of its own",
    )
    part.add_argument(
        "--only",
        metavar="CANDIDATE",
        action="append",
        default=[],
        help="work on this one; may be given many times",
    )
    part.add_argument(
        "--stage",
        action="append",
        default=[],
        choices=("base-eval", "icl-eval", "fine-tune", "customized-eval", "judge"),
        help="do this one; may be given many times",
    )


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
        config, run_id = settings_of_run(arguments.resume, arguments, "--resume")
        return run_and_show(config, arguments, run_id)
    if arguments.rerun:
        config, arguments.rerun = settings_of_run(arguments.rerun, arguments, "--rerun")
    else:
        config = config_from_arguments(arguments)
    return run_and_show(config, arguments, part=part_of_arguments(arguments))


def part_of_arguments(arguments: argparse.Namespace) -> PartConfig:
    """Which part to do. Raises: ConfigError for one that cannot be done."""
    from pydantic import ValidationError

    from flywheel.errors import ConfigError
    from flywheel.rerun import PartConfig

    try:
        return PartConfig(
            of_run=arguments.rerun or "", only_candidates=arguments.only, stages=arguments.stage
        )
    except ValidationError as error:
        raise ConfigError(
            "These stages build on what an earlier run found: name it with --rerun, or add the stages before them."
        ) from error


def settings_of_run(name: str, arguments: argparse.Namespace, flag: str) -> tuple[FlywheelConfig, str]:
    """The settings of an earlier run, what else was given over them, and its whole id.

    Raises: DataError where there is no such run, ConfigError for settings that are wrong or of another workload.
    """
    import asyncio

    from flywheel.cli.settings_arguments import config_from_arguments, connections_from_arguments
    from flywheel.cli.stored_run import load_run
    from flywheel.errors import ConfigError
    from flywheel.rerun import require_same_data

    connections = connections_from_arguments(
        arguments, alone=True
    )  # the rest is for the run's own candidates
    run = asyncio.run(load_run(name, connections))
    config = config_from_arguments(arguments, base=run.config)
    if (config.workload_id, config.client_id) != (run.workload_id, run.client_id):
        raise ConfigError(
            f"Run {run.run_id} is of the workload {run.workload_id!r} of client {run.client_id!r}; leave --workload "
            f"and --client out, or start a new run without {flag}."
        )
    if flag == "--rerun":
        require_same_data(config, run.config)
    return config, run.run_id


def run_and_show(
    config: FlywheelConfig,
    arguments: argparse.Namespace,
    run_id: str | None = None,
    part: PartConfig | None = None,
) -> int:
    """Run one turn under `config` and print what it found."""
    from flywheel.cli.machine_use import MachineUse
    from flywheel.cli.running import run_here
    from flywheel.cli.show import show_run

    if not (run_id or arguments.resume or (part and part.of_run)):
        _require_log(config)
    use = MachineUse() if config.connections.platform == "local" else None  # elsewhere others do the work
    result = run_here(
        config,
        run_id=run_id or arguments.resume,
        keep_server=arguments.keep_server,
        quiet=arguments.json,
        debug=arguments.debug,
        part=part,
    )
    show_run(
        result,
        config.connections,
        as_json=arguments.json,
        most_divergent=DIVERGENT_SHOWN,
        limit=use.limit() if use else "",
    )
    return 4 if result.status == "failed" else 0


def _require_log(config: FlywheelConfig) -> None:
    """Raises: DataError for a log of files that is not there, before a server is started to read it."""
    from pathlib import Path

    from blocks.logs.log_files import log_files

    if config.connections.log_store == "files" and config.logs.path:
        log_files(Path(config.logs.path).expanduser())
