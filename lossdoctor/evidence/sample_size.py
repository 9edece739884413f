"""How many examples there are for what is to be learned from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.initialization import Initialization
from lossdoctor.evidence.label_encoding import LabelEncoding
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import DataRecord, RunRecord, TensorSummary

_FEW_VALUES = 3
_FEWEST_BATCHES = 8
_WIDE = 8


@dataclass(frozen=True, kw_only=True)
class SampleSize:
    """Examples against classes, features and parameters.

    `per_class` and `per_feature` are None where there are no classes or no table of features.
    `complete` says that the inputs are a few discrete patterns, which may be all there are;
    `repeated` is the number of different examples where every batch brings the same ones.
    """

    rows: int
    parameters: int
    per_class: float | None
    per_feature: float | None
    complete: bool
    repeated: int | None
    validated: bool
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        if record.train is None or not record.train.rows:
            raise NotRecorded.of(record, "the number of examples", "pass y to check_config")
        if _starts_from_trained_weights(record):
            raise NotApplicable(
                "the model starts from trained weights, which stand for many examples"
            )
        rows, inputs = record.train.rows, record.train.inputs
        return cls(
            rows=rows,
            parameters=setup.model.trainable_parameters,
            per_class=_per_class(record, rows),
            per_feature=_per_feature(inputs, rows),
            complete=bool(inputs) and all(is_discrete(summary) for summary in inputs),
            repeated=_repeated(record.train),
            validated=record.validation is not None or bool(setup.fit.has_validation),
            setup=setup,
        )


def _starts_from_trained_weights(record: RunRecord) -> bool:
    try:
        return Initialization.from_record(record).pretrained
    except NotApplicable:
        return record.optimizer is not None and record.optimizer.iterations > 0


def _repeated(train: DataRecord) -> int | None:
    if not train.inputs or not train.batch_size or train.batches < _FEWEST_BATCHES:
        return None
    summary = max(train.inputs, key=lambda summary: summary.sampled_rows)
    different = round(summary.sampled_rows * (1 - summary.duplicate_fraction))
    # Narrow rows, such as ten doses that were tried a hundred times each, are alike by right.
    wide = math.prod(size or 1 for size in summary.shape) >= _WIDE
    alike = all(other.duplicate_fraction > 0.5 for other in train.inputs)
    # Of the same rows the targets are the same, too: states that were tried often bring new ones.
    most = 1.5 * train.batch_size
    entries = (math.prod(n or 1 for n in target.shape) for target in train.targets)
    new = any(target.distinct > most * size for target, size in zip(train.targets, entries))
    return different if wide and alike and different <= most and not new else None


def _per_class(record: RunRecord, rows: int) -> float | None:
    try:
        judged = LabelEncoding.from_record(record).judged
    except NotApplicable:
        return None
    classes = [j.labels.classes for j in judged if j.labels.are_classes and not j.labels.one_column]
    classes += [j.labels.classes for j in judged if j.labels.one_column and j.labels.may_be_ids]
    return rows / max(classes) if classes else None


def _per_feature(inputs: tuple[TensorSummary, ...], rows: int) -> float | None:
    tables = [summary for summary in inputs if len(summary.shape) == 1 and not is_discrete(summary)]
    widths = [summary.shape[0] for summary in tables if summary.shape[0]]
    return rows / sum(widths) if widths else None


def holds_rules(record: RunRecord) -> bool:
    """Whether all inputs are discrete patterns, of which none comes with two different targets."""
    inputs = record.train.inputs if record.train else ()
    distinct = all(summary.duplicate_fraction == 0 for summary in inputs)
    consistent = distinct or record.probes.get("conflicting_labels") == 0
    return bool(inputs) and all(map(is_discrete, inputs)) and consistent


def is_discrete(summary: TensorSummary) -> bool:
    """Patterns of two or three whole numbers, which may be all there are."""
    return summary.integral and 0 < summary.distinct <= _FEW_VALUES
