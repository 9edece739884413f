"""Which units of a layer get a gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

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
