"""The latest batch of the step, for the host to look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lossdoctor.record.step_variable import StepVariable, write

_JIT_ROWS = 512
MOST_STEPS = 256
"""How many batches wait for the host at most."""


class Mirror:
    """The latest value of a tensor of the step, for the host to look at.

    In graph mode the variable takes over the tensor's buffer, whatever its shape. XLA fixes the
    shapes of variables, so under `jit_compile` the tensor is copied, and of an unknown number of
    rows the first ones.
    """

    def __init__(self, tensor: Any, jit: bool) -> None:
        shape = tensor.shape
        counts = jit and shape.rank and shape[0] is None
        self._length = StepVariable(np.int32(0)) if counts else None
        self._kept = [_JIT_ROWS if n is None else n for n in shape]
        self._value = (
            StepVariable(tf.zeros(self._kept, tensor.dtype))
            if jit
            else StepVariable(dtype=tensor.dtype, shape=tf.TensorShape(None))
        )

    def write(self, tensor: Any) -> None:
        """Remember `tensor`; runs inside the step."""
        if self._length is not None:
            rows = self._kept[0]
            length = tf.shape(tensor)[0]
            padding = [[0, tf.maximum(rows - length, 0)]] + [[0, 0]] * (tensor.shape.rank - 1)
            write(self._length.handle, length)
            tensor = tf.ensure_shape(tf.pad(tensor[:rows], padding), self._kept)
        write(self._value.handle, tensor)

    def peek(self) -> Any:
        """The latest value, on the device."""
        value = self._value.peek()
        return value if self._length is None else value[: int(self._length.peek())]

    def read(self) -> NDArray[Any]:
        """The latest value, read-only: on a CPU it is the tensor's own memory."""
        return np.asarray(self.peek())

    def rows(self, value: NDArray[Any]) -> int:
        """How many rows the tensor had of which `value` was read, kept or not."""
        return len(value) if self._length is None else int(self._length.peek())


class Backlog:
    """The batches of all steps between two looks of the host (`steps_per_execution`), in a queue
    that takes over their buffers. XLA knows no queues."""

    def __init__(self, steps: int, leaves: Sequence[Any]) -> None:
        self._open = tf.Variable(True, trainable=False)
        self._capacity = min(steps, MOST_STEPS)
        with tf.device("CPU:0"):
            self._queue = tf.queue.FIFOQueue(self._capacity, [leaf.dtype for leaf in leaves])

    def write(self, leaves: Sequence[Any]) -> None:
        """Append the batch of the running step; runs inside the step."""
        wanted = tf.logical_and(self._open, self._queue.size() < self._capacity)
        tf.cond(wanted, lambda: self._queue.enqueue(leaves), tf.no_op)

    def read(self) -> list[list[NDArray[Any]]]:
        """The batches since the last call."""
        batches = [self._queue.dequeue() for _ in range(int(self._queue.size()))]
        return [[leaf.numpy() for leaf in keras.tree.flatten(batch)] for batch in batches]

    def close(self) -> None:
        """Take in no more."""
        self._open.assign(False)


@dataclasses.dataclass(kw_only=True)
class BatchMirror:
    """The latest batch of one side of the data, leaves in the order of `keras.tree.flatten`."""

    inputs: list[Mirror | None]
    targets: list[Mirror | None]
    weight: Mirror | None
    structure: Any
    backlog: Backlog | None = None

    @classmethod
    def of(cls, x: Any, y: Any, weight: Any, jit: bool, steps: int) -> BatchMirror:
        """The mirror of batches like this one, `steps` of them between two looks of the host."""
        with tf.init_scope():
            mirror = cls(
                inputs=[_mirror(leaf, jit) for leaf in keras.tree.flatten(x)],
                targets=[_mirror(leaf, jit) for leaf in keras.tree.flatten(y)],
                weight=None if weight is None else _mirror(keras.tree.flatten(weight)[0], jit),
                structure=keras.tree.map_structure(lambda _: None, x),
            )
            seen = [leaf for _, leaf in mirror._mirrored(x, y, weight)]
            if steps > 1 and seen and not jit:
                mirror.backlog = Backlog(steps, seen)
        return mirror

    def _mirrored(self, x: Any, y: Any, weight: Any) -> list[tuple[Mirror, Any]]:
        """Each mirror with what it shows of a batch."""
        leaves = [*keras.tree.flatten(x), *keras.tree.flatten(y)]
        pairs = list(zip([*self.inputs, *self.targets], leaves))
        if weight is not None:
            pairs.append((self.weight, keras.tree.flatten(weight)[0]))
        return [(mirror, leaf) for mirror, leaf in pairs if mirror is not None]

    def write(self, x: Any, y: Any, weight: Any) -> None:
        """Remember a batch; runs inside the step."""
        mirrored = self._mirrored(x, y, weight)
        for mirror, leaf in mirrored:
            mirror.write(leaf)
        if self.backlog is not None:
            self.backlog.write([leaf for _, leaf in mirrored])

    def unread(self) -> Iterator[tuple[int, list[NDArray[Any]]]]:
        """The batches since the last call, or the latest one: how many rows they have, and what is
        known of their inputs, targets and sample weights."""
        if self.backlog is not None:
            yield from ((len(batch[0]), batch) for batch in self.backlog.read())
            return
        seen = [m for m in (*self.inputs, *self.targets, self.weight) if m is not None]
        batch = [mirror.read() for mirror in seen]
        yield seen[0].rows(batch[0]) if seen else 0, batch

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
