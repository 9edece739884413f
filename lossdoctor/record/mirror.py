"""The latest batch of the step, for the host to look at."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from lossdoctor.record.stream import DataStream


class Mirror:
    """The latest value of a tensor of the step, for the host to look at.

    In graph mode the variable takes over the tensor's buffer, whatever its shape. XLA fixes the
    shapes of variables, so under `jit_compile` the first rows are copied into a fixed buffer.
    """

    def __init__(self, tensor: Any, jit: bool) -> None:
        self._rows = (tensor.shape[0] or 512) if jit else None
        shape = tensor.shape[1:]
        if self._rows is None:
            self._value = tf.Variable(
                tf.zeros([0] * tensor.shape.rank, tensor.dtype),
                shape=tf.TensorShape(None),
                trainable=False,
            )
        else:
            self._value = tf.Variable(tf.zeros([self._rows, *shape], tensor.dtype), trainable=False)
            self._length = tf.Variable(0, trainable=False)

    def write(self, tensor: Any) -> None:
        """Remember `tensor`; runs inside the step."""
        if self._rows is None:
            self._value.assign(tensor)
            return
        kept = tensor[: self._rows]
        length = tf.shape(kept)[0]
        padding = [[0, self._rows - length]] + [[0, 0]] * (tensor.shape.rank - 1)
        self._value.assign(tf.ensure_shape(tf.pad(kept, padding), self._value.shape))
        self._length.assign(length)

    def read(self) -> NDArray[Any]:
        """The latest value."""
        value: NDArray[Any] = self._value.numpy()
        return value if self._rows is None else value[: int(self._length.numpy())]


@dataclasses.dataclass(kw_only=True)
class BatchMirror:
    """The latest batch of one side of the data, leaves in the order of `keras.tree.flatten`."""

    inputs: list[Mirror | None]
    targets: list[Mirror | None]
    weight: Mirror | None
    structure: Any

    @classmethod
    def of(cls, x: Any, y: Any, weight: Any, jit: bool) -> BatchMirror:
        with tf.init_scope():
            return cls(
                inputs=[_mirror(leaf, jit) for leaf in keras.tree.flatten(x)],
                targets=[_mirror(leaf, jit) for leaf in keras.tree.flatten(y)],
                weight=None if weight is None else _mirror(keras.tree.flatten(weight)[0], jit),
                structure=keras.tree.map_structure(lambda _: None, x),
            )

    def write(self, x: Any, y: Any, weight: Any) -> None:
        leaves = [*keras.tree.flatten(x), *keras.tree.flatten(y)]
        for mirror, leaf in zip([*self.inputs, *self.targets], leaves):
            if mirror is not None:
                mirror.write(leaf)
        if self.weight is not None and weight is not None:
            self.weight.write(keras.tree.flatten(weight)[0])

    def stream(self, into: DataStream) -> None:
        """Read the batch into `into`."""
        into.update(
            [m.read() for m in self.inputs if m is not None],
            [m.read() for m in self.targets if m is not None],
            None if self.weight is None else self.weight.read(),
        )

    @property
    def complete(self) -> bool:
        """Whether every input could be mirrored, so that the model can be called on samples."""
        return bool(self.inputs) and all(mirror is not None for mirror in self.inputs)


def _mirror(leaf: Any, jit: bool) -> Mirror | None:
    usable = tf.is_tensor(leaf) and not isinstance(leaf, (tf.RaggedTensor, tf.SparseTensor))
    if not usable or leaf.shape.rank in (None, 0) or leaf.dtype == tf.string:
        return None
    if jit and None in leaf.shape[1:]:
        return None
    return Mirror(leaf, jit)
