"""Which units of a layer get a gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lossdoctor.record.gradients import entries
from lossdoctor.record.step_variable import StepVariable

_UNIT_LAYERS = {"Dense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2D", "SeparableConv2D"}


@dataclasses.dataclass(kw_only=True)
class UnitWatch:
    """Which trainable variable tells for each unit of a layer whether it got a gradient."""

    layer: str
    variable: int
    units: int
    per_unit: bool
    """Whether the variable has one entry per unit (a bias); else one column per unit (a kernel)."""

    def touched(self, gradient: Any | None) -> Any:
        """How much of `gradient` fell on each unit, shape `(units,)`, 0 exactly where none did;
        runs inside the step."""
        if gradient is None:
            return tf.zeros([self.units])
        gradient = tf.cast(tf.convert_to_tensor(gradient), tf.float32)
        if self.per_unit:
            return gradient
        return tf.reduce_sum(tf.abs(tf.reshape(gradient, [-1, self.units])), axis=0)


class UnitTally:
    """Sees in every step which units got a gradient.

    What a small step costs is the number of its operations, not their size: gradients with one
    axis (of biases, scales, offsets) are put end to end and handled as one vector.
    """

    def __init__(self, units: Sequence[UnitWatch]) -> None:
        self.units = units
        self._touched: StepVariable | None = None
        self._places: list[int] = []

    def see(self, gradients: Sequence[Any]) -> Any:
        """Look at the gradients of a step, one or None a variable; tells whether those looked at
        are finite. Runs inside the step."""
        parts, starts, end = [], {}, 0
        for i, gradient in enumerate(gradients):
            if _has_one_axis(gradient):
                parts.append(tf.cast(gradient, tf.float32))
                starts[i] = end
                end += int(gradient.shape[0])
        places = []
        for unit in self.units:
            if unit.per_unit and unit.variable in starts:
                places.append(starts[unit.variable])
            else:
                parts.append(unit.touched(gradients[unit.variable]))
                places.append(end)
                end += unit.units
        if not parts:
            # What is not finite spreads: the first variable's gradient is computed last.
            first = next((gradient for gradient in gradients if gradient is not None), 0.0)
            return tf.math.is_finite(tf.cast(tf.reduce_sum(entries(first)), tf.float32))
        touched = tf.abs(parts[0] if len(parts) == 1 else tf.concat(parts, 0))
        if self.units:
            if self._touched is None:
                with tf.init_scope():
                    self._touched = StepVariable(np.zeros(end, np.float32))
            tf.raw_ops.AssignAddVariableOp(resource=self._touched.handle, value=touched)
            self._places = places
        return tf.math.is_finite(tf.reduce_sum(touched))

    def dead(self) -> NDArray[Any] | None:
        """Share of each layer's units that no gradient reached since the last call."""
        if self._touched is None:
            return None
        dead = np.asarray(self._touched.peek()) == 0
        self._touched.assign(np.zeros(dead.shape, np.float32))
        return np.array([dead[a : a + u.units].mean() for a, u in zip(self._places, self.units)])


def _has_one_axis(gradient: Any) -> bool:
    sparse = isinstance(gradient, tf.IndexedSlices)
    return gradient is not None and not sparse and bool(gradient.shape.rank == 1)


def watched_units(model: keras.Model, variables: Sequence[Any]) -> list[UnitWatch]:
    """Every layer of `model` whose units can be told apart by the gradient of one variable."""
    index = {id(v): i for i, v in enumerate(variables)}
    found = []
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if not any(cls.__name__ in _UNIT_LAYERS for cls in type(layer).__mro__):
            continue
        kernel = getattr(layer, "kernel", None)
        bias = getattr(layer, "bias", None)
        if bias is not None and id(bias) in index and len(bias.shape) == 1:
            found.append((layer, bias, True))
        elif kernel is not None and id(kernel) in index:
            found.append((layer, kernel, False))
    return [
        UnitWatch(
            layer=layer.name,
            variable=index[id(variable)],
            units=int(variable.shape[-1]),
            per_unit=per_unit,
        )
        for layer, variable, per_unit in found
    ]
