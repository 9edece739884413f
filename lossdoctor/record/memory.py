"""How far back in time the answers of a recurrent model depend on what it read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lossdoctor.record.measure import untouched
from lossdoctor.record.probes import probe_data
from lossdoctor.record.run import ModelRecord

_CELLS = frozenset({"LSTM", "GRU", "SimpleRNN"})
_ROWS = 32
_FAINT = 1e-3
"""A step whose gradient is this faint beside the strongest one's is out of reach: the limit of
`VanishingGradients.norm_ratio`, in time instead of depth."""


def probe_memory(
    model: keras.Model,
    record: ModelRecord,
    inputs: Sequence[NDArray[Any] | None],
    targets: Sequence[NDArray[Any] | None],
) -> dict[str, float]:
    """Measure which steps reach the answers of a model with a single input, and what they tell.

    Returns:
        `memory` (how many of the last steps are within reach), `memory_steps` (of how many) and,
        where not all of them are, `memory_signal`: the best out-of-fold R² of simple models on
        those alone. `{}` where no recurrent layer reads the steps in their order.
    """
    if len(inputs) != 1 or inputs[0] is None or inputs[0].ndim not in (2, 3):
        return {}
    strength = _strength(model, record, inputs[0])
    if strength is None or not np.isfinite(strength).all() or strength.max() == 0:
        return {}
    steps = inputs[0].shape[1]
    reached = int(np.argmax(strength >= _FAINT * strength.max()))
    within = steps - steps * reached // len(strength)
    found = {"memory": float(within), "memory_steps": float(steps)}
    if within < steps:
        signals = probe_data([inputs[0][:, -within:]], targets)
        known = [value for name, value in signals.items() if name.endswith("signal")]
        found |= {"memory_signal": max(known)} if known else {}
    return found


def _strength(
    model: keras.Model, record: ModelRecord, inputs: NDArray[Any]
) -> NDArray[np.float64] | None:
    """Root mean square gradient (steps,) of the answers by the first recurrent layer's input."""
    cell = next((layer for layer in record.layers if layer.class_name in _CELLS), None)
    graph = getattr(model, "_functional", None) or model
    if cell is None or "wrapper" in cell.config or cell.config.get("go_backwards"):
        return None
    if not record.graph_known or not hasattr(graph, "operations"):
        return None
    read_by = keras.tree.flatten(graph.get_layer(cell.name).input)  # the sequence, and its mask
    below = keras.Function(list(graph.inputs), read_by, name="lossdoctor_below")
    above = keras.Function(read_by, list(graph.outputs), name="lossdoctor_above")
    with untouched(model):
        read = below([keras.ops.convert_to_tensor(inputs[:_ROWS])])
        with tf.GradientTape() as tape:
            tape.watch(read[0])
            answers = [tf.cast(answer, tf.float32) for answer in above(read)]
            # A fixed direction: the plain sum of a softmax does not depend on anything.
            random = np.random.default_rng(0)
            directions = [random.normal(size=a.shape[1:]).astype(np.float32) for a in answers]
            total = tf.add_n([tf.reduce_sum(a * d) for a, d in zip(answers, directions)])
        gradient = np.asarray(tape.gradient(total, read[0]), dtype=np.float64)
    return np.asarray(np.sqrt(np.mean(np.square(gradient), axis=(0, 2))))
