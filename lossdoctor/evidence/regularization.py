"""How strongly penalties pull weights and outputs to zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotApplicable
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LayerRecord, RunRecord, WeightRecord

_START, _END = 1, 8
_FEWEST_SAMPLES = 16


@dataclass(frozen=True, kw_only=True)
class Penalized:
    """One penalized kernel.

    `remaining` is its norm at the end of the run ÷ its norm at the start (None without a run).
    """

    layer: LayerRecord
    weight: WeightRecord
    remaining: float | None

    @property
    def strength(self) -> float:
        """The larger factor of its L1 and L2 penalties."""
        return max(self.weight.l1, self.weight.l2)


@dataclass(frozen=True, kw_only=True)
class PenalizedOutput:
    """One layer whose outputs are penalized (`activity_regularizer`).

    `remaining` is the root mean square of its outputs after training ÷ that of what it reads (None
    without a run).
    """

    layer: LayerRecord
    remaining: float | None


@dataclass(frozen=True, kw_only=True)
class Regularization:
    """Every penalized kernel, and every layer with penalized outputs."""

    kernels: tuple[Penalized, ...]
    outputs: tuple[PenalizedOutput, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        kernels = tuple(
            Penalized(layer=layer, weight=weight, remaining=_remaining(record, weight.path))
            for layer in setup.model.layers
            for weight in layer.weights
            if weight.trainable and len(weight.shape) >= 2 and (weight.l1 > 0 or weight.l2 > 0)
        )
        outputs = tuple(
            PenalizedOutput(layer=layer, remaining=_passed_on(record, layer))
            for layer in setup.model.layers
            if layer.config.get("activity_regularizer")
        )
        if not kernels and not outputs:
            raise NotApplicable("no trainable kernel and no output carries a penalty")
        return cls(kernels=kernels, outputs=outputs, setup=setup)


def _remaining(record: RunRecord, path: str) -> float | None:
    series = record.variables
    if series is None or path not in series.paths or len(series.step) < _FEWEST_SAMPLES:
        return None
    norms = np.asarray(series.weight_norm, dtype=np.float64)[:, series.paths.index(path)]
    norms = norms[np.isfinite(norms)]
    if len(norms) < _FEWEST_SAMPLES or norms[:_START].mean() <= 0:
        return None
    return float(norms[-_END:].mean() / norms[:_START].mean())


def _passed_on(record: RunRecord, layer: LayerRecord) -> float | None:
    sizes = {found.layer: math.hypot(found.mean, found.std) for found in record.activations}
    size = sizes.get(layer.name)
    read = _size_read(record, layer, sizes)
    return size / read if size is not None and read else None


def _size_read(record: RunRecord, layer: LayerRecord, sizes: dict[str, float]) -> float | None:
    """Root mean square of the outputs of the nearest measured layer before `layer`, or of the
    inputs where there is none."""
    layers = record.model.layers if record.model else ()
    before = next((layers[i] for i in layer.inbound), None)
    while before is not None and before.name not in sizes:
        before = next((layers[i] for i in before.inbound), None)
    if before is not None:
        return sizes[before.name]
    inputs = record.train.inputs if record.train else ()
    return math.hypot(inputs[0].mean, inputs[0].std) if inputs else None
