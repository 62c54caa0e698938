"""What records without a workload id look like, so that somebody can say which workload they belong to.

Calls of one kind share their system prompt and their tools. So records are put together by both: the beginning of the
prompt, with digits and white space evened out, and the names of the tools. A group that looks as a workload of the
same client does probably belongs to it; any other is a kind of call that nobody has named yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from flywheel.records.messages import SYSTEM_ROLES, content_text

MOST_GROUPS = 1_000  # kinds of calls without a name that are told apart; the rest counts as one
LOOKED_AT = 200  # records of each workload from which its looks are learned
OPENING = 400  # characters of a system prompt that tell it from others
SHOWN = 80
MOST_WORKLOADS = 5

Looks = tuple[str, frozenset[str]]


class UntaggedGroup(msgspec.Struct, frozen=True):
    """Records without a workload id that share the beginning of their system prompt and their tools.

    `workloads` of the same client, five at most, look the same.
    """

    records: int
    system_prompt: str
    tools: list[str]
    workloads: list[str]


class _Message(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Request(msgspec.Struct):
    messages: list[_Message] = []


class Untagged:
    """Groups records without a workload id, and learns what those with one look like."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(_Request)
        self._groups: dict[str | None, dict[Looks | None, int]] = {}
        self._known: dict[str | None, dict[Looks, dict[str, None]]] = {}

    def learn(
        self, workload_id: str, client_id: str | None, request: msgspec.Raw, tools: frozenset[str]
    ) -> None:
        """One of the first records of a workload. `tools` are the names of the tools that it offers."""
        looks = self._looks(request, tools)
        if any(looks):
            self._known.setdefault(client_id, {}).setdefault(looks, {})[workload_id] = None

    def add(self, client_id: str | None, request: msgspec.Raw, tools: frozenset[str]) -> None:
        """Count one record that names no workload."""
        groups = self._groups.setdefault(client_id, {})
        looks: Looks | None = self._looks(request, tools)
        if looks not in groups and len(groups) >= MOST_GROUPS:
            looks = None
        groups[looks] = groups.get(looks, 0) + 1

    def groups(self, client_id: str | None) -> list[UntaggedGroup]:
        """The groups of one client, largest first."""
        found = [self._group(client_id, *entry) for entry in self._groups.get(client_id, {}).items()]
        return sorted(found, key=lambda group: (-group.records, group.system_prompt, group.tools))

    def _group(self, client_id: str | None, looks: Looks | None, records: int) -> UntaggedGroup:
        if looks is None:
            return UntaggedGroup(records, "(of many kinds)", [], [])
        opening, tools = looks
        workloads = self._known.get(client_id, {}).get(looks, {})
        return UntaggedGroup(records, opening[:SHOWN], sorted(tools), sorted(workloads)[:MOST_WORKLOADS])

    def _looks(self, request: msgspec.Raw, tools: frozenset[str]) -> Looks:
        try:
            messages = self._decoder.decode(request).messages
            said = " ".join(self._leading(messages))
        except (msgspec.DecodeError, RecursionError):
            said = ""
        return " ".join(re.sub(r"\d+", "0", said[:OPENING]).split()), tools

    def _leading(self, messages: list[_Message]) -> Iterator[str]:
        for message in messages:
            if message.role not in SYSTEM_ROLES:
                return
            yield content_text(msgspec.json.decode(message.content))
