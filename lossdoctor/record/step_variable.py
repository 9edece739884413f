"""Variables of the recorder inside the step."""

from __future__ import annotations

import collections
import functools
import itertools
import weakref
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.eager import context
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

_NUMBERS = itertools.count()
_UNUSED: collections.defaultdict[Any, list[str]] = collections.defaultdict(list)
"""Names to be used again: TensorFlow keeps some 40 kB for each it has ever been told."""


class StepVariable:
    """A variable that the step looks up by its name.

    A function is passed each variable it captures in each call, which takes about 1 µs a variable,
    four times as long as looking it up (TensorFlow 2.21): small steps take 200 µs. XLA knows no
    names, and on several devices a name alone does not tell where to look.

    Args:
        value: Its first value; None leaves that to the step.
        dtype: The dtype of its values, where there is no first one.
        shape: The shape of its values where that is not the first one's; `tf.TensorShape(None)` for
            any.
    """

    def __init__(self, value: Any = None, dtype: Any = None, shape: Any = None) -> None:
        if value is not None:
            value = tf.convert_to_tensor(value)
        self.dtype = dtype if value is None else value.dtype
        self._place = {"dtype": self.dtype, "shape": value.shape if shape is None else shape}
        unused = _UNUSED[str(self._place)]
        self._place["shared_name"] = unused.pop() if unused else f"lossdoctor_{next(_NUMBERS)}"
        weakref.finalize(self, _destroy, self._place, unused).atexit = False
        if value is not None:
            self.assign(value)

    @functools.cached_property
    def _handle(self) -> Any:
        with tf.init_scope():
            return tf.raw_ops.VarHandleOp(**self._place)

    # Inside the step -----------------------------------------------------------------------

    @property
    def handle(self) -> Any:
        """The resource, for operations of the step: of several that read and write it all use the
        same handle, by which TensorFlow keeps their order."""
        named = len(tf.config.list_logical_devices()) == 1 and not GraphOrParentsInXlaContext(
            tf.compat.v1.get_default_graph()
        )
        if tf.executing_eagerly() or not named:
            return self._handle
        return tf.raw_ops.VarHandleOp(**self._place)

    # On the host ---------------------------------------------------------------------------

    def assign(self, value: Any) -> None:
        """Set the value."""
        write(self._handle, value)

    def peek(self) -> Any:
        """The value, on the device."""
        return read(self._handle, self.dtype)

    def rows(self, numbers: Any) -> NDArray[Any]:
        """Some rows of the value."""
        rows = tf.raw_ops.ResourceGather(resource=self._handle, indices=numbers, dtype=self.dtype)
        return np.asarray(rows)


def read(handle: Any, dtype: Any) -> Any:
    """The value of a variable, three times as fast as its `read_value`."""
    return tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)


def write(handle: Any, value: Any) -> None:
    """Set the value of a variable, which takes over the tensor's buffer."""
    tf.raw_ops.AssignVariableOp(resource=handle, value=value)


def _destroy(place: dict[str, Any], unused: list[str]) -> None:
    # Garbage may be collected while a function is being traced.
    with context.eager_mode():
        handle = tf.raw_ops.VarHandleOp(**place)
        tf.raw_ops.DestroyResourceOp(resource=handle, ignore_lookup_error=True)
    unused.append(place["shared_name"])
