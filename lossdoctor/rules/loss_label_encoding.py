from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.label_encoding import Judged, Kind, LabelEncoding
from lossdoctor.evidence.output_head import LossFamily
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.labels import Contract, agree, class_ids, suited_to
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class LossLabelEncoding(Rule):
    """The loss expects the labels in another encoding than they have.

    **What it detects.** A sparse loss with one-hot rows; a categorical loss, categorical hinge or
    KL divergence with class ids; KL divergence with rows that do not sum to 1; a binary loss with
    the ids of three or more classes, or with one label column for several softmax units.

    **Why it matters.** Where the shapes betray it Keras raises at `fit`. Where they do not, it
    trains on nonsense: KL divergence and categorical hinge broadcast a column of ids over all
    units, and binary cross-entropy falls without bound below zero on a label of 2.

    **How it is measured.** From the distinct values of the labels, their row sums and the share
    of one-hot rows, against what the compiled loss reads.

    **How to fix it.** Change the loss, not the data, where a sibling of it reads the labels as
    they are: `sparse_categorical_crossentropy` for ids, `categorical_crossentropy` for rows.

    **When it is wrong.** Soft labels and label smoothing are rows that sum to 1 and pass. Whole
    numbers that are quantities, not ids, are left to `loss_task`.

    **References.** Keras API, probabilistic losses. `tests/test_keras_facts.py` trains them.
    """

    title = "Labels encoded for another loss"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = (
        STUCK
        | UNSTABLE
        | {
            "final_activation_range",
            "labels_out_of_range",
            "metric_task",
            "missing_final_activation",
            "negative_loss",
            "target_rank",
        }
    )

    def check(self, encoding: LabelEncoding) -> Findings:
        for judged in encoding.judged:
            expected = _expected(judged)
            if expected:
                head, labels = judged.head, judged.labels
                yield self.finding(
                    f"{head.loss.name} expects {expected} and gets {labels.described}: "
                    f"{_consequence(judged)}.",
                    measurements=[
                        Measurement(name="label columns", value=labels.columns, unit="columns"),
                        Measurement(name="largest label", value=labels.high),
                    ],
                    layers=head.layer_names,
                    remedies=_remedies(encoding.setup, judged),
                )


def _expected(judged: Judged) -> str:
    labels, family = judged.labels, judged.family
    if judged.numbers_under_class_loss:
        return ""
    if family is LossFamily.SPARSE and not labels.one_column and judged.same_rank:
        return "one class id per example"
    if judged.ids_under_row_loss:
        return "a row of probabilities per example"
    if family is LossFamily.DIVERGENCE and not labels.one_column and not labels.may_be_rows:
        return "rows that sum to 1"
    if judged.several_classes_for_one_probability:
        return "one label 0 or 1 per unit"
    if _column_for_softmax(judged):
        return "one label per softmax unit"
    return ""


def _column_for_softmax(judged: Judged) -> bool:
    return (
        judged.family is LossFamily.BINARY
        and judged.head.is_softmax
        and judged.head.units != 1
        and judged.labels.kind is Kind.BINARY
        and judged.labels.one_column
    )


def _consequence(judged: Judged) -> str:
    if judged.family is LossFamily.BINARY and judged.head.units == 1:
        return "the loss has no lower bound on labels above 1"
    if judged.family is LossFamily.DIVERGENCE and not judged.labels.one_column:
        return "the divergence of such rows is not a distance"
    if judged.keras_refuses:
        return "Keras raises at fit because the shapes differ"
    return "the column of ids is broadcast over all units"


def _remedies(setup: Setup, judged: Judged) -> list[Remedy]:
    contract = _contract(judged)
    width = f"{judged.head.label} with {contract.units} {contract.activation} units"
    text = (
        f"Train {width} under {contract.loss}, which reads the labels"
        f"{' once they count from 0' if contract.encode else ' as they are'}."
    )
    return [agree(setup, judged, contract, text)]


def _contract(judged: Judged) -> Contract:
    head, labels = judged.head, judged.labels
    if labels.one_column:
        return class_ids(labels, at_least=head.units)
    if judged.family is LossFamily.DIVERGENCE and head.is_softmax:
        rows = "np.asarray({y}) / np.sum({y}, axis=-1, keepdims=True)"
        return Contract(activation="softmax", units=labels.columns, encode=rows)
    return suited_to(labels)
