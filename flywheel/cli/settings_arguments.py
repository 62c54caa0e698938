"""The settings on the command line, the same for every command that takes them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flywheel.config import ConnectionsConfig, FlywheelConfig


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """Which log, which workload, and all settings; flags win over --set, --set over --config."""
    parser.add_argument(
        "--logs", metavar="PATH", help="file or directory of logs: JSONL (.gz, .zst), Parquet or OTLP"
    )
    parser.add_argument(
        "--from",
        dest="store",
        metavar="STORE",
        help="a log store in place of files: 'elasticsearch' or 'langfuse' (from the ELASTICSEARCH_* or LANGFUSE_* "
        "environment variables), or '<block type>/<block name>' of a saved Prefect block",
    )
    parser.add_argument("--workload", metavar="W", help="workload_id of the calls to study")
    parser.add_argument("--client", metavar="C", help="client_id of the traffic")
    size = parser.add_argument_group("sizes")
    size.add_argument(
        "--eval-size", type=_count, metavar="N", help="records held out for evaluation, exactly"
    )
    size.add_argument("--val-ratio", type=float, metavar="R", help="share of the rest used for validation")
    size.add_argument("--seed", type=_count, metavar="N", help="seed of every random choice about data")
    size.add_argument(
        "--limit",
        type=_count_or_none,
        metavar="N",
        help="most records read, see logs.sampling; 'none': no limit",
    )
    size.add_argument("--min-total-records", type=_count, metavar="N", help="fewest records that make sense")
    settings = parser.add_argument_group("all other settings")
    settings.add_argument("--config", metavar="FILE", help="YAML file with any part of the settings")
    settings.add_argument(
        "--set",
        metavar="KEY.PATH=VALUE",
        action="append",
        default=[],
        dest="sets",
        help="one setting, e.g. dedup_config.similarity_threshold=0.9; may be given many times",
    )


def add_connection_arguments(parser: argparse.ArgumentParser, *, below: bool = False) -> None:
    """Settings for a command that needs to know where things are and nothing else.

    `below` is for a command inside of another that has these arguments too: either place will do.
    """
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS if below else None,
        help="YAML file of settings; those of `connections` count",
    )
    parser.add_argument(
        "--set",
        metavar="KEY.PATH=VALUE",
        action="append",
        default=[],
        dest="sets_below" if below else "sets",
        help="one setting, e.g. connections.run_store=mongodb; may be given many times",
    )


def connections_from_arguments(arguments: argparse.Namespace, *, alone: bool = False) -> ConnectionsConfig:
    """Where things are. Raises ConfigError for any setting that is wrong.

    Args:
        alone: Pass over all other settings, which may only be right where they are merged.
    """
    from pathlib import Path

    from flywheel.overrides import load_config, read_settings_file

    tree = read_settings_file(Path(arguments.config)) if arguments.config else {}
    sets = [*arguments.sets, *getattr(arguments, "sets_below", [])]
    if alone:
        tree = {key: value for key, value in tree.items() if key == "connections"}
        sets = [setting for setting in sets if setting.strip().startswith("connections.")]
    nobody = {"workload_id": "any", "client_id": "any"}  # demanded of a run; this is none
    return load_config(sets=sets, base=tree, last=nobody).connections


def config_from_arguments(
    arguments: argparse.Namespace, base: Mapping[str, Any] | None = None
) -> FlywheelConfig:
    """The effective settings: flags over --set over --config over `base`, which holds those in effect so far.

    Raises:
        ConfigError: A setting is wrong, or neither a flag nor a file names logs, workload or client.
    """
    from pathlib import Path

    from flywheel.errors import ConfigError
    from flywheel.overrides import load_config, merge, parse_setting, read_settings_file

    file = Path(arguments.config) if arguments.config else None
    flags = _tree(arguments)
    given = merge(merge(base or {}, read_settings_file(file)) if file else base or {}, flags)
    for setting in arguments.sets:
        given = merge(given, parse_setting(setting))
    for key, flag in (("workload_id", "--workload"), ("client_id", "--client")):
        if not given.get(key):
            raise ConfigError(
                f"Name one with {flag}; `flywheel workloads --logs PATH` lists what a log holds."
            )
    config = load_config(file, arguments.sets, base=base, last=flags)
    if config.connections.log_store == "files" and not config.logs.path:
        raise ConfigError("Name the log with --logs PATH: a file or a directory of JSONL or Parquet.")
    return config


def _tree(arguments: argparse.Namespace) -> dict[str, Any]:
    """The flags that were given, as a tree of settings."""
    split = {
        "eval_size": arguments.eval_size,
        "val_ratio": arguments.val_ratio,
        "random_seed": arguments.seed,
        "min_total_records": arguments.min_total_records,
        "limit": arguments.limit,
    }
    tree: dict[str, Any] = {"workload_id": arguments.workload, "client_id": arguments.client}
    tree = {key: value for key, value in tree.items() if value is not None}
    if arguments.store is not None:
        tree["connections"] = {"log_store": arguments.store}
    if arguments.logs is not None:
        tree["logs"] = {"path": arguments.logs}
    if any(value is not None for value in split.values()):
        tree["data_split_config"] = {key: value for key, value in split.items() if value is not None}
    return tree


def _count(text: str) -> int:
    return int(text)


_count.__name__ = "whole number"  # argparse puts the name into its message


def _count_or_none(text: str) -> int | str:
    return "none" if text.lower() == "none" else int(text)


_count_or_none.__name__ = "whole number or 'none'"
