from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.distribution_shift import DistributionShift, Shift
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.validation_outcome import ValidationOutcome
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._remedies.data import split_again
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class ValidationShift(Rule):
    """Validation data come from another distribution than training data.

    **What it detects.** Validation inputs or targets of another center or scale, or other shares of
    the classes, than sampling noise explains.

    **Why it matters.** A model is only right where it has been trained. The usual cause is
    preprocessing applied to one side only (a scaler, a division by 255, an encoder fitted twice):
    the validation loss is then high from the first epoch and looks like overfitting.

    **How it is measured.** Two-sample tests of mean and standard deviation for every feature and of
    the class shares, at a level of 0.001 with Bonferroni's correction, and only differences that
    matter: in standard deviations for centers, as a ratio for scales.

    **How to fix it.** Put both sides through the same preprocessing, fitted on training rows.

    **When it is wrong.** A split in time shifts honestly: then the number says how far the
    validation lies outside of what was learned. A run that predicts it well, at a validation loss
    below that of a constant answer, makes it INFO.

    **References.** Rabanser, Günnemann and Lipton, Failing loudly (2019).
    """

    title = "Validation data from another distribution"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = frozenset(
        {
            "early_stopping_settings",
            "loss_metric_divergence",
            "overconfidence",
            "overfitting",
            "validation_below_training",
        }
    )

    gap: float = threshold(
        1.0,
        fires="above",
        unit="standard deviations between the means",
        source="Cohen (1988): 0.8 is a large effect; at 1, one row in six passes the other's mean",
    )
    stretch: float = threshold(
        3.0,
        fires="above",
        unit="ratio of the standard deviations",
        source="heavy tails alone vary a sample's spread by a factor of two",
    )
    class_distance: float = threshold(
        0.3,
        fires="above",
        unit="of the examples would have to change class",
        source="a constant answer tuned to training then loses 30 % of its accuracy",
    )
    learned: float = threshold(
        0.75,
        fires="below",
        unit="share of what can be learned, on validation rows",
        source="where three quarters of the validation errors are gone the shift did no harm",
    )

    def check(self, shift: DistributionShift, outcome: ValidationOutcome | None) -> Findings:
        harmless = (
            outcome is not None
            and outcome.share >= self.learned
            and not outcome.worse_than_constant
        )
        for found in shift.shifts:
            measurements = self._exceeded(found)
            if measurements:
                hopeless = found.kind == "input" and any(m.margin > 0.6 for m in measurements)
                severity = Severity.ERROR if hopeless else Severity.WARNING
                yield self.finding(
                    _message(found),
                    severity=Severity.INFO if harmless else severity,
                    measurements=measurements,
                    remedies=[_remedy(found, shift.setup)],
                )

    def _exceeded(self, found: Shift) -> list[Measurement]:
        values = {"gap": found.gap, "stretch": found.stretch}
        if found.class_distance is not None:
            values = {"class_distance": found.class_distance}
        return [self.measure(n, v) for n, v in values.items() if v > getattr(self, n)]


def _message(found: Shift) -> str:
    if found.class_distance is not None:
        return (
            f"The classes of {found.name} have other shares in validation: "
            f"{found.class_distance:.0%} of the examples would have to change class."
        )
    feature = f", feature {found.feature}," if found.feature else ""
    (mean, spread), (other_mean, other_spread) = found.train, found.validation
    return (
        f"Validation {found.name}{feature} lies around {other_mean:.3g} ± {other_spread:.2g}, "
        f"training around {mean:.3g} ± {spread:.2g}."
    )


def _remedy(found: Shift, setup: Setup) -> Remedy:
    if setup.fit.validation_split:
        return split_again(
            setup, ", unless the rows are a series in time, whose future no model can know by heart"
        )
    if found.class_distance is not None:
        return split_again(setup, ", and encode both sides with the same table")
    place = "" if "[" not in found.name else f"[{found.index}]"
    if found.pixel_factor is not None:
        side = "X_val" if found.pixel_factor else "X"
        return Remedy(
            text=f"Divide {side} by 255 as well: only the other side is.",
            code=f'{side}{place} = np.asarray({side}{place}).astype("float32") / 255',
        )
    side, rows = ("y", "targets") if found.kind == "target" else ("X", "rows")
    return Remedy(
        text=f"Put the validation {rows} through the preprocessing of the training {rows}: "
        f"scaler.transform with the scaler fitted on {side}. Where that scaler is lost, give them "
        "the training data's center and scale, as below.",
        code=f"train, val = np.asarray({side}{place}), np.asarray({side}_val{place})\n"
        "axes = tuple(range(max(train.ndim - 1, 1)))\n"
        "spread = np.where(val.std(axis=axes) > 0, val.std(axis=axes), 1.0)\n"
        f"{side}_val{place} = (val - val.mean(axis=axes)) / spread * train.std(axis=axes)\n"
        f"{side}_val{place} = {side}_val{place} + train.mean(axis=axes)",
    )
