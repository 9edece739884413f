"""Whether findings of probability p are right in a share p of all cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True, kw_only=True)
class Bin:
    """The findings whose probability lies between two tenths.

    `said` is their mean probability, `true` the share that names a root cause.
    """

    low: float
    high: float
    findings: int
    said: float
    true: float


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Probabilities (N,) that were stated, and whether each came true (N,)."""

    probability: NDArray[np.float64]
    came_true: NDArray[np.bool_]

    @classmethod
    def of(cls, claims: Iterable[tuple[float, bool]]) -> Reliability:
        """From pairs of a probability and whether it came true."""
        pairs: Sequence[tuple[float, bool]] = tuple(claims)
        return cls(
            probability=np.array([probability for probability, _ in pairs], dtype=np.float64),
            came_true=np.array([true for _, true in pairs], dtype=bool),
        )

    def __len__(self) -> int:
        return len(self.probability)

    @property
    def bins(self) -> tuple[Bin, ...]:
        """The tenths that hold any findings, from the lowest."""
        tenth = np.minimum((self.probability * BINS).astype(int), BINS - 1)
        return tuple(
            Bin(
                low=number / BINS,
                high=(number + 1) / BINS,
                findings=int(inside.sum()),
                said=float(self.probability[inside].mean()),
                true=float(self.came_true[inside].mean()),
            )
            for number in range(BINS)
            if (inside := tenth == number).any()
        )

    @property
    def error(self) -> float:
        """The expected calibration error: |said - true|, averaged over findings by tenths."""
        return sum(b.findings * abs(b.said - b.true) for b in self.bins) / max(len(self), 1)
