"""Logs an application's chat completions in the background, in the shape that Flywheel reads.

    from flywheel_exporter import JsonlFile, LoggedClient
    client = OpenAI(http_client=LoggedClient(JsonlFile("calls.jsonl"), workload_id="router", client_id="acme-web"))

It adds no request, changes none, and never raises into the application: what cannot be logged is counted
(`Exporter.counts`) and said once a minute at most by the logger `flywheel_exporter`.
"""

from __future__ import annotations

from flywheel_exporter.clients import AsyncLoggedClient, LoggedClient
from flywheel_exporter.counts import Counts
from flywheel_exporter.elasticsearch import Elasticsearch
from flywheel_exporter.exporter import Exporter
from flywheel_exporter.jsonl import JsonlFile
from flywheel_exporter.labels import labels
from flywheel_exporter.sinks import Line, Outcome, Sink
from flywheel_exporter.transports import AsyncLoggingTransport, LoggingTransport

__all__ = [
    "AsyncLoggedClient",
    "AsyncLoggingTransport",
    "Counts",
    "Elasticsearch",
    "Exporter",
    "JsonlFile",
    "Line",
    "LoggedClient",
    "LoggingTransport",
    "Outcome",
    "Sink",
    "labels",
]
