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
        self._values = tf.Variable(tf.zeros([rows, width]), trainable=False)
        self._count = tf.Variable(tf.zeros([], tf.int64), trainable=False)
        self._read = 0

    def write(self, row: Any) -> None:
        """Append one row; runs inside the step."""
        slot = tf.reshape(self._count % self.rows, [1, 1])
        self._values.scatter_nd_update(slot, row[tf.newaxis])
        self._count.assign_add(1)

    @property
    def empty(self) -> bool:
        """Whether nothing has been written yet."""
        return int(self._count.numpy()) == 0

    def drain(self, limit: float = np.inf) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return `(row numbers below limit, rows)` written since the last call, the oldest
        possibly lost."""
        count = int(min(self._count.numpy(), limit))
        first = max(self._read, count - self.rows)
        numbers = np.arange(first, count)
        self._read = count
        return numbers, self._values.numpy()[numbers % self.rows].astype(np.float64)
