"""The standard deviation of numbers that arrive in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Spread:
    """Running moments of a series too long to be kept (Chan, Golub & LeVeque 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self._mean = self._squares = 0.0

    def add(self, values: NDArray[Any]) -> None:
        """Take in the next numbers."""
        added = len(values)
        total = self.count + added
        with np.errstate(over="ignore", invalid="ignore"):
            delta = values.mean() - self._mean
            self._squares += values.var() * added + delta**2 * self.count * added / total
            self._mean += delta * added / total
        self.count = total

    @property
    def std(self) -> float:
        """The standard deviation of all numbers so far; NaN where one was not finite."""
        return float(np.sqrt(self._squares / self.count))
