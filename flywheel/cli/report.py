"""`flywheel report`: one run as one HTML file."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from flywheel.cli.stored_run import add_run_argument

HELP = "write one run as one HTML file that opens offline: verdicts, scores, costs, curves, divergent answers"
EXAMPLE = "flywheel report 3f2a --out report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and where the file goes."""
    add_run_argument(parser, optional=True)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the file; default: flywheel-<workload>-<run>.html here"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the file, whole or not at all, and say where it is."""
    from flywheel.cli.settings_arguments import connections_from_arguments
    from flywheel.cli.stored_run import load_evidence, load_run
    from flywheel.cli.terminal import console, emit_json, plain
    from flywheel.naming import slug
    from flywheel.report.html.page import report_html

    connections = connections_from_arguments(arguments)
    found = asyncio.run(load_run(arguments.run, connections))
    evidence = asyncio.run(load_evidence(found, connections))
    out = arguments.out or Path(f"flywheel-{slug(found.workload_id)}-{slug(found.run_id)}.html")
    page = report_html(found, evidence)
    write_whole(out, page)
    if arguments.json:
        emit_json(
            {"run_id": found.run_id, "report": str(out), "bytes": len(page), "missing": evidence.missing}
        )
        return 0
    for line in evidence.missing:
        console(to_stderr=True).print(plain(line))
    console().print(plain(f"The report of run {found.run_id} is in {out}; open it in a browser."))
    return 0


def write_whole(out: Path, content: bytes) -> None:
    """Write a file such that nobody finds half of it. Raises ConfigError where `out` is a directory, OSError."""
    import os

    from flywheel.errors import ConfigError

    if out.is_dir():
        raise ConfigError(f"{out} is a directory; name a file with --out.")
    staged = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        staged.write_bytes(content)
        staged.replace(out)
    finally:
        staged.unlink(missing_ok=True)
