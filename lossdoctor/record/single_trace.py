"""A first step that TensorFlow traces once.

What creates variables while it is traced, TensorFlow traces again from the start. Keras creates
those of its optimizer and metrics in the first step; created outside it, they make the first epoch
of deep models shorter than it is without the recorder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from lossdoctor.record.replicas import replicas


def traceable_once(model: keras.Model) -> bool:
    """Whether a step of the built `model` is the same traced for the first or the second time.

    What a user's layer or loss does to Python's state while it is traced, such as drawing from
    NumPy, it does twice in Keras; and loss scaling multiplies by a constant while its optimizer has
    no variables.
    """
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        return False
    losses, metrics = (
        getattr(model, "_compile_loss", None),
        getattr(model, "_compile_metrics", None),
    )
    compiled = [
        getattr(losses, "_user_loss", None),
        getattr(metrics, "_user_metrics", None),
        getattr(metrics, "_user_weighted_metrics", None),
    ]
    operations = [*model._flatten_layers(), *getattr(model, "operations", ())]
    return all(
        value is None or isinstance(value, str) or _is_kerass(value)
        for part in (*operations, model.optimizer, *keras.tree.flatten(compiled))
        for value in (part, *filter(callable, getattr(part, "__dict__", {}).values()))
    )


def _is_kerass(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).startswith(("keras.", "tensorflow."))


@contextlib.contextmanager
def variables_outside() -> Iterator[None]:
    """Create variables outside the function that is being traced."""
    if not tf.inside_function() or replicas() > 1:
        yield
        return
    with tf.variable_creator_scope(_create_outside):
        yield


def _create_outside(create: Callable[..., Any], **described: Any) -> Any:
    if not callable(described.get("initial_value")):
        return create(**described)
    with tf.init_scope():
        return create(**described | {"experimental_enable_variable_lifting": False})
