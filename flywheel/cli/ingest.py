"""`flywheel ingest`: load log files into a log store that a team shares."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from flywheel.cli.label_arguments import add_label_arguments, labels_from_arguments
from flywheel.cli.terminal import console, emit_json, plain, progress_bars

if TYPE_CHECKING:
    from flywheel.report.loading import LoadReport

HELP = "load log files into Elasticsearch; loading a file again adds nothing"
EXAMPLE = "flywheel ingest logs/ more.jsonl.gz --to elasticsearch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The files, where they go, and what becomes of lines that are refused."""
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILES",
        help="files or directories of logs: JSONL (.gz, .zst) or Parquet; none only makes the index ready",
    )
    parser.add_argument(
        "--to",
        default="elasticsearch",
        metavar="STORE",
        help="'elasticsearch' (reached as ELASTICSEARCH_URL and ELASTICSEARCH_API_KEY say), or "
        "'<block type>/<block name>' of a saved Prefect block",
    )
    parser.add_argument(
        "--index", metavar="NAME", help="the index to load into (default: log-store-ingested)"
    )
    parser.add_argument(
        "--rejected",
        default="ingest-rejected.jsonl",
        metavar="FILE",
        help="where lines go that are refused, with the reason; replaced (default: %(default)s)",
    )
    add_label_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Load and say what came in; `--json` prints the counts of each file. Exit code 3 if no line was a record."""
    import asyncio
    from pathlib import Path

    from blocks.elasticsearch.loading import load_files, loading_settings, target_index

    settings = asyncio.run(loading_settings(arguments.to))
    index = target_index(settings, arguments.index)
    paths = [Path(file) for file in arguments.files]
    with progress_bars(enabled=not arguments.json) as progress:
        report = load_files(
            paths,
            settings,
            index,
            Path(arguments.rejected),
            progress,
            labels=labels_from_arguments(arguments),
        )
    if arguments.json:
        import msgspec

        emit_json({**msgspec.to_builtins(report), "total": msgspec.to_builtins(report.total())})
    else:
        _show(report)
    total = report.total()
    return 3 if total.lines and not total.created + total.existing else 0


def _show(report: LoadReport) -> None:
    from flywheel.cli.show import print_table
    from flywheel.report.loading import loading_rows

    if not report.files:
        console().print(plain(f"The index {report.index} is ready for records."))
        return
    total = report.total()
    print_table(console(), f"Loaded into {report.index}", loading_rows(report))
    if refused := sum(total.refused.values()):
        console().print(plain(f"Refused lines ({refused}) are in {report.rejected}, each with its reason."))
    console().print("List what is there with: flywheel workloads --from elasticsearch")
