"""How far each step moves the weights of each layer, against their size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence._owners import in_order, owners, weights_by_path
from lossdoctor.evidence._sound import sound_rows
from lossdoctor.record.run import NO_GRADIENT, RunRecord, WeightRecord

Floats = NDArray[np.float64]

FEWEST_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class UpdateRatio:
    """Update, weight and gradient norm per layer at the sampled finite steps; matrices are (S, L).

    `weight` is the norm after the step, but at least what Glorot's rule would give the layer's
    kernels, so that a layer set to zero has a scale to be measured against. `disconnected` are the
    layers none of whose variables has a gradient; `zero_kernels` those whose kernels began at zero.
    """

    layers: tuple[str, ...]
    step: NDArray[np.int64]
    update: Floats
    weight: Floats
    gradient: Floats
    parameters: NDArray[np.int64]
    disconnected: tuple[str, ...]
    zero_kernels: tuple[str, ...]
    rate_is_zero: bool
    """Whether the learning rate was 0 at every step."""

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        series = record.variables
        if series is None or not len(series.step):
            raise NotRecorded.of(record, "gradient norms", "run with LossDoctor()")
        measured = ~np.isnan(np.asarray(series.update_norm, dtype=np.float64)).all(axis=1)
        if not measured.any():
            raise NotRecorded.of(record, "update norms", "train with steps_per_execution=1")
        rows = sound_rows(record) & measured
        if rows.sum() < FEWEST_STEPS:
            raise NotApplicable(f"fewer than {FEWEST_STEPS} sampled steps were finite")
        names = np.asarray(owners(record, series))
        layers = in_order(names, series.depth)
        connected = np.asarray(series.connected, dtype=bool)
        sizes = np.asarray(series.sizes, dtype=np.int64)
        weights = weights_by_path(record)

        def per_layer(matrix: NDArray[np.float64]) -> Floats:
            squares = np.square(np.nan_to_num(np.asarray(matrix, dtype=np.float64)[rows]))
            sums = [squares[:, names == layer].sum(axis=1) for layer in layers]
            return np.asarray(np.sqrt(np.stack(sums, axis=1)), dtype=np.float64)

        kernels = {
            layer: [
                weights[path]
                for path, owner in zip(series.paths, names)
                if owner == layer and path in weights and len(weights[path].shape) >= 2
            ]
            for layer in layers
        }
        floor = np.array([_glorot_norm(kernels[layer]) for layer in layers])
        return cls(
            layers=layers,
            step=np.asarray(series.step, dtype=np.int64)[rows],
            update=per_layer(series.update_norm),
            weight=np.maximum(per_layer(series.weight_norm), floor),
            gradient=per_layer(series.gradient_norm),
            parameters=np.array([sizes[names == layer].sum() for layer in layers]),
            disconnected=tuple(layer for layer in layers if not connected[names == layer].any()),
            zero_kernels=tuple(
                layer
                for layer in layers
                if kernels[layer] and all(kernel.abs_max == 0 for kernel in kernels[layer])
            ),
            rate_is_zero=_rate_is_zero(record),
        )

    @cached_property
    def ratio(self) -> Floats:
        """Update norm over weight norm (S, L)."""
        with np.errstate(all="ignore"):
            return np.where(self.weight > 0, self.update / self.weight, np.nan)

    def typical(self, layer: str) -> float:
        """The median update ratio of `layer` over the run; NaN where it is not known."""
        column = self.ratio[:, self.layers.index(layer)] if layer in self.layers else np.empty(0)
        known = column[~np.isnan(column)]
        return float(np.median(known)) if len(known) else np.nan

    @cached_property
    def unmoved(self) -> tuple[str, ...]:
        """Layers no sampled step moved, although they are part of what the loss depends on."""
        farthest = self.update.max(axis=0)
        return tuple(
            layer
            for layer, distance in zip(self.layers, farthest)
            if distance == 0 and layer not in self.disconnected
        )

    def without_gradient(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `layers` whose gradient was exactly zero at every sampled step."""
        largest = dict(zip(self.layers, self.gradient.max(axis=0)))
        return tuple(layer for layer in layers if largest[layer] == 0)

    def share_of_parameters(self, layers: tuple[str, ...]) -> float:
        """Which share of the trainable parameters `layers` hold."""
        held = sum(int(self.parameters[self.layers.index(layer)]) for layer in layers)
        return held / max(1, int(self.parameters.sum()))

    @cached_property
    def largest(self) -> float:
        """The largest update ratio of any layer at any sampled step; NaN where none is known."""
        known = self.ratio[np.isfinite(self.ratio)]
        return float(known.max()) if len(known) else np.nan


@dataclass(frozen=True, kw_only=True)
class NoGradients:
    """The trainable layers of a model none of whose variables the loss has a gradient for, which
    Keras refuses to train."""

    layers: tuple[str, ...]

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        series = record.variables
        if record.model and NO_GRADIENT in record.not_recorded.get("the rehearsal", ""):
            trained = (x for x in record.model.layers if any(w.trainable for w in x.weights))
            return cls(layers=tuple(layer.name for layer in trained))
        if series is None:
            raise NotRecorded.of(record, "gradient norms", "run with LossDoctor()")
        if not series.connected:
            raise NotApplicable("no weight is trainable")
        if any(series.connected):
            raise NotApplicable("the loss has gradients")
        names = np.asarray(owners(record, series))
        return cls(layers=in_order(names, series.depth))


def _rate_is_zero(record: RunRecord) -> bool:
    rates = np.asarray(record.steps.learning_rate if record.steps else (), dtype=np.float64)
    return bool(len(rates)) and bool(np.all(rates == 0))


def _glorot_norm(kernels: list[WeightRecord]) -> float:
    variance = 0.0
    for kernel in kernels:
        size = float(np.prod(kernel.shape))
        fan_in, fan_out = size / kernel.shape[-1], float(kernel.shape[-1])
        variance += size * 2.0 / (fan_in + fan_out)
    return float(np.sqrt(variance))
