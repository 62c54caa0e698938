"""How often, and how patiently, tasks are tried again. `docs/resilience.md` has all of it in one table.

Requests are tried again first, within seconds, by the clients in `blocks`; what is here is for a service that stays
away longer, a minute and more.
"""

from __future__ import annotations

PLATFORM_SECONDS: list[float] = [2, 8, 30, 60]
"""Before each further try of a call to a platform: one that answers 502 for a minute is outlasted."""
