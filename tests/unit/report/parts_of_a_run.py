"""What a run concludes beside its verdicts, with hostile text in every place where text from outside comes."""

from __future__ import annotations

from flywheel.findings.bounds import Bounds
from flywheel.findings.cascades import Cascade, CascadePoint
from flywheel.findings.trajectories import ShareOf, Trajectories

HOSTILE = (
    "</script></style></title></svg></textarea><script>document.title='owned'</script>"
    "<img src=x onerror=\"document.title='owned'\"><svg onload=alert(1)>{{ 7*7 }}{% raw %} "
    "' onmouseover=alert(1) \" [x](javascript:alert(1)) \x1b[31m \u202etxt.exe \ud800 ]]> -->"
)
METRIC = "function_name_and_args_accuracy"


def cascades() -> list[Cascade]:
    """Of the fine-tuned model: a useful cut by its answers, none by their lengths."""
    points = [
        CascadePoint(k / 10, 1.0 - k * k / 1000, Bounds(0.85 - k * k / 1000, 1.0), 0.002 - k * 0.0001)
        for k in range(1, 11)
    ]
    flat = [CascadePoint(k / 10, 0.9, Bounds(0.9 - 0.2 / k, 0.99)) for k in range(1, 11)]
    return [
        Cascade(
            "small",
            "customized-eval",
            METRIC,
            "answer class",
            "useful",
            HOSTILE,
            0.9,
            40,
            2,
            points,
            CascadePoint(0.465, 0.985, Bounds(0.912, 0.998), 0.0011),
            Bounds(0.38, 0.55),
            f"{HOSTILE}, track",
        ),
        Cascade(
            "small",
            "customized-eval",
            METRIC,
            "request length",
            "too_few",
            "only 40",
            0.9,
            40,
            2,
            flat,
            items_needed=90,
        ),
    ]


def trajectories() -> list[Trajectories]:
    return [
        Trajectories(
            candidate="small",
            eval_type="customized-eval",
            metric=METRIC,
            conversations=12,
            steps=42,
            all_agree=ShareOf(0.582, 11, 1, Bounds(0.32, 0.81)),
            agreeing=ShareOf(0.733, 11, 1, Bounds(0.5, 0.9)),
            agreeing_steps=2.4,
            first_divergence=[3, 0, 2],
            calls_in_order=ShareOf(0.6, 10, 1, Bounds(0.31, 0.83)),
            calls_any_order=ShareOf(0.7, 10, 1, Bounds(0.4, 0.9)),
        )
    ]
