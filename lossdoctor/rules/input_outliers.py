from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.outliers import FarEntry
from lossdoctor.evidence.outliers import InputOutliers as Extremes
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Finding, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.data import clip_inputs, replace_code, replace_scaled_codes
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class InputOutliers(Rule):
    """Input values dwarf all others of their feature.

    **What it detects.** An entry a hundred standard deviations away from the rest of its feature,
    and codes for missing values (-999, 9999, ...) at the far end of a feature, also where they were
    scaled with it.

    **Why it matters.** Its example dominates the gradient of every batch it is in, and
    standardizing squeezes all other examples together. Such values are mostly codes for "missing"
    (-999, 1e9) or errors of measurement.

    **How it is measured.** Distance of the feature's most extreme entry from the mean, in standard
    deviations of the feature without it and its like. A code counts where it is the feature's
    extreme and far more distant from the mean than the other extreme, or the same value in several
    rows, however it was scaled.

    **How to fix it.** Treat codes as missing; clip the rest to the range of 99.8 % of the rows.

    **When it is wrong.** Features that are mostly zero are left out, as their few values are the
    information. Where the other features are unscaled, too, or the run learned anyway, it is INFO.

    **References.** Rousseeuw and Hubert, Robust statistics for outlier detection (2011).
    """

    title = "Outliers among the inputs"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = (
        UNSTABLE
        | STUCK
        | {"train_inference_gap", "unscaled_inputs", "uninformative_inputs", "validation_shift"}
    )

    distance: float = threshold(
        100.0,
        fires="above",
        unit="standard deviations of the others",
        source="the largest of 10,000 log-normal values (σ = 1.5) lies about 30 away",
    )
    repeated_distance: float = threshold(
        15.0,
        fires="above",
        unit="standard deviations of the others",
        source="twice the 7 that the largest of 10,000 exponential values lies away: what lies "
        "farther and is the same in several rows was written there",
    )
    lopsidedness: float = threshold(
        3.0,
        fires="above",
        unit="× the distance of the other extreme from the mean",
        source="of 20 % codes in a feature, the mean moves so far that they are 4 times as distant",
    )
    learned: float = threshold(
        0.75,
        fires="below",
        unit="share of what can be learned",
        source="a run that removed three quarters of the errors was not led astray",
    )

    def check(self, extremes: Extremes, outcome: TrainingOutcome | None) -> Findings:
        learned = outcome is not None and outcome.share >= self.learned
        several = len(extremes.inputs) > 1
        codes = [code for code in extremes.codes if code.lopsidedness > self.lopsidedness]
        coded = {code.index for code in codes}
        for code in codes:
            yield self.finding(
                f"{code.value:g} stands at the far end of {code.columns} of {code.features} "
                f"columns, {code.lopsidedness:,.0f} times as far from the mean as the other end: a "
                "code for missing values.",
                severity=Severity.INFO if learned else None,
                measurements=[self.measure("lopsidedness", code.lopsidedness)],
                remedies=[replace_code(code.value, _place(code.index, several), extremes.setup)],
            )
        for entry in extremes.inputs:
            if entry.repeated and entry.distance > self.repeated_distance:
                if entry.index not in coded:
                    yield self._code(extremes, entry, learned, _place(entry.index, several))
            elif entry.distance > self.distance and entry.index not in coded:
                mean, spread = entry.typical
                yield self.finding(
                    f"Feature {entry.feature} holds {entry.value:,.5g}, {entry.distance:,.0f} "
                    f"standard deviations from its other values ({mean:,.3g} ± {spread:,.2g}).",
                    severity=Severity.INFO if learned or entry.raw else None,
                    measurements=[self.measure("distance", entry.distance)],
                    remedies=[clip_inputs(_place(entry.index, several), extremes.setup)],
                )

    def _code(self, extremes: Extremes, entry: FarEntry, learned: bool, place: str) -> Finding:
        mean, spread = entry.typical
        return self.finding(
            f"{entry.share:.1%} of the rows hold {entry.value:,.5g} in feature {entry.feature}, "
            f"{entry.distance:,.0f} standard deviations from its other values ({mean:,.3g} ± "
            f"{spread:,.2g}): a code for missing values.",
            severity=Severity.INFO if learned else None,
            measurements=[self.measure("repeated_distance", entry.distance)],
            remedies=[replace_scaled_codes(self.repeated_distance, place, extremes.setup)],
        )


def _place(index: int, several: bool) -> str:
    return f"[{index}]" if several else ""
