"""`flywheel curate`: the data half alone, from a log to datasets. Needs no model."""

from __future__ import annotations

import argparse
from typing import Any

from flywheel.cli.settings_arguments import add_settings_arguments, config_from_arguments

HELP = "turn a production log into evaluation and training sets; no model needed"
EXAMPLE = "flywheel curate --logs logs/ --workload support-router --client acme-web --out datasets/router"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The log, the settings, and where the datasets go."""
    add_settings_arguments(parser)
    parser.add_argument("--out", metavar="DIR", required=True, help="directory for the datasets")


def run(arguments: argparse.Namespace) -> int:
    """Curate and show the funnel. An interrupted or failed run leaves nothing in DIR."""
    import asyncio
    from pathlib import Path

    from flywheel.cli.lean_process import be_lean
    from flywheel.curation.work_beside import prepare_for

    if arguments.own_process:
        be_lean()
    config = config_from_arguments(arguments)
    if config.logs.path:
        prepare_for(Path(config.logs.path))

    from blocks.connections import open_dataset_store, open_log_store
    from blocks.endpoints.embedder import stored_embedder
    from blocks.logs.log_query import query_of
    from flywheel.cli.terminal import emit_json, progress_bars
    from flywheel.curation.output_directory import refuse_foreign
    from flywheel.curation.pipeline import curate
    from flywheel.errors import ConfigError
    from flywheel.token_counters import counter_for

    out = Path(arguments.out)
    refuse_foreign(out)  # before a log of gigabytes is read
    if config.logs.since_last_run:
        raise ConfigError(
            "logs.since_last_run needs the history of runs; give logs.since to `flywheel curate`."
        )
    with progress_bars(enabled=not arguments.json) as progress:
        log = asyncio.run(open_log_store(config))
        store = asyncio.run(open_dataset_store(config.connections))
        embedder = stored_embedder(config.icl_config.embedder, store)
        records = log.read(query_of(config), progress)
        manifest = curate(records, out, config, counter_for(), progress, store.erased(), embedder)
    if arguments.json:
        emit_json({"out": str(out), **manifest})
    else:
        _show(manifest, out)
    return 0


def _show(manifest: dict[str, Any], out: Any) -> None:
    from flywheel.cli.show import print_table
    from flywheel.cli.terminal import console, plain
    from flywheel.report.tables import funnel_rows

    screen = console()
    settings = manifest["settings"]
    title = f"Where the records of {settings['workload_id']} ({settings['client_id']}) went"
    print_table(screen, title, funnel_rows(manifest["funnel"]))
    classes = manifest["classes"]
    names = sorted({name for split in classes.values() for name in split})
    print_table(
        screen,
        "Answers by tool",
        [{"answer": name, **{split: of.get(name, 0) for split, of in classes.items()}} for name in names],
    )
    for remark in remarks(manifest["steps"]):
        screen.print(plain(remark))
    icl = manifest["steps"]["icl"]
    if icl["status"] == "not_run":
        screen.print(plain(f"No icl set: {icl['reason']}"))
    elif icl["not_run"]:
        screen.print(
            plain(f"icl: {icl['not_run']} of {icl['items']} items got no examples; see icl/not_run.jsonl.")
        )
    screen.print(plain(f"Datasets are in {out}; manifest.json there has settings, counts and checksums."))


def remarks(steps: dict[str, Any]) -> list[str]:
    """Why records were refused, and what else is odd about the log; nothing where there is nothing."""
    from flywheel.findings.log_facts import facts_of, sentences

    return sentences(facts_of(steps["extract"], steps["validate"], steps["deduplicate"]), "manifest.json")
