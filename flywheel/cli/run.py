"""`flywheel run`: one turn of the flywheel on this machine."""

from __future__ import annotations

import argparse

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
        "--resume", metavar="RUN", help="go on with this run: what it finished is not repeated"
    )
    parser.add_argument(
        "--keep-server", action="store_true", help="leave the Prefect server up to browse the run"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run and show; exit code 4 if every candidate failed."""
    from flywheel.cli.settings_arguments import config_from_arguments

    return run_and_show(config_from_arguments(arguments), arguments)


def run_and_show(config: object, arguments: argparse.Namespace) -> int:
    """Run one turn under `config` and print what it found."""
    from flywheel.cli.running import run_here
    from flywheel.cli.show import show_run
    from flywheel.config import FlywheelConfig

    assert isinstance(config, FlywheelConfig)
    result = run_here(
        config,
        run_id=arguments.resume,
        keep_server=arguments.keep_server,
        quiet=arguments.json,
        debug=arguments.debug,
    )
    show_run(result, config.connections, as_json=arguments.json, most_divergent=DIVERGENT_SHOWN)
    return 4 if result.status == "failed" else 0
