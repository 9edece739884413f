"""How probable it is that a finding names a root cause, calibrated on runs whose truth is known.

A logistic regression over a few traits of the finding and its company. Its coefficients stand in
`probability.json` beside this file, with the runs they were fitted on and how reliable they proved;
`python -m lossdoctor.validation.calibration` fits them. Applied with plain arithmetic.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from importlib import resources

from lossdoctor.finding import Finding, Severity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """Coefficients of the log-odds.

    `rules` holds an offset for each rule that was seen often enough to be judged; there is no
    probability for others.
    """

    intercept: float
    traits: Mapping[str, float]
    rules: Mapping[str, float]

    def probability(self, rule: str, traits: Mapping[str, float]) -> float | None:
        """The probability that a finding of `rule` with these traits names a root cause."""
        offset = self.rules.get(rule)
        if offset is None:
            return None
        log_odds = self.intercept + offset
        log_odds += sum(weight * traits[name] for name, weight in self.traits.items())
        return 1 / (1 + math.exp(-log_odds))


@functools.cache
def calibrations() -> Mapping[str, Calibration]:
    """The shipped coefficients by the source of the record: `"run"` and `"config"`.

    Logs alone have none: no truth about them was recorded.
    """
    text = resources.files("lossdoctor").joinpath("probability.json").read_text("utf-8")
    return {
        source: Calibration(
            intercept=fitted["intercept"], traits=fitted["traits"], rules=fitted["rules"]
        )
        for source, fitted in json.loads(text)["sources"].items()
    }


def with_probability(
    ranked: Sequence[Finding], source: str, judged: Collection[str]
) -> tuple[Finding, ...]:
    """The findings with their probability, where there is one.

    Args:
        ranked: All findings of a report, ranked.
        source: Where the record comes from, as in `RunRecord.source`.
        judged: Slugs of the rules that run as they were calibrated, thresholds included.
    """
    calibration = calibrations().get(source)
    if calibration is None:
        return tuple(ranked)
    return tuple(
        dataclasses.replace(finding, probability=calibration.probability(finding.rule, traits))
        if traits is not None and finding.rule in judged
        else finding
        for finding, traits in zip(ranked, traits_of(ranked))
    )


def traits_of(ranked: Sequence[Finding]) -> list[dict[str, float] | None]:
    """What the probability of each finding rests on; None for INFO, which accuses nobody.

    `error`: its severity is ERROR. `explained`: another finding explains it. `explains`: it
    explains another one. `above`, `below`: how many unexplained findings of other rules rank above
    and below it (a logarithm: the first rival weighs most). `margin`: orders of magnitude past its
    threshold, squashed to 0-1.
    """
    problems = [f for f in ranked if f.severity >= Severity.WARNING]
    roots = list(dict.fromkeys(f.rule for f in problems if f.explained_by is None))
    place = {rule: number for number, rule in enumerate(roots)}

    def traits(finding: Finding) -> dict[str, float]:
        root = finding
        while root.explained_by is not None:
            root = next(f for f in ranked if f.rule == root.explained_by)
        above = place[root.rule] + (root is not finding)
        return {
            "error": float(finding.severity is Severity.ERROR),
            "explained": float(finding.explained_by is not None),
            "explains": float(bool(finding.explains)),
            "above": math.log2(1 + above),
            "below": math.log2(len(roots) - place[root.rule]),
            "margin": _squashed(finding.margin),
        }

    return [traits(f) if f.severity >= Severity.WARNING else None for f in ranked]


def _squashed(margin: float) -> float:
    return 1.0 if math.isinf(margin) else margin / (1 + margin)
