"""Compare weights and gradients before and after single steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

_GRADIENT_SAMPLE = 2**18
_EAGER = type(tf.constant(0.0))


@dataclasses.dataclass(kw_only=True)
class DetailSample:
    """What the comparison of the weights before and after one step gave."""

    step: int
    gradient: NDArray[Any] | None
    weight: NDArray[Any]
    update: NDArray[Any]
    zeros: NDArray[Any]
    curvature: float
    curvature_norm: float


class StepProbe:
    """Compares weights and gradients between sampled steps, on the device."""

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = variables
        self._sizes = [int(np.prod(v.shape)) for v in variables]
        share = min(1.0, _GRADIENT_SAMPLE / max(1, sum(self._sizes)))
        self._sampled = [max(1, int(size * share)) for size in self._sizes]
        total, sampled = sum(self._sizes), sum(self._sampled)
        self._before = tf.Variable(tf.zeros([total]), trainable=False)
        self.gradients = tf.Variable(tf.zeros([sampled]), trainable=False)
        self._last_gradients = tf.Variable(tf.zeros([sampled]), trainable=False)
        self._last_update = tf.Variable(tf.zeros([sampled]), trainable=False)
        # Concrete functions: a new probe for every fit is no retracing TensorFlow need warn of.
        self.remember = tf.function(self._remember, autograph=False).get_concrete_function()
        self.compare = tf.function(self._compare, autograph=False).get_concrete_function()

    def weights_before(self) -> list[NDArray[Any]]:
        """The weights when last remembered or compared, one array a variable."""
        parts = np.split(self._before.numpy(), np.cumsum(self._sizes)[:-1])
        return [part.reshape(v.shape) for part, v in zip(parts, self._variables)]

    def keep_gradients(self, gradients: Sequence[Any], scale: Any) -> None:
        """Keep (a sample of) the gradients, divided by the loss scale; runs inside the step."""
        parts = []
        for gradient, size, sampled in zip(gradients, self._sizes, self._sampled):
            if gradient is None:
                parts.append(tf.zeros([sampled]))
                continue
            flat = tf.cast(tf.reshape(gradient, [-1]), tf.float32)
            parts.append(flat if sampled == size else flat[:sampled])
        self.gradients.assign(tf.concat(parts, 0) / scale)

    def _flat_weights(self) -> Any:
        return tf.concat(
            [tf.cast(tf.reshape(v.value, [-1]), tf.float32) for v in self._variables], 0
        )

    def _remember(self) -> None:
        self._before.assign(self._flat_weights())

    def _compare(self) -> tuple[Any, ...]:
        weights = self._flat_weights()
        update = weights - self._before
        self._before.assign(weights)
        updates = tf.split(update, self._sizes)
        sampled = tf.concat([u[:n] for u, n in zip(updates, self._sampled)], 0)
        change = self.gradients - self._last_gradients
        squared = tf.reduce_sum(tf.square(self._last_update))
        curvature = tf.reduce_sum(change * self._last_update) / squared
        curvature_norm = tf.norm(change) / tf.sqrt(squared)
        self._last_gradients.assign(self.gradients)
        self._last_update.assign(sampled)
        return (
            tf.stack([tf.nn.l2_loss(w) for w in tf.split(weights, self._sizes)]),
            tf.stack([tf.nn.l2_loss(u) for u in updates]),
            tf.stack([tf.math.zero_fraction(g) for g in tf.split(self.gradients, self._sampled)]),
            curvature,
            curvature_norm,
        )


def apart(tensor: Any) -> Any:
    """The same values as `tensor`, computed beside it where it is a product.

    TensorFlow reorders a chain of multiplications (gradient times rate, say) only while nobody
    else reads its inner products, and another order rounds differently: reading a gradient that
    is a product would change training in the last bit. `MulNoNan` is a product the optimizer of
    the graph does not merge with it.
    """
    operation = getattr(tensor, "op", None) if not isinstance(tensor, _EAGER) else None
    if operation is None or operation.type not in ("Mul", "Identity"):
        return tensor
    parts = [apart(part) for part in operation.inputs]
    return parts[0] if len(parts) == 1 else tf.raw_ops.MulNoNan(x=parts[0], y=parts[1])
