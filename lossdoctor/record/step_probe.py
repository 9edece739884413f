"""Compare weights and gradients before and after single steps.

The host does it in NumPy: to trace TensorFlow functions for it takes longer than all comparisons
of a short run together, and of a large model a sample of the entries tells as much.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lossdoctor.record.gradient_watch import GradientWatch
from lossdoctor.record.gradients import SlicesMirror
from lossdoctor.record.mirror import Mirror, peek
from lossdoctor.record.replicas import own_copy

SAMPLED_ENTRIES = 2**17
"""Models with more parameters are compared on about this many of them, evenly spread."""
_WHOLE, _FEWEST = 4096, 2048
"""Variables up to this size are compared entry by entry in models of any size; of larger ones at
least so many entries."""


@dataclasses.dataclass(kw_only=True)
class DetailSample:
    """What the comparison of the weights before and after one step gave.

    `gradient`, `weight` and `update` are norms, shape `(variables,)`; `gradient` is None until the
    ring has been read. `update` is NaN where several steps lie between the two looks.
    """

    step: int
    gradient: NDArray[Any] | None = None
    weight: NDArray[Any]
    update: NDArray[Any]
    zeros: NDArray[Any]
    curvature: float = np.nan
    curvature_norm: float = np.nan


class StepProbe:
    """Compares weights and gradients between sampled steps."""

    def __init__(self, variables: Sequence[Any], gradients: GradientWatch) -> None:
        self._variables = [own_copy(variable.value) for variable in variables]
        sizes = [math.prod(variable.shape) for variable in variables]
        stride = sum(sizes) // SAMPLED_ENTRIES | 1
        self._strides = [
            1 if size <= _WHOLE else _coprime(min(stride, size // _FEWEST), variable.shape[-1])
            for size, variable in zip(sizes, variables)
        ]
        sampled = [-(-size // stride) for size, stride in zip(sizes, self._strides)]
        self._sampled = np.array(sampled, dtype=np.int64)
        ends = list(itertools.accumulate(sampled))
        self._parts = list(zip([0, *ends], ends))
        self._shares = np.array(sizes) / np.maximum(self._sampled, 1)
        self._gradients = gradients
        self._held: list[Any] = []
        self._before = self._last_gradient = self._last_update = self._empty()
        self._last_step = -2

    def remember(self) -> None:
        """Look at the weights before a step."""
        self._before = self._look()

    def _look(self) -> NDArray[Any]:
        # While these references are held, the next step writes new weights beside the old ones.
        self._held = [peek(variable) for variable in self._variables]
        return self._gather(self._held)

    def weights_before(self) -> list[NDArray[Any]]:
        """The weights when last remembered or compared, one array a variable."""
        return [np.asarray(value) for value in self._held]

    def compare(self, step: int, *, single: bool) -> DetailSample:
        """Look at the weights and gradients after `step`; `single` says that no other step lies
        between this look and the one before."""
        gradient = self._gather(self._gradients.latest()) / self._gradients.latest_scale
        weight = self._look()
        update = weight - self._before
        sample = DetailSample(
            step=step,
            weight=self._norms(weight),
            update=self._norms(update) if single else np.full(len(self._shares), np.nan),
            zeros=self._zeros(gradient),
        )
        if single and self._last_step == step - 1:
            sample.curvature, sample.curvature_norm = self._curvature(gradient)
        self._before, self._last_gradient, self._last_update = weight, gradient, update
        self._last_step = step if single else -2
        return sample

    def _curvature(self, gradient: NDArray[Any]) -> tuple[float, float]:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            change = gradient - self._last_gradient
            moved = self._products(self._last_update, self._last_update).sum()
            along = self._products(change, self._last_update).sum()
            changed = self._products(change, change).sum()
            return float(along / moved), float(np.sqrt(changed / moved))

    def _norms(self, entries: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.sqrt(self._products(entries, entries)))

    def _products(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        """The inner product over each variable, extrapolated from its sampled entries."""
        with np.errstate(over="ignore", invalid="ignore"):
            parts = [left[a:b].dot(right[a:b]) for a, b in self._parts]
        return np.asarray(np.array(parts, dtype=np.float64) * self._shares)

    def _zeros(self, entries: NDArray[Any]) -> NDArray[Any]:
        """The share of entries of each variable that are exactly 0."""
        others = np.array([np.count_nonzero(entries[a:b]) for a, b in self._parts])
        return np.asarray(1.0 - others / np.maximum(self._sampled, 1))

    def _empty(self) -> NDArray[Any]:
        return np.zeros(self._sampled.sum(), dtype=np.float32)

    def _gather(self, sources: Sequence[Any]) -> NDArray[Any]:
        """The sampled entries of all `sources` in one vector; zeros stand for None."""
        entries = self._empty()
        for source, stride, (start, end) in zip(sources, self._strides, self._parts):
            if isinstance(source, SlicesMirror):
                source.add_to(entries[start:end], stride)
            elif source is not None:
                entries[start:end] = _entries(source, stride)
        return entries


def _entries(source: Any, stride: int) -> NDArray[Any]:
    value = source.peek() if isinstance(source, Mirror) else source
    if stride > 1 and "GPU" in getattr(value, "device", ""):
        # Only the sample travels to the host.
        return np.asarray(tf.reshape(value, [-1])[::stride])
    return np.asarray(value).reshape(-1)[::stride]


def _coprime(stride: int, width: int) -> int:
    """The first stride from `stride` on that meets every column of rows of `width` entries."""
    while math.gcd(stride, width) > 1:
        stride += 1
    return stride
