from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.outliers import FarEntry
from lossdoctor.evidence.outliers import InputOutliers as Extremes
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Remedy, Severity, Stage
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class InputOutliers(Rule):
    """A single input value dwarfs all others of its feature.

    **What it detects.** An entry a hundred standard deviations away from the rest of its feature.

    **Why it matters.** Its example dominates the gradient of every batch it is in, and
    standardizing squeezes all other examples together. Such values are mostly codes for "missing"
    (-999, 1e9) or errors of measurement.

    **How it is measured.** Distance of the feature's most extreme entry from the mean, in standard
    deviations of the feature without it.

    **How to fix it.** Treat codes as missing; clip the rest to the range of 99.8 % of the rows.

    **When it is wrong.** Features that are mostly zero are left out, as their few values are the
    information; a run that learned anyway makes it INFO.

    **References.** Rousseeuw and Hubert, Robust statistics for outlier detection (2011).
    """

    title = "Outliers among the inputs"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = frozenset({"diverging_loss", "exploding_gradients", "oscillating_loss"})

    distance: float = threshold(
        100.0,
        fires="above",
        unit="standard deviations of the others",
        source="the largest of 10,000 log-normal values (σ = 1.5) lies about 30 away",
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
        for entry in extremes.inputs:
            if entry.distance > self.distance:
                mean, spread = entry.typical
                yield self.finding(
                    f"Feature {entry.feature} holds {entry.value:,.5g}, {entry.distance:,.0f} "
                    f"standard deviations from its other values ({mean:,.3g} ± {spread:,.2g}).",
                    severity=Severity.INFO if learned else None,
                    measurements=[self.measure("distance", entry.distance)],
                    remedies=[_clip(entry, several)],
                )


def _clip(entry: FarEntry, several: bool) -> Remedy:
    place = f"[{entry.index}]" if several else ""
    return Remedy(
        text="Clip every feature to the range of 99.8 % of the training rows, then standardize: "
        "scaling alone would squeeze all other values together. A code for missing values is "
        "better replaced by the median.",
        code=f"values = np.asarray(X{place})\n"
        "axes = tuple(range(values.ndim - 1))\n"
        "low, high = np.quantile(values, [0.001, 0.999], axis=axes)\n"
        "values = np.clip(values, low, high)\n"
        "mean, std = values.mean(axis=axes), values.std(axis=axes)\n"
        "std = np.where(std > 0, std, 1.0)\n"
        f"X{place}, X_val{place} = (\n"
        f"    (np.clip(part, low, high) - mean) / std for part in (X{place}, X_val{place})\n"
        ")",
    )
