from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.distribution_shift import DistributionShift, Shift
from lossdoctor.evidence.transfer import Transfer
from lossdoctor.evidence.validation_outcome import ValidationOutcome
from lossdoctor.finding import Finding, Measurement, Severity, Stage
from lossdoctor.rules._remedies.validation import compare_sides, prepare_alike
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class ValidationShift(Rule):
    """Validation data come from another distribution than training data.

    **What it detects.** Validation inputs or targets of another center or scale, or other shares of
    the classes, than sampling noise explains; or where inputs and targets hang together otherwise.

    **Why it matters.** A model is only right where it has been trained. The usual cause is
    preprocessing applied to one side only (a scaler, a division by 255, an encoder fitted twice):
    the validation loss is then high from the first epoch and looks like overfitting.

    **How it is measured.** Two-sample tests of mean and standard deviation for every feature and of
    the class shares, at a level of 0.001 with Bonferroni's correction, and only differences that
    matter: in standard deviations for centers, as a ratio for scales. And whether simple models
    that predict unseen training rows predict validation rows: columns in another order, ids of a
    second tokenizer or encoder keep every mean and scale.

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
    lost: float = threshold(
        0.75,
        fires="above",
        unit="of what simple models predict of unseen training rows",
        source="0 in expectation for rows of one distribution, 1 where nothing carries over; "
        "columns, ids or classes in another order 1.0 to 2.7",
    )
    learned: float = threshold(
        0.75,
        fires="below",
        unit="share of what can be learned, on validation rows",
        source="where three quarters of the validation errors are gone the shift did no harm",
    )

    def check(
        self,
        shift: DistributionShift,
        transfer: Transfer | None,
        outcome: ValidationOutcome | None,
    ) -> Findings:
        harmless = (
            outcome is not None
            and outcome.share >= self.learned
            and not outcome.worse_than_constant
        )
        exceeded = [(found, self._exceeded(found)) for found in shift.shifts]
        shifted = [(found, measurements) for found, measurements in exceeded if measurements]
        if transfer and transfer.lost > self.lost and not shifted and not harmless:
            yield self._unrelated(transfer)
        for found, measurements in shifted:
            hopeless = found.kind == "input" and any(m.margin > 0.6 for m in measurements)
            severity = Severity.ERROR if hopeless else Severity.WARNING
            yield self.finding(
                _message(found),
                severity=Severity.INFO if harmless else severity,
                measurements=measurements,
                remedies=[prepare_alike(found, shift.setup)],
            )

    def _unrelated(self, transfer: Transfer) -> Finding:
        return self.finding(
            f"What tells about the targets in training does not in validation: simple models "
            f"remove {transfer.inside:.0%} of a constant's errors on training rows they have not "
            f"seen, {max(transfer.outside, 0):.0%} on validation rows.",
            measurements=[self.measure("lost", transfer.lost)],
            remedies=[
                compare_sides(),
            ],
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
