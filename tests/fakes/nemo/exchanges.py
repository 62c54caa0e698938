"""What went over the wire, and what is to go wrong there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Exchange(NamedTuple):
    """One request with its answer. `broken` answers were made wrong on purpose."""

    service: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    request: bytes
    status: int
    reply: bytes
    broken: bool


@dataclass
class Fault:
    """What happens to the next `times` requests whose "METHOD path" matches `route` from its beginning.

    "lose" does the work and drops the connection; "after" does the work and answers with `status` and `body` all the
    same; "instead" answers so without doing anything; "slow" does the work after a while; "hang" never answers.
    """

    route: str
    kind: Literal["lose", "after", "instead", "slow", "hang"]
    status: int = 502
    body: str = '{"detail": "upstream gone"}'
    times: int = 1
    content_type: str = "application/json"
    seconds: float = 0.2

    def takes(self, method: str, path: str) -> bool:
        """Whether this request is hit; counts it."""
        if self.times > 0 and re.match(self.route, f"{method} {path}"):
            self.times -= 1
            return True
        return False


HTML = "<html><body><h1>502 Bad Gateway</h1>nginx</body></html>"


def html_burst(route: str, times: int = 3, status: int = 502) -> Fault:
    """What a proxy says while the service behind it restarts."""
    return Fault(route, "instead", status, HTML, times, "text/html")
