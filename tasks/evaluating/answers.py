"""One evaluation's stored answers, as far as conclusions are drawn from them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from flywheel.cost.costs import Way
from flywheel.cost.gpu_time import seconds_charged
from flywheel.cost.prices import Call
from flywheel.findings.analysis import Costs
from flywheel.findings.trajectories import Trajectories
from flywheel.results import CandidateResult, Evaluation, Prediction
from flywheel.verdicts.cascade_signals import Routable
from flywheel.verdicts.contenders import Contender, ItemFrame
from flywheel.verdicts.estimates import Scored


class Answers(msgspec.Struct, frozen=True):
    """One evaluation with everything that is needed of its answers."""

    candidate: CandidateResult
    evaluation: Evaluation
    scores: dict[str, Scored]
    primary: dict[str, float | None]  # the main score by item
    calls: list[Call]
    wrong_actions: int
    routable: Routable
    trajectories: Trajectories | None

    @property
    def way(self) -> Way:
        """What its costs are reckoned from."""
        return Way(
            candidate=self.candidate.candidate,
            eval_type=self.evaluation.eval_type,
            names=[self.candidate.candidate, self.candidate.model_name],
            calls=self.calls,
            gpu_seconds=seconds_charged(self.candidate.evaluations).get(self.evaluation.eval_type),
            customization=self.candidate.customization,
        )

    def contender(self, cost: Costs, frame: ItemFrame) -> Contender:
        """What stands for it when it is judged."""
        primary = self.evaluation.primary or ""
        nothing = Scored([None] * len(frame.ids), frame.clusters, frame.weights)
        return Contender(
            candidate=self.candidate.candidate,
            eval_type=self.evaluation.eval_type,
            primary=primary,
            scores={primary: nothing} | self.scores,
            latency_ms_p95=self.evaluation.usage.latency_ms_p95,
            cost_per_request=cost.per_request,
            wrong_actions=self.wrong_actions,
        )


def read_predictions(path: Path) -> list[Prediction]:
    """Every stored prediction, errors too, without its text: that is not needed here and may be large."""
    decoder = msgspec.json.Decoder(Prediction)
    with path.open("rb") as lines:
        return [
            prediction if prediction.response is None else msgspec.structs.replace(prediction, response={})
            for prediction in map(decoder.decode, lines)
        ]
