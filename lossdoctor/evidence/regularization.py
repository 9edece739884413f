"""How strongly penalties pull the weights to zero."""

from __future__ import annotations

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
class Regularization:
    """Every penalized kernel."""

    kernels: tuple[Penalized, ...]
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
        if not kernels:
            raise NotApplicable("no trainable kernel carries an L1 or L2 penalty")
        return cls(kernels=kernels, setup=setup)


def _remaining(record: RunRecord, path: str) -> float | None:
    series = record.variables
    if series is None or path not in series.paths or len(series.step) < _FEWEST_SAMPLES:
        return None
    norms = np.asarray(series.weight_norm, dtype=np.float64)[:, series.paths.index(path)]
    norms = norms[np.isfinite(norms)]
    if len(norms) < _FEWEST_SAMPLES or norms[:_START].mean() <= 0:
        return None
    return float(norms[-_END:].mean() / norms[:_START].mean())
