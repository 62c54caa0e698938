"""A run comes back as it was saved, and a save is whole or nothing."""

from __future__ import annotations

import math
import re

import msgspec
import pytest

from blocks.ports import RunStore
from flywheel.errors import DataError
from flywheel.findings.analysis import Analysis, Bounds, Costs, Difference, Holdout, Verdict
from flywheel.results import CandidateResult, Customization
from tests.contracts.run_store.cases import entry, evaluation, judged, run


class SavesRuns:
    def test_a_run_comes_back_as_it_was_saved(self, store: RunStore) -> None:
        store.save_run(run())
        assert store.load_run("run-1") == run()

    def test_saving_a_run_again_replaces_it_and_all_below_it(self, store: RunStore) -> None:
        store.save_run(run())
        store.save_run(run())
        assert store.list_runs() == [run()]
        later = run(status="completed", finished_at="2025-09-01T11:00:00Z", candidates=run().candidates[:1])
        store.save_run(later)
        assert store.list_runs() == [later]

    def test_what_was_concluded_and_what_is_left_for_later_runs_come_back(self, store: RunStore) -> None:
        difference = Difference(-0.01, 200, Bounds(-0.03, 0.002), p_value=0.3)
        verdict = Verdict(
            "small", "base-eval", "exact_match", "surfaced", 0.05, difference, "Grüße \ud83d", score=0.99
        )
        analysis = Analysis(
            conclusion="small can be considered",
            verdicts=[verdict],
            costs=[Costs("small", "base-eval", missing=["price of small"])],
            holdout=Holdout("set-a", items=20, uses=3, budget=25),
            notes=["a note"],
        )
        kept = run(analysis=analysis, memory="memory-0123456789abcdef")
        store.save_run(kept)
        assert store.load_run("run-1") == kept

    def test_candidates_and_evaluations_keep_their_order(self, store: RunStore) -> None:
        backwards = [msgspec.structs.replace(run().candidates[0], candidate=name) for name in ("z", "a", "m")]
        store.save_run(run(candidates=backwards))
        assert [found.candidate for found in store.load_run("run-1").candidates] == ["z", "a", "m"]

    def test_one_model_may_be_two_candidates(self, store: RunStore) -> None:
        # A candidate's id is not its model's name: A and B of one model must not overwrite each other.
        twins = [
            msgspec.structs.replace(run().candidates[0], candidate=name) for name in ("small-a", "small-b")
        ]
        store.save_run(run(candidates=twins))
        assert store.load_run("run-1").candidates == twins

    def test_two_runs_of_the_same_second_are_two_runs(self, store: RunStore) -> None:
        store.save_run(run("run-1"))
        store.save_run(run("run-2"))
        assert {found.run_id for found in store.list_runs()} == {"run-1", "run-2"}

    @pytest.mark.parametrize("text", ["half a pair \ud83d", "nul \x00", "x" * 100_000, "$where.a.b", ""])
    def test_any_text_may_stand_anywhere(self, store: RunStore, text: str) -> None:
        # Error texts repeat what models and servers wrote; names come from users.
        tuned = Customization(job=text, error=text, adapter=text)
        result = CandidateResult(
            candidate=text, model_name=text, status="failed", error=text, customization=tuned
        )
        result = msgspec.structs.replace(
            result, evaluations=[evaluation(model=text, error=text, overrides={f"{text}.$k": text})]
        )
        whole = run(
            client_id=text, error=text, production_model=text, candidates=[result], config={text: [text]}
        )
        store.save_run(whole)
        assert store.list_runs(client_id=text) == [whole]
        noted = entry(name=text.replace("\ud83d", "?"), details={text: text})  # names are made by us
        store.record_resource(noted)
        assert store.allocated() == [noted]
        store.strike_resource("deployment", noted.name)
        assert store.allocated() == []

    def test_integers_and_floats_keep_what_they_are(self, store: RunStore) -> None:
        numbers = {"big": 2**80, "negative": -(2**63), "one": 1.0, "small": 5e-324, "infinite": math.inf}
        store.save_run(run(config=numbers))
        found = store.load_run("run-1").config
        assert found == numbers
        assert [type(value) for value in found.values()] == [int, int, float, float, float]

    def test_a_write_that_fails_leaves_what_was_there(self, store: RunStore) -> None:
        store.save_run(run())
        twice = run(status="completed", candidates=[run().candidates[0], run().candidates[0]])
        with pytest.raises(DataError):
            store.save_run(twice)
        assert store.list_runs() == [run()]
        store.save_run(run(status="completed"))
        assert store.list_runs() == [run(status="completed")]

    def test_what_is_handed_in_is_not_changed(self, store: RunStore) -> None:
        given, noted, said = run(), entry(), judged()
        store.save_run(given)
        store.record_resource(noted)
        store.save_judge_run(said)
        store.update_run("run-1", lambda found: msgspec.structs.replace(found, message="other"))
        assert (given, noted, said) == (run(), entry(), judged())

    def test_an_update_is_made_from_what_is_stored(self, store: RunStore) -> None:
        store.save_run(run())
        made = store.update_run(
            "run-1", lambda found: msgspec.structs.replace(found, message=found.message + "!")
        )
        assert made.message == "1 of 2 candidates scored!"
        assert store.load_run("run-1") == made

    def test_an_update_of_nothing_is_an_error_and_one_that_fails_changes_nothing(
        self, store: RunStore
    ) -> None:
        with pytest.raises(DataError, match="no run"):
            store.update_run("run-1", lambda found: found)
        store.save_run(run())
        with pytest.raises(ZeroDivisionError):
            store.update_run("run-1", lambda found: msgspec.structs.replace(found, message=str(1 / 0)))
        assert store.list_runs() == [run()]

    def test_judge_runs_are_kept_beside_their_run_and_outlive_its_saving(self, store: RunStore) -> None:
        store.save_judge_run(judged("judged-2", created_at="2025-09-02T12:00:00Z", error="half \ud83d"))
        store.save_judge_run(judged("judged-1", judge="another"))
        store.save_judge_run(judged("judged-1"))
        store.save_judge_run(judged("of another run", run_id="run-2"))
        store.save_run(run())
        store.save_run(run())
        assert store.judge_runs("run-1") == [
            judged("judged-1"),
            judged("judged-2", created_at="2025-09-02T12:00:00Z", error="half \ud83d"),
        ]
        assert store.judge_runs("run") == []

    def test_a_history_has_an_id_that_stays(self, store: RunStore) -> None:
        identity = store.identity()
        assert re.fullmatch("[0-9a-f]{16}", identity)
        store.save_run(run())
        store.close()
        assert store.identity() == identity
