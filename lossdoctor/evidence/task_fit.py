"""Whether a loss, its head and its labels belong to the same task."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence.label_encoding import Judged, Kind, LabelEncoding
from lossdoctor.evidence.output_head import NUMBER_LOSSES, ONE_UNIT_PER_CLASS, LossFamily
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import RunRecord


class Mismatch(enum.Enum):
    """In which way loss, head and labels belong to different tasks."""

    QUANTITIES_AS_CLASSES = "a loss for classes, targets that are quantities"
    IDS_AGAINST_SCORES = "class ids subtracted from one score per class"
    IDS_AS_QUANTITIES = "class ids regressed on by one unit"
    ROWS_AS_QUANTITIES = "one-hot rows under a regression loss"
    BITS_AS_QUANTITIES = "labels 0 and 1 under a regression loss"
    ANGLE_OF_NUMBERS = "the angle between single numbers"
    SOFTMAX_AS_SIGMOIDS = "a softmax under binary cross-entropy"
    SIGMOIDS_AS_SOFTMAX = "sigmoids under a categorical loss"
    SEVERAL_ONES = "rows with several ones under a categorical loss"


@dataclass(frozen=True, kw_only=True)
class TaskFit:
    """The outputs whose loss, head and labels do not belong together."""

    mismatched: tuple[tuple[Judged, Mismatch], ...]
    accuracy_asked: tuple[int, ...]
    """Outputs an accuracy was compiled for: their user thinks in classes."""
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        encoding = LabelEncoding.from_record(record)
        found = [(judged, _mismatch(judged)) for judged in encoding.judged]
        return cls(
            mismatched=tuple((judged, kind) for judged, kind in found if kind is not None),
            accuracy_asked=tuple(
                metric.output
                for metric in encoding.setup.metrics
                if "accuracy" in metric.requested.lower() or metric.requested.lower() == "acc"
            ),
            setup=encoding.setup,
        )


def _mismatch(judged: Judged) -> Mismatch | None:
    if judged.numbers_under_class_loss:
        return Mismatch.QUANTITIES_AS_CLASSES
    if judged.head.single_unit_softmax:
        return None
    if judged.family in NUMBER_LOSSES:
        return _under_number_loss(judged)
    return _under_class_loss(judged)


def _under_number_loss(judged: Judged) -> Mismatch | None:
    labels, units = judged.labels, judged.head.units
    if judged.classes_under_number_loss:
        return Mismatch.IDS_AGAINST_SCORES
    if judged.family is LossFamily.DIRECTION and units == 1:
        return Mismatch.ANGLE_OF_NUMBERS
    if labels.one_column and units == 1:
        if labels.kind is Kind.CLASS_IDS:
            counts = judged.family is LossFamily.POISSON
            return None if counts else Mismatch.IDS_AS_QUANTITIES
        return Mismatch.BITS_AS_QUANTITIES if labels.kind is Kind.BINARY else None
    if labels.kind is Kind.ONE_HOT and units == labels.columns:
        return Mismatch.ROWS_AS_QUANTITIES
    return None


def _under_class_loss(judged: Judged) -> Mismatch | None:
    head, labels, family = judged.head, judged.labels, judged.family
    several_units = head.units is not None and head.units > 1
    if not several_units:
        return None
    if family is LossFamily.BINARY and head.is_softmax and not labels.one_column:
        return Mismatch.SOFTMAX_AS_SIGMOIDS
    if labels.kind is Kind.MULTI_LABEL:
        categorical = family in (LossFamily.CATEGORICAL, LossFamily.CATEGORICAL_HINGE)
        return Mismatch.SEVERAL_ONES if categorical else None
    probabilities = ONE_UNIT_PER_CLASS - {LossFamily.CATEGORICAL_HINGE}
    if family in probabilities and head.is_sigmoid:
        return Mismatch.SIGMOIDS_AS_SOFTMAX
    return None
