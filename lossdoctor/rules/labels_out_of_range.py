from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.label_encoding import Judged, Kind, LabelEncoding
from lossdoctor.evidence.output_head import LossFamily
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Finding, Measurement, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.labels import agree, into_domain
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class LabelsOutOfRange(Rule):
    """Labels lie where the loss is not defined.

    **What it detects.** Class ids outside [0, units); cross-entropy labels outside [0, 1]; hinge
    labels that are neither -1 and 1 nor 0 and 1; negative targets under Poisson or the squared
    logarithmic error; zeros under the absolute percentage error.

    **Why it matters.** Outside its domain a loss no longer has its minimum at the right answer.
    Binary cross-entropy on labels -1 and 1 falls without bound below zero while the accuracy
    stays at chance. An id beyond the last unit raises on CPU and gives a silent NaN on GPU.

    **How it is measured.** Share of label entries outside the loss's domain, from the distinct
    values where there are few, from the quantiles otherwise.

    **How to fix it.** Shift, map or scale the labels into the domain, or use a loss that has no
    such limits.

    **When it is wrong.** Rounding (1.00000006) is tolerated, `ignore_class` is honored. Grey
    levels that overshoot [0, 1] by resampling are a WARNING.

    **References.** Keras API, losses. `tests/test_keras_facts.py` trains them.
    """

    title = "Labels outside the range of the loss"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = (
        STUCK
        | UNSTABLE
        | {"final_activation_range", "metric_task", "missing_final_activation", "negative_loss"}
    )

    outside_share: float = threshold(
        0.01,
        fires="above",
        unit="share of the labels",
        source="Reasoning: a share below one in a hundred is outliers of a valid encoding, and "
        "distorts the mean loss by as little.",
    )

    def check(self, encoding: LabelEncoding) -> Findings:
        for judged in encoding.judged:
            low, high, domain = _domain(judged)
            if domain and judged.labels.exceeds(low, high):
                share = judged.labels.share_outside(low, high)
                yield self._outside(encoding.setup, judged, domain, share)
            elif judged.family is LossFamily.PERCENTAGE and judged.labels.zero_fraction > 0:
                share = judged.labels.zero_fraction
                yield self._outside(encoding.setup, judged, "targets other than 0", share)

    def _outside(self, setup: Setup, judged: Judged, domain: str, share: float) -> Finding:
        contract, text = into_domain(judged)
        tolerable = judged.family in _GRADUAL or judged.labels.kind is Kind.CONTINUOUS
        return self.finding(
            f"{judged.head.loss.name} of {judged.head.label} takes {domain}, and {share:.2%} of "
            f"the labels ({judged.labels.described}) lie outside: {_CONSEQUENCE[judged.family]}.",
            severity=Severity.WARNING if tolerable and share <= self.outside_share else None,
            measurements=[
                self.measure("outside_share", share)
                if tolerable
                else Measurement(name="outside share", value=share, unit="share of the labels")
            ],
            layers=judged.head.layer_names,
            remedies=[agree(setup, judged, contract, text)],
        )


def _domain(judged: Judged) -> tuple[float, float, str]:
    """Lowest and highest label the loss takes, in words; no words where another rule decides."""
    labels, family, units = judged.labels, judged.family, judged.head.units
    if judged.numbers_under_class_loss or judged.several_classes_for_one_probability:
        return 0.0, 0.0, ""
    if family is LossFamily.SPARSE and labels.may_be_ids and units and units > 1:
        fits = labels.classes <= units or judged.padded
        return 0.0, units - 1.0, f"class ids 0 to {units - 1}" if fits else ""
    if family is LossFamily.BINARY or (family is LossFamily.CATEGORICAL and not labels.one_column):
        return 0.0, 1.0, "labels between 0 and 1"
    if family is LossFamily.HINGE and labels.kind is not Kind.SIGN:
        return 0.0, 1.0, "labels -1 and 1"
    if family in _GRADUAL:
        return 0.0, float("inf"), "non-negative targets"
    return 0.0, 0.0, ""


_GRADUAL = (LossFamily.LOGARITHMIC, LossFamily.POISSON)
_CONSEQUENCE = {
    LossFamily.BINARY: "there the loss has no lower bound and no right answer",
    LossFamily.CATEGORICAL: "there the loss has no lower bound and no right answer",
    LossFamily.SPARSE: "Keras raises on CPU, and the loss is NaN on GPU",
    LossFamily.HINGE: "Keras converts only 0 and 1, so the margins are lopsided",
    LossFamily.LOGARITHMIC: "Keras takes them for 0",
    LossFamily.POISSON: "the loss then falls without bound",
    LossFamily.PERCENTAGE: "their error is divided by 1e-7 and drowns all others",
}
