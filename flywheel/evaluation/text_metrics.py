"""How close a plain answer is to the reference: exact match, ROUGE-L, BLEU and chrF, all in [0, 1].

A text always scores 1 against itself, in any script. Both texts are compared with white space normalised.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

TEXT_METRICS = ("exact_match", "rouge_l", "bleu", "chrf")

# Scripts without spaces between words (Thai and Lao, kana, Han): there each character is a token of its own.
_SPACELESS = r"\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_SPACELESS}]|[^\W_{_SPACELESS}]+")
_LONGEST = 20_000


def text_scores(reference: str, candidate: str) -> dict[str, float]:
    """All text metrics of one answer. Beyond 20,000 characters only the beginning counts for all but exact match."""
    reference, candidate = normalised(reference), normalised(candidate)
    if reference == candidate:
        return dict.fromkeys(TEXT_METRICS, 1.0)
    left, right = reference[:_LONGEST], candidate[:_LONGEST]
    return {
        "exact_match": 0.0,
        "rouge_l": rouge_l(left, right),
        "bleu": _bounded(_bleu().sentence_score(right, [left]).score) if left and right else 0.0,
        "chrf": _bounded(_chrf().sentence_score(right, [left]).score) if left and right else 0.0,
    }


def normalised(text: str) -> str:
    """`text` with every run of white space as one space, and none at the ends."""
    return " ".join(text.split())


def rouge_l(reference: str, candidate: str) -> float:
    """F-measure of the longest common subsequence of words, upper and lower case alike.

    Source: Lin 2004, "ROUGE: a package for automatic evaluation of summaries", sentence level, beta 1. On English it
    equals the `rouge-score` package without stemming, which sees only a-z and 0-9; here other scripts count too.
    """
    from rapidfuzz.distance import LCSseq

    left, right = _TOKEN.findall(reference.lower()), _TOKEN.findall(candidate.lower())
    if not left or not right:
        return float(reference == candidate)
    return 2.0 * LCSseq.similarity(left, right) / (len(left) + len(right))


@cache
def _bleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)  # answers shorter than four words have no 4-grams to be judged by


@cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def _bounded(percent: float) -> float:
    return min(1.0, max(0.0, percent / 100))
