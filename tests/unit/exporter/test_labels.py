"""Labels of calls."""

from __future__ import annotations

import asyncio

from flywheel_exporter.labels import current_labels, labels


def test_an_inner_block_adds_and_wins_and_is_forgotten_after_it() -> None:
    with labels(workload_id="w", client_id="c"):
        with labels(workload_id="inner", conversation_id="7"):
            assert current_labels() == {"workload_id": "inner", "client_id": "c", "conversation_id": "7"}
        assert current_labels() == {"workload_id": "w", "client_id": "c"}
    assert current_labels() == {}


def test_nothing_and_the_empty_text_label_nothing() -> None:
    with labels(workload_id="w"), labels(workload_id=None, description=""):
        assert current_labels() == {"workload_id": "w"}


async def test_tasks_do_not_see_each_others_labels() -> None:
    async def work(name: str) -> str:
        with labels(workload_id=name):
            await asyncio.sleep(0.001)
            return current_labels()["workload_id"]

    names = [f"w{i}" for i in range(50)]
    assert await asyncio.gather(*map(work, names)) == names


def test_they_decorate_a_function() -> None:
    @labels(workload_id="w")
    def inside() -> dict[str, str]:
        return dict(current_labels())

    assert inside() == {"workload_id": "w"} == inside()
