"""`flywheel cleanup`: free what dead runs left behind."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.cleaning.freed import Freed

HELP = "free deployments and jobs of runs whose process died, and datasets that nothing refers to"
EXAMPLE = "flywheel cleanup --dry-run --older-than 1h"

UNITS = {"s": 1 / 60, "m": 1, "h": 60, "d": 1440}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is looked at, and how careful to be."""
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="RUN",
        help="only what this run holds, dead or not to be told",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be freed")
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        default="10m",
        help="leave alone what was asked for more recently: 30s, 10m, 2h, 1d (default 10m)",
    )
    parser.add_argument(
        "--datasets-older-than",
        metavar="AGE",
        default="30d",
        help="leave datasets alone that were made or found more recently (default 30d)",
    )
    parser.add_argument(
        "--home", metavar="DIR", default="", help="directory of stores and models, as for `run`"
    )
    parser.add_argument("--run-store", metavar="NAME", default="embedded", help="as connections.run_store")
    parser.add_argument(
        "--dataset-store", metavar="NAME", default="embedded", help="as connections.dataset_store"
    )
    parser.add_argument("--platform", metavar="NAME", default="local", help="as connections.platform")


def run(arguments: argparse.Namespace) -> int:
    """Clean up and print what was done; exit code 4 if something could not be freed."""
    import os

    minutes = age_in_minutes(arguments.older_than, "--older-than")
    days = age_in_minutes(arguments.datasets_older_than, "--datasets-older-than") / UNITS["d"]
    os.environ.setdefault(
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "DEBUG" if arguments.debug else "CRITICAL"
    )

    import asyncio
    from datetime import timedelta

    import msgspec
    from prefect.settings import PREFECT_API_URL

    from flows.cleanup import NOTHING, cleanup, rows_of, summary_of
    from flywheel.cli.show import print_table
    from flywheel.cli.terminal import console, emit_json, plain
    from flywheel.config import ConnectionsConfig
    from tasks.cleaning.cleanup import clean_up

    connections = ConnectionsConfig(
        home=arguments.home,
        run_store=arguments.run_store,
        dataset_store=arguments.dataset_store,
        platform=arguments.platform,
    )

    async def cleaned() -> list[Freed]:
        if PREFECT_API_URL.value():
            state: Any = await cleanup(
                connections, minutes, arguments.dry_run, arguments.run, days, return_state=True
            )
            found: list[Freed] = await state.aresult()
            return found
        return await clean_up(
            connections,
            older_than=timedelta(minutes=minutes),
            datasets_older_than=timedelta(days=days),
            dry_run=arguments.dry_run,
            run_ids=arguments.run,
        )

    found = asyncio.run(cleaned())
    if arguments.json:
        emit_json({"dry_run": arguments.dry_run, "found": [msgspec.to_builtins(thing) for thing in found]})
    elif found:
        print_table(console(), "Cleanup", rows_of(found))
        console().print(plain(summary_of(found)))
    else:
        console().print(NOTHING)
    return 4 if any(thing.is_left for thing in found) else 0


def age_in_minutes(text: str, flag: str) -> float:
    """'30s', '10m', '2h' or '1d' in minutes. Raises ConfigError."""
    from flywheel.errors import ConfigError

    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])", text.strip())
    if found is None:
        raise ConfigError(f"{flag} is {text!r}; write it as 30s, 10m, 2h or 1d.")
    return float(found[1]) * UNITS[found[2]]
