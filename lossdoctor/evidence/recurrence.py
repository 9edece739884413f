"""Recurrent layers and what keeps their state in bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LayerRecord, RunRecord

_CELLS = {"LSTM", "GRU", "SimpleRNN"}
_UNBOUNDED = {"relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "exponential"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One recurrent layer; `time_steps` is None where sequences vary in length."""

    layer: LayerRecord
    time_steps: int | None

    @property
    def is_bounded(self) -> bool:
        """The activation is bounded, or the start is the identity, which keeps the norm."""
        identity = any(
            weight.name == "recurrent_kernel" and "Identity" in (weight.initializer or "")
            for weight in self.layer.weights
        )
        return identity or self.layer.activation not in _UNBOUNDED


@dataclass(frozen=True, kw_only=True)
class Recurrence:
    """The recurrent layers of the model."""

    cells: tuple[Cell, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        cells = tuple(
            Cell(layer=layer, time_steps=_time_steps(layer))
            for layer in setup.model.layers
            if layer.class_name in _CELLS and not layer.custom
        )
        if not cells:
            raise NotApplicable("the model has no recurrent layer")
        return cls(cells=cells, setup=setup)

    @property
    def unbounded(self) -> tuple[Cell, ...]:
        """Those whose state can grow without limit."""
        return tuple(cell for cell in self.cells if not cell.is_bounded)


def _time_steps(layer: LayerRecord) -> int | None:
    shape = layer.input_shape
    return shape[1] if shape is not None and len(shape) > 2 else None
