"""What is concluded from a run's evaluations: verdicts, comparisons, costs, regressions, and how far a judge goes.

Plain typed data, kept with the run (`flywheel.results.RunResult.analysis`) and shown by every report. `None` means
unknown, and a report shows it as missing. Times are ISO 8601 in UTC, money is in `Costs.currency`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from flywheel.findings.bounds import Bounds as Bounds
from flywheel.findings.cascades import Cascade
from flywheel.findings.contradicted import Contradicted
from flywheel.findings.drift import Drift
from flywheel.findings.trajectories import Trajectories

Outcome = Literal["surfaced", "not_surfaced", "cannot_tell"]
Arrivals = Literal["poisson", "log"]


class Difference(msgspec.Struct, frozen=True):
    """A paired mean difference over `n` items that both sides answered; `p_value` is two-sided."""

    value: float | None
    n: int
    interval: Bounds | None = None
    p_value: float | None = None
    p_adjusted: float | None = None


class Ceiling(msgspec.Struct, frozen=True):
    """How well the production model agrees with its own answers: what no candidate can be expected to exceed.

    `source`: it was asked again (`replayed`), its repeated requests in the log were compared (`teacher_noise`), or
    neither was possible (`assumed`, value 1).
    """

    metric: str
    value: float
    n: int
    source: Literal["replayed", "teacher_noise", "assumed"]
    interval: Bounds | None = None


class Verdict(msgspec.Struct, frozen=True):
    """One evaluation of one candidate against production.

    surfaced: not worse than the ceiling by more than `margin`, as sure as the interval's level says, and above the
    workload's thresholds. cannot_tell: the interval spans the margin; about `items_needed` items would decide.

    `score` is the mean that was judged, items weighted as the settings say, so it may differ from the evaluation's own
    where items stand for unequally many calls. `p_not_worse` is the one-sided p-value against "worse by the margin or
    more", with unscored items counted as wrong; `p_adjusted` is the same after Holm, over the verdicts of the run.
    """

    candidate: str
    eval_type: str
    metric: str
    outcome: Outcome
    margin: float
    difference: Difference
    reason: str
    items_needed: int | None = None
    score: float | None = None
    score_interval: Bounds | None = None
    unscored: int = 0
    p_not_worse: float | None = None
    p_adjusted: float | None = None


class Comparison(msgspec.Struct, frozen=True):
    """Two evaluations of a run on the same items: `difference` is the first's score minus the second's."""

    metric: str
    first: str  # "<candidate> <eval type>"
    second: str
    difference: Difference


class Costs(msgspec.Struct, frozen=True):
    """What one evaluation's way of answering would cost, beside production. Per request: money, tokens, milliseconds.

    `test_time_compute` is total tokens × latency in seconds, per request. `missing` names the prices that were not
    given. `monthly_savings` is a range over the interval of the traffic; `break_even_days` is when a fine-tune is paid.
    """

    candidate: str
    eval_type: str
    currency: str = "USD"
    per_request: float | None = None
    per_1k_tokens: float | None = None
    production_per_request: float | None = None
    production_per_1k_tokens: float | None = None
    test_time_compute: float | None = None
    production_test_time_compute: float | None = None
    requests_per_month: float | None = None
    monthly_savings: Bounds | None = None
    fine_tune: float | None = None
    break_even_days: Bounds | None = None
    missing: list[str] = []


class Regression(msgspec.Struct, frozen=True):
    """A score against an earlier run on the same frozen items: the last comparable one, or the best so far."""

    candidate: str
    eval_type: str
    metric: str
    against: Literal["last", "best"]
    run_id: str
    then: float
    now: float
    outcome: Literal["regressed", "improved", "no_difference_seen"]
    difference: Difference


class Holdout(msgspec.Struct, frozen=True):
    """The evaluation set that is kept from run to run: `items` of it were asked, beside `fresh_items` of new traffic.

    `uses` counts the runs that were measured on it, this one included; from `budget` on it is worn out, and the next
    run draws a new one (`renewed` says that this run did). `not_in_log` of its items were asked although the log that
    this run read does not hold them any more. `held_back` records were left out of this run: they were evaluated
    before, or are near to what is evaluated.
    """

    name: str
    items: int
    fresh_items: int = 0
    uses: int = 1
    budget: int | None = None
    renewed: bool = False
    not_in_log: int = 0
    held_back: int = 0
    since: str | None = None  # when it was first used, ISO 8601 in UTC


class JudgeHealth(msgspec.Struct, frozen=True):
    """How far one judge's scores of one metric can be trusted. Rates and correlations are over what was judged.

    `agreement` is with programmatic truth where both exist; `flip_rate` is how often swapping the order changes the
    verdict; `kappa` and `corrected` need human labels. `candidate` and `eval_type` say whose answers were judged.
    Tokens are what the judge was asked and answered in this run, `cost` their price, None where that is not known:
    verdicts that were given earlier use none.
    """

    judge: str
    metric: str
    judged: int
    parse_failures: int
    agreement: float | None = None
    agreement_n: int = 0
    flip_rate: float | None = None
    length_correlation: float | None = None
    same_family: bool = False
    kappa: float | None = None
    kappa_n: int = 0
    corrected: float | None = None
    corrected_interval: Bounds | None = None
    candidate: str = ""
    eval_type: str = ""
    flip_n: int = 0
    no_answer: int = 0  # the judge itself failed: its endpoint refused, or was away
    notes: list[str] = []
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = None


class Kpis(msgspec.Struct, frozen=True):
    """Cost per 1,000 tokens before and after, share of traffic with a workload id, seconds from data to results."""

    cost_per_1k_before: float | None = None
    cost_per_1k_after: float | None = None
    share_instrumented: float | None = None
    turn_around_seconds: float | None = None


class Analysis(msgspec.Struct, frozen=True):
    """Everything concluded. `conclusion` is the sentence a product manager reads first, "no winner" included.

    `replayed` is the predictions file of the production model, where it was asked the items again.
    """

    conclusion: str = ""
    verdicts: list[Verdict] = []
    comparisons: list[Comparison] = []
    ceilings: list[Ceiling] = []
    costs: list[Costs] = []
    regressions: list[Regression] = []
    judge_health: list[JudgeHealth] = []
    kpis: Kpis = Kpis()
    holdout: Holdout | None = None
    notes: list[str] = []
    replayed: str | None = None
    cascades: list[Cascade] = []
    trajectories: list[Trajectories] = []
    drift: Drift | None = None
    contradicted: list[Contradicted] = []


class Decision(msgspec.Struct, frozen=True):
    """What a person decided of a surfaced candidate. Recording it does nothing else.

    `checklist` maps each point of the promotion checklist to whether it was done.
    """

    candidate: str
    decision: Literal["approved", "rejected", "open"]
    by: str
    at: str
    note: str = ""
    checklist: dict[str, bool] = {}


class LoadTest(msgspec.Struct, frozen=True):
    """One load test of one candidate's endpoint. Times in milliseconds, rates per second, shares in [0, 1].

    `late` counts requests that this machine sent late; where they are more than a few, the rate was not reached.
    `passed` is None where no target was given.
    """

    candidate: str
    endpoint: str
    model: str
    at: str
    arrivals: Arrivals
    rate: float
    seconds: float
    sent: int
    answered: int
    errors: int
    late: int
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    latency_ms_p99: float | None = None
    target_p95_ms: float | None = None
    target_error_share: float | None = None
    passed: bool | None = None
    most_common_errors: dict[str, int] = {}

    @property
    def error_share(self) -> float:
        """Errors among what was sent; 0 where nothing was."""
        return self.errors / self.sent if self.sent else 0.0
