"""Sequences filled up with one value, and the recurrent layers that read the filling last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.architecture import NORMALIZATION, RANDOM, Architecture
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LayerRecord, RunRecord, TensorSummary

_CELLS = frozenset({"LSTM", "GRU", "SimpleRNN"})
_MASKS = frozenset({"Any", "NotEqual"})  # how a mask is made in the graph of operations
_KEEPS_STEPS = (
    _CELLS | NORMALIZATION | RANDOM | {"Embedding", "Masking", "Dense", "Activation", "ReLU"}
)


@dataclass(frozen=True, kw_only=True)
class PaddedRead:
    """A recurrent layer that returns its last state, after steps that are padding.

    `embedding` is the one that reads the input, if there is one, `mask` one that hides another
    value than the padding. `steps` is how many padded steps stand between the end of an example
    and the last state, on average, `value` what they hold.
    """

    cell: LayerRecord
    embedding: LayerRecord | None
    mask: LayerRecord | None
    steps: float
    value: float


@dataclass(frozen=True, kw_only=True)
class Padding:
    """Every last state that is read off behind padding which no mask hides."""

    reads: tuple[PaddedRead, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        architecture = Architecture.from_record(record)
        setup = architecture.setup
        cells = [
            index
            for index, layer in enumerate(setup.model.layers)
            if layer.class_name in _CELLS
            and not layer.custom
            and "wrapper" not in layer.config
            and not layer.config.get("return_sequences")
            and not layer.config.get("go_backwards")
        ]
        if not cells:
            raise NotApplicable("no recurrent layer returns its last state")
        if record.train is None or not record.train.inputs:
            how = "pass x= to check_config, or run with LossDoctor()"
            raise NotRecorded.of(record, "the inputs", how)
        reads = (_read(setup, index, record.train.inputs) for index in cells)
        return cls(reads=tuple(read for read in reads if read is not None), setup=setup)


def _read(setup: Setup, cell: int, inputs: tuple[TensorSummary, ...]) -> PaddedRead | None:
    layers, index, embedding, mask = setup.model.layers, cell, None, None
    while index not in setup.model.inputs:
        layer = layers[index]
        below = [i for i in layer.inbound if layers[i].class_name not in _MASKS]
        if layer.custom or layer.class_name not in _KEEPS_STEPS or len(below) != 1:
            return None
        if layer.class_name == "Embedding":
            if layer.config.get("mask_zero"):
                return None
            embedding = layer
        mask = layer if layer.class_name == "Masking" else mask
        index = below[0]
    number = setup.model.inputs.index(index)
    if number >= len(inputs):
        return None
    steps, value = _padding(inputs[number])
    if mask is not None and mask.config.get("mask_value", 0.0) == value:
        return None
    return PaddedRead(cell=layers[cell], embedding=embedding, mask=mask, steps=steps, value=value)


def _padding(summary: TensorSummary) -> tuple[float, float]:
    """How many steps at the end of an example are filled up, and with what."""
    if summary.filler is not None and summary.trailing_fill > summary.trailing_zeros:
        return summary.trailing_fill, summary.filler
    return summary.trailing_zeros, 0.0
