"""What tells workload and client of calls that a tracing tool recorded, on the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flywheel.traces.calls import Labels


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """The names of attributes, for a command without settings."""
    for whom in ("workload", "client"):
        parser.add_argument(
            f"--{whom}-from",
            metavar="ATTRIBUTE",
            action="append",
            default=[],
            help=f"of traced calls: an attribute that names the {whom}; may be given many times, the first that a call "
            "has counts",
        )


def labels_from_arguments(arguments: argparse.Namespace) -> Labels:
    """What the flags say."""
    from flywheel.traces.calls import Labels

    return Labels(tuple(arguments.workload_from), tuple(arguments.client_from))
