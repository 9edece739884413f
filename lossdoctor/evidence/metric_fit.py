"""Whether the compiled accuracies mean anything on the labels they are computed on."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.label_encoding import Judged, Kind, LabelEncoding
from lossdoctor.evidence.logged_accuracy import LoggedAccuracy
from lossdoctor.evidence.output_head import NUMBER_LOSSES
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import MetricRecord, RunRecord

_ROW_ACCURACIES = {"CategoricalAccuracy", "TopKCategoricalAccuracy"}
_SPARSE_ACCURACIES = {"SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy"}
_ACCURACIES = {"Accuracy", "BinaryAccuracy", *_ROW_ACCURACIES, *_SPARSE_ACCURACIES}


class MetricFault(enum.Enum):
    """Why an accuracy does not measure what its name says."""

    ON_QUANTITIES = "accuracy of quantities"
    ON_OTHER_LABELS = "labels other than 0 and 1 compared with 0 and 1"
    PER_ENTRY = "one-hot rows judged entry by entry"
    ROWS_AS_IDS = "rows where class ids are expected"
    IDS_AS_ROWS = "class ids where rows are expected"
    ONE_UNIT = "the largest of a single unit"
    EXACT = "probabilities compared for equality"
    LOGITS_AT_HALF = "scores compared with 0.5"


@dataclass(frozen=True, kw_only=True)
class MetricFit:
    """The compiled accuracies that do not fit, with the output they belong to.

    Of a history only `zero_epochs` is known: in how many epochs the accuracy was exactly 0, if it
    was in all of them. Of a step that logs a `stale_loss`, nothing else.
    """

    faults: tuple[tuple[MetricRecord, Judged, MetricFault], ...] = ()
    setup: Setup | None = None
    zero_epochs: int = 0
    stale_loss: bool = False

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        if record.model is None:
            logged = LoggedAccuracy.from_record(record)
            return cls(zero_epochs=logged.epochs if logged.always_zero else 0)
        if record.model.logs_stale_loss:
            return cls(stale_loss=True)
        encoding = LabelEncoding.from_record(record)
        if record.metrics is None:
            raise NotRecorded.of(record, "the metrics", "run with LossDoctor()")
        accuracies = [metric for metric in record.metrics if _is_accuracy(metric)]
        if not accuracies:
            raise NotApplicable("no accuracy is compiled")
        faults = []
        for metric in accuracies:
            for judged in encoding.judged:
                fault = _fault(metric.class_name, judged)
                if metric.output == judged.head.index and fault is not None:
                    faults.append((metric, judged, fault))
        return cls(faults=tuple(faults), setup=encoding.setup)


def _is_accuracy(metric: MetricRecord) -> bool:
    named = metric.requested.lower() in ("acc", "accuracy")
    return named if metric.class_name is None else metric.class_name in _ACCURACIES


def _fault(class_name: str | None, judged: Judged) -> MetricFault | None:
    head, labels = judged.head, judged.labels
    if _are_quantities(judged):
        return MetricFault.ON_QUANTITIES
    if class_name == "Accuracy":
        return None if head.activation == "linear" else MetricFault.EXACT
    if class_name == "BinaryAccuracy":
        return _binary_fault(judged)
    if class_name in _ROW_ACCURACIES and head.units == 1:
        return MetricFault.ONE_UNIT
    if class_name in _ROW_ACCURACIES and labels.one_column:
        return MetricFault.IDS_AS_ROWS
    if class_name in _SPARSE_ACCURACIES and not labels.one_column:
        return MetricFault.ROWS_AS_IDS
    return None


def _are_quantities(judged: Judged) -> bool:
    kind = judged.labels.kind
    if kind in (Kind.CONTINUOUS, Kind.UNIT_INTERVAL) or judged.numbers_under_class_loss:
        return True
    if judged.family not in NUMBER_LOSSES:
        return False
    return kind is Kind.WHOLE_NUMBERS and not judged.classes_under_number_loss


def _binary_fault(judged: Judged) -> MetricFault | None:
    head, labels = judged.head, judged.labels
    if labels.kind in (Kind.SIGN, Kind.TWO_VALUES, Kind.CLASS_IDS):
        return MetricFault.ON_OTHER_LABELS
    if labels.kind is Kind.ONE_HOT and labels.columns > 2:
        return MetricFault.PER_ENTRY
    if head.loss.from_logits and head.is_probability is False:
        return MetricFault.LOGITS_AT_HALF
    return None
