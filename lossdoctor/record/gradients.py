"""Gradients as the step computes them: dense, or the rows of a table that the batch looked up."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

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


def sampled_entries(values: Any | None, stride: int, count: int) -> Any:
    """Each `stride`-th of the entries of `values`, `count` in all; zeros for None."""
    if values is None:
        return tf.zeros([count])
    if not isinstance(values, tf.IndexedSlices):
        flat = values if values.shape.rank == 1 else tf.reshape(values, [-1])
        return tf.cast(flat if stride == 1 else flat[::stride], tf.float32)
    rows = tf.cast(values.indices, tf.int64)[:, tf.newaxis]
    width = math.prod(values.values.shape[1:])
    places = rows * width + tf.range(width, dtype=tf.int64)
    sampled = places % stride == 0
    found = tf.cast(tf.reshape(values.values, [-1, width])[sampled], tf.float32)
    return tf.math.unsorted_segment_sum(found, places[sampled] // stride, count)


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
