"""Rows of numbers that travel from inside the step to the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


class Ring:
    """Rows of numbers written inside the step, read by the host once in a while."""

    def __init__(self, rows: int, width: int) -> None:
        self.rows = rows
        self._values = tf.Variable(np.zeros([rows, width], np.float32), trainable=False)
        self._count = tf.Variable(np.int64(0), trainable=False)
        self._read = 0

    def write(self, row: Any, number: Any) -> None:
        """Append one row, whose `number` it is; runs inside the step."""
        self._values.scatter_update(tf.IndexedSlices(row, number % self.rows))
        # The step that finds a dataset of unknown length exhausted computes no row.
        with tf.control_dependencies([row]):
            self._count.assign_add(1, read_value=False)

    @property
    def number(self) -> Any:
        """The number of the next row; runs inside the step."""
        return self._count.read_value()

    @property
    def written(self) -> int:
        """How many rows have been written so far."""
        return int(self._count.numpy())

    def drain(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return `(row numbers, rows)` written since the last call, the oldest possibly lost."""
        count = self.written
        first = max(self._read, count - self.rows)
        numbers = np.arange(first, count)
        self._read = count
        return numbers, self._values.numpy()[numbers % self.rows].astype(np.float64)
