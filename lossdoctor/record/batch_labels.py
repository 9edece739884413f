"""How unlike each other the batches are in what classes they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_CLASSES, _MOST_BATCHES = 100, 256
_FEWEST_BATCHES, _FEWEST_ROWS = 8, 4
_SPREADS = 6.0


class BatchLabels:
    """Counts the classes of batches of a single target; quantities are left alone."""

    def __init__(self) -> None:
        self._batches: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._classes = True

    def update(self, targets: Sequence[NDArray[Any]]) -> None:
        """Take in the targets of the next batch."""
        if not self._classes or len(self._batches) >= _MOST_BATCHES:
            return
        labels = _labels(targets)
        self._classes = labels is not None
        if labels is not None and len(labels) >= _FEWEST_ROWS:
            self._batches.append(np.unique(labels, return_counts=True))

    def correlation(self) -> float | None:
        """The correlation of two examples of a batch in their class: 0 where batches are drawn at
        random, 1 where each holds a single class.

        Kish (1965): examples drawn in clusters of n vary 1 + (n - 1)·ρ times as much as single
        ones, which is χ² of batches against classes ÷ its degrees of freedom. 0 where that lies
        within the chance of shuffled rows; None where there are no classes or too few batches.
        """
        if not self._classes or len(self._batches) < _FEWEST_BATCHES:
            return None
        classes = np.unique(np.concatenate([found for found, _ in self._batches]))
        if not 2 <= len(classes) <= _MOST_CLASSES:
            return None
        counts = np.zeros((len(self._batches), len(classes)))
        for row, (found, numbers) in zip(counts, self._batches):
            row[np.searchsorted(classes, found)] = numbers
        rows = counts.sum(axis=1, keepdims=True)
        expected = rows * counts.sum(axis=0) / counts.sum()
        freedom = (len(counts) - 1) * (len(classes) - 1)
        effect = float((np.square(counts - expected) / expected).sum() / freedom)
        beyond = effect - 1 > _SPREADS * np.sqrt(2 / freedom)
        return min(1.0, (effect - 1) / (float(rows.mean()) - 1)) if beyond else 0.0


def _labels(targets: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
    """The class of each row; None for anything but class ids and one-hot rows."""
    if len(targets) != 1 or targets[0].dtype.kind not in "biuf" or not len(targets[0]):
        return None
    rows = targets[0].reshape(len(targets[0]), -1)
    if rows.shape[1] > 1:
        one_hot = rows.shape[1] <= _MOST_CLASSES and bool((rows.sum(axis=1) == 1).all())
        return rows.argmax(axis=1) if one_hot and np.isin(rows, (0, 1)).all() else None
    return rows[:, 0] if np.all(rows == np.floor(rows)) else None
