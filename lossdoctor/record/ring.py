"""Rows of numbers that travel from inside the step to the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lossdoctor.record.step_variable import StepVariable, read


class Ring:
    """Rows of numbers written inside the step, read by the host once in a while."""

    def __init__(self, rows: int, width: int) -> None:
        self.rows = rows
        self._values = StepVariable(np.zeros([rows, width], np.float32))
        self._count = StepVariable(np.int64(0))
        self._read = 0

    def write(self, row: Any) -> Any:
        """Append one row, and return its number; runs inside the step."""
        count = self._count.handle
        number = read(count, tf.int64)
        tf.raw_ops.ResourceScatterUpdate(
            resource=self._values.handle, indices=number % self.rows, updates=row
        )
        # The step that finds a dataset of unknown length exhausted computes no row.
        with tf.control_dependencies([row]):
            tf.raw_ops.AssignAddVariableOp(resource=count, value=tf.constant(1, tf.int64))
        return number

    @property
    def written(self) -> int:
        """How many rows have been written so far."""
        return int(self._count.peek())

    def drain(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return `(row numbers, rows)` written since the last call, the oldest possibly lost."""
        count = self.written
        numbers = np.arange(max(self._read, count - self.rows), count)
        self._read = count
        return numbers, self._values.rows(numbers % self.rows).astype(np.float64)
