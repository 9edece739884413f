"""Gradients as the step computes them: dense, or the rows of a table that the batch looked up."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lossdoctor.record.mirror import Mirror
from lossdoctor.record.replicas import replicas


def beside(gradient: Any, jit: bool) -> Any:
    """`gradient`, computed beside the one the optimizer uses; sparse ones stay sparse.

    XLA fixes shapes and replicas add what they computed: there it is dense in any case.
    """
    if not isinstance(gradient, tf.IndexedSlices) or jit or replicas() > 1:
        return _apart(tf.convert_to_tensor(gradient))
    return tf.IndexedSlices(_apart(gradient.values), gradient.indices, gradient.dense_shape)


def loss_scale(optimizer: Any) -> Any | None:
    """What `optimizer` multiplied the loss of the running step by; None where nothing."""
    if skips_steps(optimizer):
        # The first trace of a step comes before the optimizer is built.
        scale = optimizer.dynamic_scale if optimizer.built else optimizer.initial_scale
    else:
        scale = getattr(optimizer, "loss_scale_factor", None)
    return None if scale is None else tf.cast(tf.convert_to_tensor(scale), tf.float32)


def skips_steps(optimizer: Any) -> bool:
    """Whether `optimizer` leaves out steps whose gradients are not finite, to lower its scale."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def entries(gradient: Any) -> Any:
    """The entries of `gradient` that can be other than 0, each of them once."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, positions = tf.unique(gradient.indices)
    return tf.math.unsorted_segment_sum(gradient.values, positions, tf.size(rows))


class SlicesMirror:
    """The latest value of a sparse gradient, for the host to look at."""

    def __init__(self, gradient: tf.IndexedSlices) -> None:
        self._values = Mirror(gradient.values, jit=False)
        self._indices = Mirror(gradient.indices, jit=False)

    def write(self, gradient: tf.IndexedSlices) -> None:
        """Remember `gradient`; runs inside the step."""
        self._values.write(gradient.values)
        self._indices.write(gradient.indices)

    def add_to(self, entries: NDArray[Any], stride: int) -> None:
        """Add each `stride`-th entry of the dense gradient, flat, to `entries`."""
        values, rows = self._values.read(), self._indices.read()
        values = values.reshape(len(rows), -1)
        places = rows[:, np.newaxis].astype(np.int64) * values.shape[1] + np.arange(values.shape[1])
        sampled = places % stride == 0
        np.add.at(entries, places[sampled] // stride, values[sampled].astype(entries.dtype))


def _apart(tensor: Any) -> Any:
    """The same values as `tensor`, computed beside it where it is a product.

    TensorFlow reorders a chain of multiplications (gradient times rate, say) only while nobody
    else reads its inner products, and another order rounds differently: reading a gradient that
    is a product would change training in the last bit. `MulNoNan` is a product the optimizer of
    the graph does not merge with it.
    """
    if not tf.is_symbolic_tensor(tensor) or tensor.op.type not in ("Mul", "Identity"):
        return tensor
    parts = [_apart(part) for part in tensor.op.inputs]
    return parts[0] if len(parts) == 1 else tf.raw_ops.MulNoNan(x=parts[0], y=parts[1])
