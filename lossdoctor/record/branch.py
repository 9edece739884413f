"""What a step does now and then only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from lossdoctor.record.replicas import replicas

_PLAIN: dict[str, Any] = {
    "autograph": False,
    # TensorFlow's graph optimizer passes these by: it takes longer than it saves.
    "experimental_attributes": {"_tf_data_function": True},
}


class Branch:
    """A part of the step that costs one operation where it is not taken.

    Args:
        function: The part; returns nothing.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        # TensorFlow traces a first step twice; these it traces once for both.
        self._taken = tf.function(function, **_PLAIN)
        self._idle = tf.function(lambda *tensors: None, **_PLAIN)

    def take_unless(self, calm: Any, *given: Any) -> None:
        """Call the function with `given`, nested tensors or None, unless `calm`; runs inside the
        step.

        `tf.cond` spreads its branches over the step, an operation an input in every step, and
        lets TensorFlow's rewriting look from one into the other. `If` is one operation, but of one
        device: beside a GPU, what has no kernel there would end the training, and replicas wait for
        each other while a function is traced.
        """
        if not tf.is_symbolic_tensor(calm):
            if not calm:
                self._function(*given)
            return
        if replicas() > 1 or tf.config.list_logical_devices("GPU"):
            tf.cond(calm, lambda: None, lambda: self._function(*given))
            return
        taken = self._taken.get_concrete_function(*given)
        idle = self._idle.get_concrete_function(*map(_spec, taken.inputs))
        leaves: Sequence[Any] = tf.nest.flatten(given, expand_composites=True)
        inputs = [leaf for leaf in leaves if leaf is not None] + taken.captured_inputs
        tf.raw_ops.If(cond=calm, input=inputs, Tout=[], then_branch=idle, else_branch=taken)


def _spec(tensor: Any) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, tensor.dtype)
