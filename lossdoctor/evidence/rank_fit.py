"""Whether targets and predictions have axes that belong to each other."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.output_head import CROSS_ENTROPIES, Head, LossFamily, OutputHeads
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LayerRecord, MetricRecord, RunRecord, TensorSummary

Shape = tuple[int | None, ...]


class RankFault(enum.Enum):
    """In which way the axes of targets and predictions disagree."""

    MORE_OUTPUT_AXES = "the head answers for positions the targets do not have"
    FEWER_OUTPUT_AXES = "the head answers once where the targets hold a class for each position"
    OTHER_AXES = "targets and predictions have different positions"
    ALL_PAIRS = "a column of predictions against a plain list of targets"


@dataclass(frozen=True, kw_only=True)
class RankMismatch:
    """One output whose axes disagree with its targets.

    `sequence_layer` is the last recurrent layer, where it returns a whole sequence and should not,
    or the reverse. `raises` says that Keras refuses to fit; otherwise the smaller array is repeated
    along the missing axes.
    """

    head: Head
    fault: RankFault
    target_shape: Shape
    output_shape: Shape
    sequence_layer: LayerRecord | None
    raises: bool


@dataclass(frozen=True, kw_only=True)
class AllPairsStep:
    """A step of the user's own that compares targets `(n,)` with predictions `(n, 1)`.

    `method` is the one of the model's that the user wrote.
    """

    method: str
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        if not setup.model.compares_all_pairs:
            raise NotApplicable("no step of your own compares targets with all predictions")
        method = "train_step" if setup.model.custom_train_step else "compute_loss"
        return cls(method=method, setup=setup)


@dataclass(frozen=True, kw_only=True)
class RankFit:
    """What broadcasts, or does not fit, between targets and predictions."""

    mismatches: tuple[RankMismatch, ...]
    all_pairs_metrics: tuple[tuple[MetricRecord, Head], ...]
    """The user's own metrics that see targets `(n,)` beside predictions `(n, 1)`."""
    validation: tuple[tuple[Head, Shape, Shape], ...]
    """Heads whose validation targets have another shape than their training targets, and both."""
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        outputs = OutputHeads.from_record(record)
        pairs = [(head, head.targets) for head in outputs.heads if head.targets is not None]
        if not pairs:
            raise NotRecorded.of(record, "the labels", "pass y, or run with LossDoctor()")
        found = [_mismatch(head, targets, outputs.setup) for head, targets in pairs]
        metrics = [
            (metric, head)
            for metric in outputs.setup.metrics
            for head, targets in pairs
            if metric.output == head.index and not metric.aligns_ranks and _all_pairs(head, targets)
        ]
        return cls(
            mismatches=tuple(m for m in found if m is not None),
            all_pairs_metrics=tuple(metrics),
            validation=tuple(_unlike_training(pairs, record)),
            setup=outputs.setup,
        )


def _unlike_training(
    pairs: list[tuple[Head, TensorSummary]], record: RunRecord
) -> Iterator[tuple[Head, Shape, Shape]]:
    if record.validation is None or len(record.validation.targets) <= max(
        h.index for h, _ in pairs
    ):
        return
    for head, targets in pairs:
        other = record.validation.targets[head.index].shape
        if _columns(targets.shape) != _columns(other) and not _same(targets.shape, other):
            yield head, targets.shape, other


def _columns(shape: Shape) -> Shape:
    return shape[:-1] if shape[-1:] == (1,) else shape


def _mismatch(head: Head, targets: TensorSummary, setup: Setup) -> RankMismatch | None:
    fault = _fault(head, targets)
    if fault is None:
        return None
    one_number = targets.shape in ((), (1,)) and head.units == 1
    return RankMismatch(
        head=head,
        fault=fault,
        target_shape=targets.shape,
        output_shape=head.output.shape[1:],
        sequence_layer=_sequence_layer(setup, fault is not RankFault.FEWER_OUTPUT_AXES),
        raises=head.family in CROSS_ENTROPIES or not one_number,
    )


def _fault(head: Head, targets: TensorSummary) -> RankFault | None:
    shape, answer = targets.shape, head.output.shape[1:]
    if not head.loss.aligns_ranks and _all_pairs(head, targets):
        return RankFault.ALL_PAIRS
    if len(shape) <= 1 and len(answer) <= 1:
        return RankFault.FEWER_OUTPUT_AXES if _class_per_position(head, targets) else None
    whole_rows = targets.one_hot_fraction == 1 and shape[-1:] == answer[-1:]
    one_per_position = _same(shape, answer[:-1]) and not whole_rows
    row_per_position = bool(shape) and _same(shape[:-1], answer[:-1])
    # Keras drops a last axis of size 1 that only the targets have.
    squeezed = head.loss.aligns_ranks and shape[-1:] == (1,) and _same(shape[:-1], answer)
    if one_per_position or row_per_position or squeezed:
        return None
    if len(answer) > len(shape) or head.family is LossFamily.SPARSE:
        return RankFault.MORE_OUTPUT_AXES
    return RankFault.OTHER_AXES


def _class_per_position(head: Head, targets: TensorSummary) -> bool:
    """Ids of more than two classes in a row are no one-hot and no multi-label row."""
    several = targets.shape not in ((), (1,))
    return head.family is LossFamily.SPARSE and several and targets.integral and targets.max > 1


def _all_pairs(head: Head, targets: TensorSummary) -> bool:
    return targets.shape == () and head.output.shape[1:] == (1,)


def _same(one: Shape, other: Shape) -> bool:
    return len(one) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(one, other)
    )


def _sequence_layer(setup: Setup, returns: bool) -> LayerRecord | None:
    recurrent = [layer for layer in setup.model.layers if "return_sequences" in layer.config]
    last = recurrent[-1] if recurrent else None
    return last if last is not None and bool(last.config["return_sequences"]) is returns else None
