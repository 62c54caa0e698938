"""Threads and processes use one store at once, and nothing that they write is lost."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from blocks.ports import RunStore
from flywheel.results import CandidateResult
from tests.contracts.run_store.cases import entry, run

ROOT = Path(__file__).resolve().parents[3]


class IsShared:
    def test_threads_may_share_a_store(self, store: RunStore) -> None:
        def work(number: int) -> None:
            store.record_resource(entry(f"fw-{number}"))
            store.save_run(run(f"run-{number}"))
            assert store.load_run(f"run-{number}").run_id == f"run-{number}"
            store.strike_resource("deployment", f"fw-{number}")

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(24)))
        assert len(store.list_runs()) == 24
        assert store.allocated() == []

    def test_no_update_is_lost_among_threads(self, store: RunStore) -> None:
        store.save_run(run(candidates=[]))

        def add(number: int) -> None:
            result = CandidateResult(candidate=f"c{number}", model_name="small", status="completed")
            store.update_run(
                "run-1",
                lambda found: msgspec.structs.replace(found, candidates=[*found.candidates, result]),
            )

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(add, range(12)))
        names = {result.candidate for result in store.load_run("run-1").candidates}
        assert names == {f"c{number}" for number in range(12)}

    def test_two_processes_may_write_at_once_from_the_first_moment_on(
        self, store: RunStore, opening: str
    ) -> None:
        code = (
            f"{opening}\n"
            "import sys, msgspec\n"
            "from flywheel.results import CandidateResult\n"
            "from tests.contracts.run_store.cases import entry, run\n"
            "who = sys.argv[1]\n"
            "for number in range(10):\n"
            "    store.save_run(run(f'run-{who}-{number}'))\n"
            "    store.save_run(run('shared', message=who))\n"
            "    store.record_resource(entry('shared'))\n"
            "    store.record_resource(entry(f'fw-{who}-{number}'))\n"
            "    if store.find_run('counted') is None: store.save_run(run('counted', candidates=[]))\n"
            "    assert len(store.load_run('shared').candidates) == 2\n"
            "print('begun', flush=True); sys.stdin.readline()\n"
            "for number in range(10):\n"
            "    one = CandidateResult(f'{who}-{number}', 'small', 'completed')\n"
            "    store.update_run('counted', lambda found: msgspec.structs.replace(\n"
            "        found, candidates=[*found.candidates, one]))\n"
            "store.close()\n"
        )
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", code, name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=ROOT,
                text=True,
            )
            for name in ("a", "b")
        ]
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()  # both are through with the first part
        for worker in workers:
            _, errors = worker.communicate("go\n", timeout=300)
            assert worker.returncode == 0, errors
        assert len(store.list_runs(limit=1000)) == 22
        assert len(store.allocated()) == 21
        assert len(store.load_run("shared").candidates) == 2
        names = {result.candidate for result in store.load_run("counted").candidates}
        assert names == {f"{who}-{number}" for who in "ab" for number in range(10)}
