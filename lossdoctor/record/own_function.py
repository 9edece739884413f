"""A `train_step` that its author made a `tf.function`: what records it must run inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def traced_by(function: Any) -> Callable[..., Any] | None:
    """What a `tf.function` calls while it is traced; None if `function` is none of that kind."""
    if not all(hasattr(function, name) for name in ("python_function", "_autograph", "_clone")):
        return None
    traced: Callable[..., Any] = function.python_function
    if function._autograph:
        context = tf.__internal__.autograph.control_status_ctx()
        return tf.__internal__.autograph.tf_convert(traced, context)  # type: ignore[no-any-return]
    return traced


def tracing(function: Any, other: Callable[..., Any]) -> Callable[..., Any]:
    """The `tf.function` with all its options, calling `other` while it is traced."""
    copy: Callable[..., Any] = function._clone(tf.autograph.experimental.do_not_convert(other))
    return copy
