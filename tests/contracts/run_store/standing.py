"""Which earlier run one may be compared with, and the best score so far."""

from __future__ import annotations

import msgspec

from blocks.ports import RunStore
from tests.contracts.run_store.cases import scored


class KnowsHowRunsStand:
    def test_the_last_comparable_run_asked_the_same_items_and_scored(self, store: RunStore) -> None:
        for saved in (
            scored("oldest", 1, 0.5),
            scored("last", 2, 0.5),
            scored("other-items", 3, 0.5, eval_set="set-b"),
            scored("failed", 4, None, status="failed"),
            scored("unfinished", 5, 0.5, status="running"),
            scored("other-workload", 6, 0.5, workload_id="order-faq"),
            scored("other-client", 6, 0.5, client_id="acme-app"),
            scored("this", 7, 0.5),
            scored("later", 8, 0.5),
        ):
            store.save_run(saved)
        found = store.comparable_run(scored("this", 7, 0.5))
        assert found == scored("last", 2, 0.5)
        assert store.comparable_run(scored("oldest", 1, 0.5)) is None
        assert store.comparable_run(scored("not saved yet", 9, 0.5)) == scored("later", 8, 0.5)

    def test_a_run_that_does_not_know_its_items_is_comparable_to_none(self, store: RunStore) -> None:
        store.save_run(scored("old", 1, 0.5, eval_set=""))
        assert store.comparable_run(scored("new", 2, 0.5, eval_set="")) is None

    def test_the_best_score_so_far_comes_with_all_that_is_known_of_it(self, store: RunStore) -> None:
        for saved in (
            scored("first", 1, 0.75),
            scored("tie", 2, 0.75),
            scored("unscored", 3, None),
            scored("other-workload", 4, 1.0, workload_id="order-faq"),
            scored("other-items", 5, 0.875, eval_set="set-b"),
        ):
            store.save_run(saved)
        best = store.best_score("support-router", "acme-web", "exact_match", "set-a")
        assert best is not None
        assert (best.run_id, best.candidate) == ("first", "small")
        assert best.evaluation == scored("first", 1, 0.75).candidates[0].evaluations[0]
        anywhere = store.best_score("support-router", "acme-web", "exact_match")
        assert anywhere is not None
        assert anywhere.run_id == "other-items"
        assert store.best_score("support-router", "acme-web", "rouge_l") is None
        assert store.best_score("support-router", "nobody", "exact_match") is None

    def test_scores_of_an_evaluation_that_broke_off_and_of_a_replaced_run_are_not_the_best(
        self, store: RunStore
    ) -> None:
        store.save_run(scored("revised", 1, 1.0))
        store.save_run(scored("revised", 1, 0.25))
        store.save_run(scored("zero", 2, 0.0))
        broken = scored("broken", 3, 0.875)
        half = msgspec.structs.replace(broken.candidates[0].evaluations[0], error="stopped half-way")
        store.save_run(
            msgspec.structs.replace(
                broken, candidates=[msgspec.structs.replace(broken.candidates[0], evaluations=[half])]
            )
        )
        best = store.best_score("support-router", "acme-web", "exact_match")
        assert best is not None
        assert best.run_id == "revised"
