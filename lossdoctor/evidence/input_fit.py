"""Whether the data have the shape the model reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import DataRecord, LayerRecord, RunRecord, TensorSummary

Shape = tuple[int | None, ...]

_AXES = {
    "Embedding": 1,
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "Bidirectional", "RNN", "TimeDistributed"), 2),
    **dict.fromkeys(("Conv1D", "SeparableConv1D", "MaxPooling1D", "AveragePooling1D"), 2),
    **dict.fromkeys(("Conv2D", "SeparableConv2D", "DepthwiseConv2D", "ConvLSTM1D"), 3),
    **dict.fromkeys(("MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D"), 3),
    **dict.fromkeys(("Conv3D", "ConvLSTM2D"), 4),
}
"""How many axes one example has for a layer that reads it first, in a model without an Input."""


@dataclass(frozen=True, kw_only=True)
class InputMismatch:
    """One input whose examples do not have the shape the model reads.

    Attributes:
        name: "x", "x[1]", "validation x", ...
        given: Shape of one example as it came.
        wanted: Shape of one example the model reads; None for an axis of any size.
        unbatched: Each item of the data is a single example: its first axis was taken for the
            examples.
        reader: The layer that reads it, where the model has no Input of its own.
    """

    name: str
    given: Shape
    wanted: Shape
    unbatched: bool
    reader: LayerRecord | None
    validation: bool

    @property
    def reordered(self) -> tuple[int, ...] | None:
        """The axes of the data (0 is that of the examples) in the order that fits, if one does."""
        if len(self.given) != len(self.wanted) or None in self.wanted:
            return None
        count = len(self.given)
        for turn in range(1, count):
            order = (*range(turn, count), *range(turn))
            if tuple(self.given[axis] for axis in order) == self.wanted:
                return (0, *(axis + 1 for axis in order))
        return None

    @property
    def reshaped(self) -> tuple[int, ...] | None:
        """The shape of one example that fits and has as many entries, if there is one."""
        entries = math.prod(size or 0 for size in self.given)
        known = math.prod(size for size in self.wanted if size is not None)
        unknown = self.wanted.count(None)
        if not entries or len(self.given) == len(self.wanted):
            return None
        if unknown == 0 and known == entries:
            return tuple(size or 0 for size in self.wanted)
        if unknown == 1 and known and entries % known == 0:
            return tuple(entries // known if size is None else size for size in self.wanted)
        return None


@dataclass(frozen=True, kw_only=True)
class InputFit:
    """What of the data does not fit the model's inputs, as far as no step has taken it in.

    `given` and `wanted` are the numbers of inputs of the data and of the model.
    """

    mismatches: tuple[InputMismatch, ...]
    given: int
    wanted: int
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        train = record.train
        if train is None or not train.inputs:
            how = "pass x= to check_config, or run with LossDoctor()"
            raise NotRecorded.of(record, "the inputs", how)
        wanted, reader = _wanted(setup)
        if not wanted:
            raise NotApplicable("the model does not declare the shape of its inputs")
        taken = bool(train.initial_predictions or (record.steps and record.steps.total_steps))
        found = [] if taken else list(_misfits(train, wanted, reader, validation=False))
        if record.validation and not found:
            found += _unlike(record.validation, train, wanted, reader)
        return cls(
            mismatches=tuple(found),
            given=len(wanted) if taken else len(train.inputs),
            wanted=len(wanted),
            setup=setup,
        )


def _wanted(setup: Setup) -> tuple[list[Shape], LayerRecord | None]:
    model = setup.model
    shapes = [model.layers[index].output_shape for index in model.inputs]
    if shapes and None not in shapes:
        return [shape[1:] for shape in shapes if shape is not None], None
    first = model.layers[0] if model.layers and model.kind == "sequential" else None
    axes = _AXES.get(first.class_name) if first else None
    return ([(None,) * axes], first) if axes else ([], None)


def _misfits(
    data: DataRecord, wanted: list[Shape], reader: LayerRecord | None, *, validation: bool
) -> Iterator[InputMismatch]:
    if len(data.inputs) != len(wanted):
        return
    for summary, shape in zip(data.inputs, wanted):
        # A dict of inputs may come in another order than the model's: any that fits will do.
        if not any(_fits(summary.shape, other) for other in wanted):
            yield InputMismatch(
                name=f"validation {summary.name}" if validation else summary.name,
                given=summary.shape,
                wanted=shape,
                unbatched=_is_unbatched(summary, data, shape),
                reader=reader,
                validation=validation,
            )


def _unlike(
    validation: DataRecord, train: DataRecord, wanted: list[Shape], reader: LayerRecord | None
) -> list[InputMismatch]:
    """What validation has of another shape than training, which is known to fit."""
    same = [summary.shape for summary in train.inputs]
    if [summary.shape for summary in validation.inputs] == same:
        return []
    return list(_misfits(validation, wanted, reader, validation=True))


def _fits(given: Shape, wanted: Shape) -> bool:
    """Whether the shapes agree, after Keras adds or drops a last axis of size 1."""
    if len(given) == len(wanted) + 1 and given[-1] == 1:
        given = given[:-1]
    elif len(given) == len(wanted) - 1 and wanted[-1] == 1:
        given = (*given, 1)
    return len(given) == len(wanted) and all(
        size is None or other is None or size == other for size, other in zip(given, wanted)
    )


def _is_unbatched(summary: TensorSummary, data: DataRecord, wanted: Shape) -> bool:
    return bool(wanted) and summary.shape == wanted[1:] and wanted[0] == data.batch_size
