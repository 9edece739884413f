"""What each output's targets are: classes in one of their encodings, or numbers."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.output_head import (
    CLASS_LOSSES,
    CROSS_ENTROPIES,
    NUMBER_LOSSES,
    ONE_UNIT_PER_CLASS,
    Head,
    LossFamily,
    OutputHeads,
)
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import RunRecord, TensorSummary

# Labels go through float32 on their way to the loss: 1.00000006 is a 1.
_TOLERANCE = 1e-5
_ROW_SUM_TOLERANCE = 1e-3
# Whole numbers in one column are class ids when nearly every number of their span occurs, and
# each again and again: a line through ten whole numbers shows each once, iris each 50 times.
_SPAN_COVERED = 0.8
_REPEATS = 5.0
# Under a classification loss fewer signs will do: the user says these are classes.
_LOOSE_SPAN_COVERED = 0.5
_LOOSE_REPEATS = 3.0
_FEW_CLASSES = 20
_UNIT_SCALE = 10.0
_HALF_BYTE, _BYTE = 127, 255
STRAY_SHARE = 0.02
"""Share of entries up to which labels outside [0, 1] are overshoot of an interpolation."""


class Kind(enum.Enum):
    """What the targets hold."""

    CONSTANT = "constants"
    BINARY = "labels 0 and 1"
    SIGN = "labels -1 and 1"
    TWO_VALUES = "two other values"
    CLASS_IDS = "class ids"
    WHOLE_NUMBERS = "whole numbers"
    ONE_HOT = "one-hot rows"
    MULTI_LABEL = "multi-label rows"
    DISTRIBUTIONS = "rows that sum to 1"
    UNIT_INTERVAL = "numbers within [0, 1]"
    CONTINUOUS = "continuous numbers"


_CLASS_KINDS = frozenset(
    {Kind.BINARY, Kind.SIGN, Kind.TWO_VALUES, Kind.CLASS_IDS, Kind.ONE_HOT, Kind.MULTI_LABEL}
)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The targets of one output, classified.

    `columns` is how many entries one decision has: 1 for class ids and scalars, the width of a
    row otherwise. `classes` counts the classes seen: distinct ids, or columns of one-hot rows.
    `values` are the distinct values, ascending (empty when there are more than 256), without the
    id the loss is told to ignore. `repeats` is how often each value occurs on average.
    """

    kind: Kind
    columns: int
    rows: int
    low: float
    high: float
    mean: float
    std: float
    classes: int
    values: tuple[float, ...]
    repeats: float
    counts: tuple[int, ...] = ()
    """How often each of `values` occurs."""
    column_counts: tuple[int, ...] = ()
    """How often each column holds the largest entry of its row."""
    quantiles: tuple[float, ...] = ()
    zero_fraction: float = 0.0
    row_sums: tuple[float, float] | None = None
    unit_for_each: bool = False
    """The labels are whole numbers from 0 and the head has a unit for each of them."""

    @property
    def one_column(self) -> bool:
        """One number stands for each decision."""
        return self.columns == 1

    @property
    def are_classes(self) -> bool:
        """Nothing but an encoding of classes looks like this."""
        return self.kind in _CLASS_KINDS

    @property
    def may_be_ids(self) -> bool:
        """One whole number per decision, few enough of them to be classes where the loss or the
        head says so."""
        if self.kind in (Kind.BINARY, Kind.SIGN, Kind.TWO_VALUES, Kind.CLASS_IDS):
            return True
        if self.kind is Kind.CONSTANT:
            return self.one_column and self.low.is_integer() and self.low >= 0
        if self.kind is not Kind.WHOLE_NUMBERS or not self.one_column:
            return False
        if self.unit_for_each:
            return True
        dense = self.classes >= _LOOSE_SPAN_COVERED * self.span
        few = self.classes <= _FEW_CLASSES
        return (dense and (few or self.repeats >= _LOOSE_REPEATS)) or (
            few and self.repeats >= _REPEATS
        )

    @property
    def may_be_rows(self) -> bool:
        """Rows a categorical loss can be asked to match."""
        return self.kind in (Kind.ONE_HOT, Kind.DISTRIBUTIONS)

    @property
    def span(self) -> int:
        """How many whole numbers lie between the lowest and the highest label, both included."""
        return round(self.high - self.low) + 1

    @property
    def contiguous(self) -> bool:
        """Every whole number of the span occurs."""
        return self.classes == self.span

    @property
    def beyond_unit_scale(self) -> bool:
        """So far from 0 that a fresh linear head takes long, or too large, steps to get there."""
        return max(abs(self.low), abs(self.high)) > _UNIT_SCALE

    @property
    def scale_ends(self) -> tuple[float, float]:
        """The ends of the scale whole numbers were drawn from: bytes go up to 255."""
        return min(self.low, 0.0), 255.0 if _HALF_BYTE < self.high <= _BYTE else self.high

    @property
    def described(self) -> str:
        """The labels in a few words, for a message: `class ids 0 to 2`."""
        kind, ends = self.kind, f"from {self.low:.4g} to {self.high:.4g}"
        if kind in (Kind.BINARY, Kind.SIGN, Kind.TWO_VALUES):
            return f"labels {self.low:g} and {self.high:g}"
        if kind is Kind.CONSTANT:
            return f"the one value {self.low:g}"
        if kind in (Kind.ONE_HOT, Kind.MULTI_LABEL):
            return f"{kind.value} of {self.columns}"
        if kind is Kind.DISTRIBUTIONS:
            return f"rows of {self.columns} that sum to 1"
        if kind is Kind.CLASS_IDS:
            return f"class ids {self.low:g} to {self.high:g}"
        return f"{kind.value} {ends}"

    def share_outside(self, low: float, high: float) -> float:
        """Estimated share of target entries below `low` or above `high`.

        Exact where the distinct values are known, else read off the quantiles, between which
        the entries are taken to be spread evenly.
        """
        if self.values and len(self.values) == len(self.counts):
            values, counts = np.asarray(self.values), np.asarray(self.counts)
            outside = (values < low - _TOLERANCE) | (values > high + _TOLERANCE)
            return float(counts[outside].sum() / counts.sum())
        if not self.quantiles:
            return float(self.low < low - _TOLERANCE or self.high > high + _TOLERANCE)
        levels = np.array([0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0])
        below = np.interp(low - _TOLERANCE, self.quantiles, levels, left=0.0)
        above = 1.0 - np.interp(high + _TOLERANCE, self.quantiles, levels, right=1.0)
        return float(below + above)

    def exceeds(self, low: float, high: float) -> bool:
        """Some entry lies outside `[low, high]` by more than rounding."""
        slack = _TOLERANCE * max(1.0, abs(low) if math.isfinite(low) else 0.0)
        return self.low < low - slack or self.high > high + slack


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A head and the labels it is judged by under a Keras loss."""

    head: Head
    labels: Labels
    family: LossFamily

    @property
    def same_rank(self) -> bool:
        """Labels and predictions have the same number of axes, as given or once Keras has added
        or dropped a last axis of one."""
        targets = self.head.targets
        missing = len(self.head.output.shape) - 1 - len(targets.shape) if targets else 0
        return missing == 0 or (missing == 1 and self.labels.one_column)

    @property
    def keras_refuses(self) -> bool:
        """Keras raises at `fit` where labels and predictions differ in width: cross-entropies
        compare shapes, the others broadcast what can be broadcast."""
        targets = self.head.targets
        return self.family in CROSS_ENTROPIES or (targets is not None and not targets.shape)

    @property
    def numbers_under_class_loss(self) -> bool:
        """The loss is made for classes and the labels are quantities."""
        kind, family = self.labels.kind, self.family
        if family not in CLASS_LOSSES:
            return False
        if self.labels.one_column and kind is Kind.WHOLE_NUMBERS:
            return not self.labels.may_be_ids
        if family is LossFamily.BINARY:
            return kind is Kind.CONTINUOUS and not self.stray_labels
        if family is LossFamily.DIVERGENCE and not self.labels.one_column:
            return kind in (Kind.CONTINUOUS, Kind.WHOLE_NUMBERS)
        return kind in (Kind.CONTINUOUS, Kind.WHOLE_NUMBERS, Kind.UNIT_INTERVAL)

    @property
    def stray_labels(self) -> bool:
        """All but a few entries lie between 0 and 1, as in resampled images."""
        return self.labels.share_outside(0.0, 1.0) <= STRAY_SHARE

    @property
    def padded(self) -> bool:
        """Ids for every position that fit the units but for a -1, as what fills a sequence up."""
        labels, units = self.labels, self.head.units or 0
        per_position = len(self.head.output.shape) > 2 and self.family is LossFamily.SPARSE
        return per_position and labels.may_be_ids and (labels.low, labels.high) == (-1, units - 1)

    @property
    def ids_under_row_loss(self) -> bool:
        """The loss compares rows with rows, and the labels hold one class id per row."""
        return (
            self.family
            in (LossFamily.CATEGORICAL, LossFamily.DIVERGENCE, LossFamily.CATEGORICAL_HINGE)
            and self.labels.one_column
            and self.labels.may_be_ids
            and self.head.units != 1
        )

    @property
    def several_classes_for_one_probability(self) -> bool:
        """Ids of three or more classes under a loss for one probability per entry."""
        return (
            self.family is LossFamily.BINARY
            and self.labels.one_column
            and self.labels.may_be_ids
            and self.labels.classes > 2
        )

    @property
    def classes_under_number_loss(self) -> bool:
        """The head has a unit per class, the labels are ids, and the loss subtracts the one from
        the other."""
        return (
            self.family in NUMBER_LOSSES
            and self.labels.one_column
            and self.labels.may_be_ids
            and self.head.units is not None
            and self.head.units > 1
            and (self.head.is_softmax or self.labels.are_classes)
        )


@dataclass(frozen=True, kw_only=True)
class LabelEncoding:
    """The heads under a Keras loss whose labels are known, each with its labels."""

    judged: tuple[Judged, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        outputs = OutputHeads.from_record(record)
        heads = [head for head in outputs.judged_by_keras() if head.targets is not None]
        if not heads:
            raise NotRecorded.of(record, "the labels", "pass y, or run with LossDoctor()")
        judged = []
        for head in heads:
            labels = classify(head)
            if labels is not None and head.family is not None:
                judged.append(Judged(head=head, labels=labels, family=head.family))
        if not judged:
            raise NotApplicable("the labels hold no numbers")
        return cls(judged=tuple(judged), setup=outputs.setup)


def classify(head: Head) -> Labels | None:
    """What the targets of `head` are; None when they hold no finite number."""
    targets = head.targets
    if targets is None or math.isnan(targets.mean):
        return None
    ignored = _ignored_class(head)
    values = np.asarray(targets.values, dtype=np.float64)
    counts = np.asarray(targets.value_counts)
    if ignored is not None and ignored in values and len(values) > 1:
        keep = values != ignored
        values, counts = values[keep], counts[keep]
    # The distinct values come from a sample, the extremes from all rows.
    low, high = targets.min, targets.max
    if ignored in (low, high) and len(values):
        low, high = float(values[0]), float(values[-1])
    distinct = len(values) or targets.distinct
    entries = int(counts.sum()) if len(counts) else targets.sampled_rows
    columns = _columns(head, targets)
    repeats = entries / max(1, distinct)
    kind = (
        _kind_of_numbers(targets, distinct, low, high, repeats)
        if columns == 1
        else _kind_of_rows(targets, distinct, low, high)
    )
    return Labels(
        kind=kind,
        columns=columns,
        rows=targets.rows,
        low=low,
        high=high,
        mean=targets.mean,
        std=targets.std,
        classes=columns if columns > 1 else distinct,
        values=tuple(float(v) for v in values),
        repeats=repeats,
        counts=tuple(int(n) for n in counts),
        column_counts=tuple(int(n) for n in targets.argmax_counts),
        quantiles=targets.quantiles,
        zero_fraction=targets.zero_fraction,
        row_sums=(
            (targets.row_sum_min, targets.row_sum_max)
            if targets.row_sum_min is not None and targets.row_sum_max is not None
            else None
        ),
        unit_for_each=targets.integral and low >= 0 and high < (head.units or 0),
    )


def _ignored_class(head: Head) -> float | None:
    value = head.loss.config.get("ignore_class")
    return None if value is None else float(value)


def _columns(head: Head, targets: TensorSummary) -> int:
    """Entries per decision: the last axis, unless the targets have one axis less than the head
    (class ids, or scalars Keras expands) or that axis has a single entry."""
    shape, head_shape = targets.shape, head.output.shape[1:]
    if not shape or shape[-1] == 1:
        return 1
    lacks_last_axis = len(shape) == len(head_shape) - 1 and all(
        a is None or b is None or a == b for a, b in zip(shape, head_shape)
    )
    one_per_position = head.family in ONE_UNIT_PER_CLASS or head_shape[-1:] == (1,)
    # Where an axis of the head has no fixed size, one-hot rows could pass for a sequence of ids.
    one_hot = targets.one_hot_fraction == 1 and shape[-1] == head.units
    return 1 if lacks_last_axis and one_per_position and not one_hot else int(shape[-1] or 1)


def _kind_of_numbers(
    targets: TensorSummary, distinct: int, low: float, high: float, repeats: float
) -> Kind:
    if distinct == 1:
        return Kind.CONSTANT
    if targets.integral and distinct == 2:
        return {(0.0, 1.0): Kind.BINARY, (-1.0, 1.0): Kind.SIGN}.get(
            (round(low, 4), round(high, 4)), Kind.TWO_VALUES
        )
    if targets.integral:
        covered = distinct / (high - low + 1)
        classes = low in (0, 1) and covered >= _SPAN_COVERED and repeats >= _REPEATS
        return Kind.CLASS_IDS if classes else Kind.WHOLE_NUMBERS
    if low >= -_TOLERANCE and high <= 1 + _TOLERANCE:
        return Kind.UNIT_INTERVAL
    # A class that went through a scaler together with the features.
    return Kind.TWO_VALUES if distinct == 2 and repeats >= _REPEATS else Kind.CONTINUOUS


def _kind_of_rows(targets: TensorSummary, distinct: int, low: float, high: float) -> Kind:
    if distinct == 1:
        return Kind.CONSTANT
    within = low >= -_TOLERANCE and high <= 1 + _TOLERANCE
    if targets.integral and within:
        # Rows of zeros mark padding and "none of these" in otherwise one-hot labels.
        if targets.row_sum_max is None:
            return Kind.ONE_HOT  # too wide to sum; the safe reading, no rule objects to it
        at_most_one = targets.row_sum_max <= 1
        some_one_hot = targets.one_hot_fraction > 0
        return Kind.ONE_HOT if at_most_one and some_one_hot else Kind.MULTI_LABEL
    if targets.integral and distinct == 2 and (low, high) == (-1.0, 1.0):
        return Kind.SIGN
    if within and _sums_to_one(targets):
        return Kind.DISTRIBUTIONS
    if targets.integral:
        return Kind.WHOLE_NUMBERS
    return Kind.UNIT_INTERVAL if within else Kind.CONTINUOUS


def _sums_to_one(targets: TensorSummary) -> bool:
    low, high = targets.row_sum_min, targets.row_sum_max
    if low is None or high is None:
        return False
    return abs(low - 1) <= _ROW_SUM_TOLERANCE and abs(high - 1) <= _ROW_SUM_TOLERANCE
