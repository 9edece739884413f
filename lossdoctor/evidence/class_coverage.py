"""Which classes occur in the training labels, in the validation labels, and in the head."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable
from lossdoctor.evidence.label_encoding import Judged, Kind, LabelEncoding, Labels, classify
from lossdoctor.evidence.output_head import CLASS_LOSSES, LossFamily
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import RunRecord

FEWEST_ROWS = 10


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The classes of one output: seen in training, and only in validation, and never."""

    judged: Judged
    trained: tuple[int, ...]
    only_validated: tuple[int, ...]
    never: tuple[int, ...]
    """Units below the highest class seen, or one-hot columns, no training label belongs to."""

    @property
    def nothing_to_tell_apart(self) -> bool:
        """Every training label is the same, and there are enough of them to expect otherwise."""
        return self.judged.labels.kind is Kind.CONSTANT and self.judged.labels.rows >= FEWEST_ROWS


@dataclass(frozen=True, kw_only=True)
class ClassCoverage:
    """The classes of all outputs trained to tell classes apart."""

    outputs: tuple[Coverage, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        encoding = LabelEncoding.from_record(record)
        found = []
        for judged in encoding.judged:
            trained = _classes(judged.labels)
            if trained is None or judged.family not in CLASS_LOSSES:
                continue
            validated = _validated(record, judged) or ()
            found.append(
                Coverage(
                    judged=judged,
                    trained=trained,
                    only_validated=tuple(c for c in validated if c not in trained),
                    never=_never(judged, trained),
                )
            )
        if not found:
            raise NotApplicable("the labels are not classes, or too many to list")
        return cls(outputs=tuple(found), setup=encoding.setup)


def _classes(labels: Labels) -> tuple[int, ...] | None:
    if labels.kind is Kind.ONE_HOT:
        return tuple(i for i, count in enumerate(labels.column_counts) if count)
    if labels.one_column and labels.may_be_ids and labels.values:
        return tuple(round(value) for value in labels.values)
    return None


def _validated(record: RunRecord, judged: Judged) -> tuple[int, ...] | None:
    targets = record.validation.targets if record.validation else ()
    if judged.head.index >= len(targets):
        return None
    labels = classify(dataclasses.replace(judged.head, targets=targets[judged.head.index]))
    return None if labels is None else _classes(labels)


def _never(judged: Judged, trained: tuple[int, ...]) -> tuple[int, ...]:
    if judged.labels.kind is Kind.ONE_HOT:
        return tuple(c for c in range(judged.labels.columns) if c not in trained)
    if judged.family is not LossFamily.SPARSE or not judged.head.units:
        return ()
    if max(trained) >= judged.head.units:
        return ()
    return tuple(c for c in range(max(trained)) if c not in trained)
