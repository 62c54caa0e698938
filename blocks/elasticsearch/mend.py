"""Copies an index that is not fit to be read into one with the right mapping.

    python -m blocks.elasticsearch.mend SOURCE DESTINATION

The server does the copying; the source stays as it is. Where Elasticsearch is says the environment, as for
`flywheel workloads --from elasticsearch`. Copying again adds nothing: documents keep their ids.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from blocks.elasticsearch.connection import connect
from blocks.elasticsearch.failures import reason_of, translated
from blocks.elasticsearch.mapping import check_mapping
from blocks.elasticsearch.settings import ElasticsearchSettings, settings_from_environment
from blocks.elasticsearch.template import MAPPINGS
from flywheel.errors import DataError, FlywheelError

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

LONGEST = 3_600.0  # seconds of copying; the server goes on after that, and one may look again later


def mend(settings: ElasticsearchSettings, source: str, destination: str) -> int:
    """Copy all documents of `source`, and say how many there are.

    Raises: DataError when documents or the destination do not fit, or the two are the same; RemoteError.
    """
    if source == destination:
        raise DataError("An index cannot be copied into itself; name another destination.")
    once = replace(settings, index=source, attempts=1)  # trying again would copy side by side
    with translated(once), connect(once) as client:
        if client.indices.exists(index=destination):
            _require_fit(client, replace(once, index=destination))
        else:
            client.indices.create(index=destination, mappings=MAPPINGS)
        result = (
            client.options(request_timeout=LONGEST)
            .reindex(source={"index": source}, dest={"index": destination}, refresh=True)
            .body
        )
    if failures := result.get("failures"):
        raise DataError(
            f"{len(failures)} documents of {source} do not fit into {destination}, the first because of "
            f"{reason_of(failures[0].get('cause', {}))}. Others were copied."
        )
    return int(result["total"])


def _require_fit(client: Elasticsearch, settings: ElasticsearchSettings) -> None:
    try:
        check_mapping(client, settings)
    except DataError as error:
        raise DataError(
            f"The destination {settings.index} is there, and its mapping is not right either; name one that is not "
            "there yet. Nothing was copied."
        ) from error


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m blocks.elasticsearch.mend", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("source", help="index whose mapping is not right")
    parser.add_argument("destination", help="index to copy it into; it is made when it is missing")
    given = parser.parse_args(arguments)
    try:
        total = mend(settings_from_environment(environment), given.source, given.destination)
    except FlywheelError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{total:,} documents of {given.source} are in {given.destination}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], os.environ))
