"""Counting what a log holds, workload by workload, without decoding more of the payloads than the tools' names."""

from __future__ import annotations

from typing import Any

import msgspec

from blocks.ports import WorkloadSummary
from flywheel.errors import DataError
from flywheel.records.log_line import WireLine
from flywheel.records.timestamps import to_iso, to_seconds
from flywheel.records.untagged import LOOKED_AT, Untagged


class _Tools(msgspec.Struct):
    tools: msgspec.Raw = msgspec.Raw(b"null")
    functions: msgspec.Raw = msgspec.Raw(b"null")


class _Average(msgspec.Struct):
    number: int = 0
    total: float = 0.0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.number += 1
            self.total += value

    def mean(self) -> float | None:
        return self.total / self.number if self.number else None


class _Workload(msgspec.Struct):
    records: int = 0
    tools: set[str] = msgspec.field(default_factory=set)
    first: float | None = None
    last: float | None = None
    latency_ms: _Average = msgspec.field(default_factory=_Average)
    tokens_in: _Average = msgspec.field(default_factory=_Average)
    tokens_out: _Average = msgspec.field(default_factory=_Average)


class Census:
    """What was seen so far of each workload and client."""

    def __init__(self) -> None:
        self._workloads: dict[tuple[str | None, str | None], _Workload] = {}
        self._decoder = msgspec.json.Decoder(_Tools)
        self._names: dict[bytes, frozenset[str]] = {}
        self._untagged = Untagged()

    def add(self, wire: WireLine) -> None:
        """Count one record; a time or a payload that cannot be read does not keep it from being counted."""
        key = wire.workload_id, wire.client_id
        workload = self._workloads.setdefault(key, _Workload())
        workload.records += 1
        tools = self._tools_of(wire.request)
        workload.tools |= tools
        if wire.workload_id is None:
            self._untagged.add(wire.client_id, wire.request, tools)
        elif workload.records <= LOOKED_AT:
            self._untagged.learn(wire.workload_id, wire.client_id, wire.request, tools)
        workload.latency_ms.add(wire.latency_ms)
        workload.tokens_in.add(wire.tokens_in)
        workload.tokens_out.add(wire.tokens_out)
        try:
            moment = to_seconds(wire.timestamp)
        except DataError:
            return
        workload.first = moment if workload.first is None else min(moment, workload.first)
        workload.last = moment if workload.last is None else max(moment, workload.last)

    def summaries(self) -> list[WorkloadSummary]:
        """Largest first, then by name."""
        nameless: dict[str | None, int] = {}
        records: dict[str | None, int] = {}
        for (workload_id, client_id), workload in self._workloads.items():
            records[client_id] = records.get(client_id, 0) + workload.records
            if workload_id is None:
                nameless[client_id] = workload.records
        found = [
            WorkloadSummary(
                workload_id,
                client_id,
                workload.records,
                sorted(workload.tools),
                None if workload.first is None else to_iso(workload.first),
                None if workload.last is None else to_iso(workload.last),
                nameless.get(client_id, 0) / records[client_id],
                average_latency_ms=workload.latency_ms.mean(),
                average_tokens_in=workload.tokens_in.mean(),
                average_tokens_out=workload.tokens_out.mean(),
                groups=self._untagged.groups(client_id) if workload_id is None else [],
            )
            for (workload_id, client_id), workload in self._workloads.items()
        ]
        return sorted(found, key=lambda s: (-s.records, s.workload_id or "", s.client_id or ""))

    def _tools_of(self, request: msgspec.Raw) -> frozenset[str]:
        try:
            offered = self._decoder.decode(request)
        except (msgspec.DecodeError, RecursionError):
            return frozenset()
        return self._named(bytes(offered.tools)) | self._named(bytes(offered.functions))

    def _named(self, raw: bytes) -> frozenset[str]:
        names = self._names.get(raw)
        if names is None:
            if len(self._names) >= 2_048:  # tool lists that change with every call must not fill the memory
                self._names.clear()
            names = self._names[raw] = frozenset(_names(msgspec.json.decode(raw)))
        return names


def _names(tools: Any) -> list[str]:
    """The function names of a `tools` list, or of the older `functions`."""
    functions = (
        [t.get("function", t) for t in tools if isinstance(t, dict)] if isinstance(tools, list) else []
    )
    return [f["name"] for f in functions if isinstance(f, dict) and isinstance(f.get("name"), str)]
