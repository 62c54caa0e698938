"""The page from a run and its evidence. Text from logs and models passes the template's escaping and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from flywheel.report import analysis_tables
from flywheel.report.cascade_tables import (
    CASCADES_REMARK,
    CASCADES_TITLE,
    TRAJECTORIES_REMARK,
    TRAJECTORIES_TITLE,
    cascade_rows,
    trajectory_rows,
)
from flywheel.report.commands import command
from flywheel.report.contradicted import CONTRADICTED_TITLE, contradicted_remark, contradicted_rows
from flywheel.report.drift import DRIFT_TITLE, drift_remark, drift_rows
from flywheel.report.escaping import visible
from flywheel.report.evidence import Evidence
from flywheel.report.html.cascade_chart import cascade_pictures
from flywheel.report.html.divergent_items import listed_items
from flywheel.report.html.pictures import latency_picture, pareto_pictures, score_picture, training_pictures
from flywheel.report.html.svg import STYLE
from flywheel.report.next_steps import conclusion, next_steps
from flywheel.report.pareto import measured_ceiling
from flywheel.report.refusals import REFUSALS_TITLE, log_remarks, refusal_rows
from flywheel.report.tables import (
    Row,
    all_scores_rows,
    funnel_rows,
    primary_metric_of,
    results_rows,
    traffic_remark,
)
from flywheel.report.usage import USAGE_TITLE, usage_rows
from flywheel.results import RunResult

SECTIONS = (
    ("verdicts", "Verdicts"),
    ("scores", "Scores"),
    ("pareto", "Quality against cost"),
    ("cascade", "Part of the traffic"),
    ("costs", "Costs"),
    ("regressions", "Earlier runs"),
    ("divergent", "Divergent answers"),
    ("training", "Training"),
    ("latency", "Latency"),
    ("funnel", "Funnel"),
    ("judges", "Judges"),
    ("decision", "Decision"),
    ("again", "Recompute"),
)
STATES = frozenset(
    {"surfaced", "not surfaced", "cannot tell", "done", "open", "approved", "rejected", "met", "missed"}
    | {"improved", "regressed"}
)
"""Cells that get a colour."""


def report_html(run: RunResult, evidence: Evidence) -> bytes:
    """The whole report as one UTF-8 document that loads nothing and runs no script but its own filter."""
    from flywheel.report.html.charts import funnel_bars

    style, script = _asset("style.css") + STYLE, _asset("filter.js")
    items, left_out = listed_items(evidence)
    context: dict[str, Any] = {
        "run": run,
        "evidence": evidence,
        "policy": content_security_policy(style, script),
        "style": Markup(style),
        "script": Markup(script),
        "sections": SECTIONS,
        "conclusion": conclusion(run),
        "next_steps": next_steps(run),
        "metric": primary_metric_of(run),
        "level": f"{100 * _level(run):g}",
        "notes": run.analysis.notes if run.analysis else [],
        "verdicts": analysis_tables.verdict_rows(run),
        "comparisons": analysis_tables.comparison_rows(run),
        "ceilings": analysis_tables.ceiling_rows(run),
        "ceiling_known": measured_ceiling(run) is not None,
        "costs": analysis_tables.cost_rows(run),
        "kpis": analysis_tables.kpi_rows(run),
        "regressions": analysis_tables.regression_rows(run),
        "holdout": analysis_tables.holdout_rows(run),
        "judges": analysis_tables.judge_health_rows(run),
        "candidate_states": analysis_tables.candidate_state_rows(run),
        "checklist": analysis_tables.checklist_rows(run),
        "decisions": analysis_tables.decision_rows(run),
        "load_tests": analysis_tables.load_test_rows(run),
        "results": results_rows(run),
        "all_scores": all_scores_rows(run),
        "traffic": traffic_remark(run),
        "bars": score_picture(run),
        "paretos": pareto_pictures(run, evidence),
        "trainings": training_pictures(run),
        "cascades_title": CASCADES_TITLE,
        "cascades_remark": CASCADES_REMARK,
        "cascades": cascade_rows(run),
        "cascade_pictures": cascade_pictures(run),
        "trajectories_title": TRAJECTORIES_TITLE,
        "trajectories_remark": TRAJECTORIES_REMARK,
        "trajectories": trajectory_rows(run),
        "latency": latency_picture(evidence),
        "usage_title": USAGE_TITLE,
        "usage": usage_rows(run),
        "funnel": funnel_bars([(row["step"], row["records"]) for row in funnel_rows(run.funnel)])
        if run.funnel
        else None,
        "contradicted_title": CONTRADICTED_TITLE,
        "contradicted": contradicted_rows(run),
        "contradicted_remark": contradicted_remark(run),
        "drift_title": DRIFT_TITLE,
        "drift": drift_rows(run),
        "drift_remark": drift_remark(run),
        "refusals_title": REFUSALS_TITLE,
        "refusals": refusal_rows(run),
        "log_remarks": log_remarks(run),
        "items": items,
        "left_out": left_out,
        "choices": _choices(items),
        "divergent_counts": [
            {"candidate": a.candidate, "eval_type": a.eval_type, "count": len(a.divergent)}
            for a in evidence.answers
            if a.divergent
        ],
        "certificate": evidence.certificate,
        "certificate_text": json.dumps(evidence.certificate, indent=2, ensure_ascii=False),
        "settings_text": json.dumps(run.config, indent=2, ensure_ascii=False),
        "all_again": command(f"score --run {run.run_id}", run.config.get("connections")),
        "commands": score_commands(evidence),
    }
    page = _environment().get_template("page.html.j2").render(context)
    return page.encode("utf-8", "backslashreplace")  # half a surrogate pair from a log has no UTF-8


def content_security_policy(style: str, script: str) -> str:
    """Nothing may be loaded or run but exactly this style sheet and this script."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; base-uri 'none'; "
        "form-action 'none'"
    )


def score_commands(evidence: Evidence) -> list[str]:
    """The command that gives each evaluation's scores again."""
    return [
        f"flywheel score --items {shlex.quote(a.items_file)} --predictions {shlex.quote(a.predictions_file)}"
        f"  # {a.candidate} {a.eval_type}".replace("\n", " ")
        for a in evidence.answers
    ]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    environment.globals["columns"] = _columns
    environment.tests["state"] = lambda value: value in STATES
    return environment


def _shown(value: Any) -> Any:
    """Control characters and bidirectional overrides as letters, in everything that is text."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _columns(rows: Sequence[Row]) -> list[str]:
    return [name for name in rows[0] if any(row[name] != "" for row in rows)]


def _choices(items: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    fields = {"candidate": "candidate", "evaluation": "eval_type", "kind": "kind"}
    return {name: list(dict.fromkeys(item[field] for item in items)) for name, field in fields.items()}


def _level(run: RunResult) -> float:
    scores = [s for c in run.candidates for e in c.evaluations for s in e.scores.values() if s.interval]
    return scores[0].interval.level if scores and scores[0].interval else 0.95


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return resources.files("flywheel.report.html").joinpath(name).read_text(encoding="utf-8")
