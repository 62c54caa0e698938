"""What listens, listens to this machine alone."""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import web

from blocks.local_platform.serving.server import listening

ROOT = Path(__file__).parents[4]
LOOPBACK = "0100007F"  # 127.0.0.1 as the kernel writes it


def addresses_of(port: int) -> set[str]:
    """The addresses at which this machine listens on a port, IPv4 and IPv6, as the kernel has them."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, hexadecimal = local.partition(":")
            if state == "0A" and int(hexadecimal, 16) == port:
                found.add(address)
    return found


async def test_a_served_model_listens_on_loopback_alone() -> None:
    runner = await listening(web.Application())
    try:
        assert addresses_of(runner.addresses[0][1]) == {LOOPBACK}
    finally:
        await runner.cleanup()


def test_no_source_of_ours_listens_anywhere_else() -> None:
    calls = re.compile(r"""TCPSite\([^)]*\)|\.bind\(\([^)]*\)|"--host",\s*[^,\]]+|create_server\([^)]*\)""")
    found = []
    for folder in ("blocks", "flywheel", "tasks", "flows", "deployments"):
        for path in (ROOT / folder).rglob("*.py"):
            found += [(str(path), match) for match in calls.findall(path.read_text())]
    assert len(found) >= 3
    assert [(path, call) for path, call in found if '"127.0.0.1"' not in call] == []


def test_the_servers_of_the_compose_file_are_published_on_loopback_alone() -> None:
    ports = re.findall(r'ports: \["([^"]+)"', (ROOT / "deployments" / "compose.yaml").read_text())
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
