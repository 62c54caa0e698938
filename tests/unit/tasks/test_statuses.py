"""What a candidate's evaluations make of it, and what candidates make of their run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flywheel.results import CandidateResult, CandidateStatus, Evaluation
from tasks.runs import candidate_status, run_status

ERRORS = st.lists(st.sampled_from([None, "no GPU", "no answer"]), min_size=1, max_size=3)


@given(ERRORS)
def test_a_candidate_is_as_complete_as_its_evaluations(errors: list[str | None]) -> None:
    """A model all of whose evaluations failed was once called completed, as its own error field was empty."""
    evaluations = [Evaluation(eval_type="base-eval", model="x", error=error) for error in errors]
    status, first = candidate_status(evaluations)
    assert (status == "completed") == (errors.count(None) == len(errors))
    assert (status == "failed") == (errors.count(None) == 0)
    assert first == next((error for error in errors if error), None)


@given(st.lists(st.sampled_from(["completed", "partial", "failed"]), min_size=1, max_size=4))
def test_a_run_is_as_complete_as_its_candidates(states: list[CandidateStatus]) -> None:
    results = [CandidateResult(candidate=str(i), model_name="x", status=s) for i, s in enumerate(states)]
    status = run_status(results)
    assert (status == "completed") == (set(states) == {"completed"})
    assert (status == "failed") == (set(states) == {"failed"})
    assert status in ("completed", "partial", "failed")
