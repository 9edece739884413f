from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.label_encoding import Judged, Kind, LabelEncoding
from lossdoctor.evidence.output_head import NUMBER_LOSSES, ONE_UNIT_PER_CLASS, LossFamily
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.labels import agree, fitting
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class OutputUnits(Rule):
    """The head has another number of units than the labels need.

    **What it detects.** One unit under a loss that has a unit per class; fewer units than
    classes; rows of labels of another width than the head; several units for one column of
    labels. More units than classes are reported as INFO: the labels may be a subset.

    **Why it matters.** Over a single unit `categorical_crossentropy` is 0 for any input, so
    nothing is learned. A class without a unit has no probability:
    `sparse_categorical_crossentropy` then raises on CPU and returns NaN on GPU. Rows of another
    width make Keras raise, or broadcast silently where the loss is not a cross-entropy.

    **How it is measured.** Units of the head's last axis against the number of distinct class
    ids, or the width of the label rows, as the loss reads them.

    **How to fix it.** As many softmax units as classes; one sigmoid unit for two classes given as
    0 and 1; as many linear units as target columns for regression.

    **When it is wrong.** When the labels hold ids that are not meant as classes of their own, as
    "unknown". `ignore_class` is honored; a loss of your own is not judged.

    **References.** Keras API, probabilistic losses. `tests/test_keras_facts.py` trains them.
    """

    title = "Output units do not match the labels"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = STUCK | {
        "final_activation_range",
        "labels_out_of_range",
        "loss_label_encoding",
        "metric_task",
        "missing_final_activation",
        "non_finite_loss",
    }

    def check(self, encoding: LabelEncoding) -> Findings:
        for judged in encoding.judged:
            if judged.head.units is None or judged.numbers_under_class_loss:
                continue
            consequence = _consequence(judged)
            if consequence:
                yield self._mismatch(encoding.setup, judged, consequence)
            elif _has_spare_units(judged):
                yield self._spare(judged)

    def _mismatch(self, setup: Setup, judged: Judged, consequence: str) -> Finding:
        head, contract = judged.head, fitting(judged)
        units = float(head.units or 0)
        loss = f" and loss={contract.loss!r}" if contract.loss else ""
        return self.finding(
            f"Under {head.loss.name}, {head.label} has {_count(head.units)} for "
            f"{judged.labels.described}: {consequence}.",
            measurements=[
                Measurement(
                    name="output units",
                    value=units,
                    unit="units",
                    threshold=float(contract.units),
                    fires="below" if units < contract.units else "above",
                )
            ],
            layers=head.layer_names,
            remedies=[
                agree(
                    setup,
                    judged,
                    contract,
                    f"Give {head.label} {_count(contract.units)} with "
                    f"activation={contract.activation!r}{loss}: that is what "
                    f"{judged.labels.described} call for.",
                )
            ],
        )

    def _spare(self, judged: Judged) -> Finding:
        head, labels = judged.head, judged.labels
        return self.finding(
            f"The softmax of {head.label} has {_count(head.units)} and the labels show "
            f"{labels.classes} classes ({labels.described}).",
            title="More output units than classes in the labels",
            severity=Severity.INFO,
            layers=head.layer_names,
            remedies=[Remedy(text="Nothing to change if the labels are a subset of the classes.")],
        )


def _consequence(judged: Judged) -> str:
    head, labels, family = judged.head, judged.labels, judged.family
    units = head.units or 0
    if judged.padded:
        return ""
    if family in ONE_UNIT_PER_CLASS and units == 1:
        return _ONE_UNIT[family]
    if labels.one_column and labels.may_be_ids and family in ONE_UNIT_PER_CLASS:
        return _TOO_FEW if labels.classes > units else ""
    if not judged.same_rank or family is LossFamily.SPARSE or units == labels.columns:
        return ""
    if labels.one_column and (head.is_softmax or not _one_number_wanted(judged)):
        return ""
    return "Keras raises at fit" if judged.keras_refuses else "one is broadcast over the other"


def _one_number_wanted(judged: Judged) -> bool:
    if judged.family in NUMBER_LOSSES:
        return not judged.classes_under_number_loss
    return judged.labels.kind in (Kind.BINARY, Kind.SIGN, Kind.TWO_VALUES)


def _has_spare_units(judged: Judged) -> bool:
    head, labels = judged.head, judged.labels
    ids = judged.family is LossFamily.SPARSE and labels.one_column and labels.may_be_ids
    return ids and labels.classes < (head.units or 0) and labels.high < (head.units or 0)


def _count(units: int | None) -> str:
    return "1 unit" if units == 1 else f"{units} units"


_TOO_FEW = "a class without a unit has no probability (Keras raises on CPU, NaN on GPU)"
_ONE_UNIT = {
    LossFamily.CATEGORICAL: "normalized over one unit the loss is 0 whatever the model predicts",
    LossFamily.SPARSE: "one unit is one class (Keras raises on CPU, the loss is NaN on GPU)",
    LossFamily.DIVERGENCE: "the loss falls to 0 by predicting 1 for every example",
    LossFamily.CATEGORICAL_HINGE: "there is no other class to keep a margin to",
}
