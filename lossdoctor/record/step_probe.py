"""Compare weights and gradients before and after single steps.

The host does it in NumPy: to trace TensorFlow functions for it takes longer than all comparisons
of a short run together, and of a large model a sample of the entries tells as much.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lossdoctor.record.gradients import SlicesMirror
from lossdoctor.record.mirror import Mirror, peek
from lossdoctor.record.replicas import own_copy

SAMPLED_ENTRIES = 2**19
"""Models with more parameters are compared on about this many of them, evenly spread."""
_WHOLE = 4096
"""Variables up to this size are compared entry by entry in models of any size."""


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

    def __init__(self, variables: Sequence[Any], jit: bool) -> None:
        self._variables = [own_copy(variable.value) for variable in variables]
        self._jit = jit
        sizes = [math.prod(variable.shape) for variable in variables]
        stride = sum(sizes) // SAMPLED_ENTRIES | 1
        self._strides = [
            1 if size <= _WHOLE else _coprime(stride, variable.shape[-1])
            for size, variable in zip(sizes, variables)
        ]
        self._sampled = [-(-size // stride) for size, stride in zip(sizes, self._strides)]
        self._starts = np.cumsum([0, *self._sampled])
        self._shares = np.array(sizes) / np.maximum(self._sampled, 1)
        self._gradients: list[Mirror | SlicesMirror | None] = [None] * len(variables)
        self._scale: Mirror | None = None
        self._held: list[Any] = []
        self._before = self._last_gradient = self._last_update = self._empty()
        self._last_step = -2

    def keep_gradients(self, gradients: Sequence[Any], scale: Any | None) -> None:
        """Keep the gradients and the loss scale for `compare`; runs inside the step."""
        for index, gradient in enumerate(gradients):
            if gradient is not None:
                self._gradients[index] = self._kept(self._gradients[index], gradient)
        if scale is not None:
            self._scale = self._kept(self._scale, scale)

    def _kept(self, mirror: Any, tensor: Any) -> Any:
        if mirror is None:
            sparse = isinstance(tensor, tf.IndexedSlices)
            with tf.init_scope():
                mirror = SlicesMirror(tensor) if sparse else Mirror(tensor, self._jit)
        mirror.write(tensor)
        return mirror

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
        gradient = self._gather(self._gradients)
        if self._scale is not None:
            gradient /= float(self._scale.read())
        weight = self._look()
        update = weight - self._before
        sample = DetailSample(
            step=step,
            weight=np.sqrt(self._squares(weight)),
            update=np.sqrt(self._squares(update)) if single else np.full(len(self._shares), np.nan),
            zeros=self._sums((gradient == 0).astype(np.float32)) / self._sampled,
        )
        if single and self._last_step == step - 1:
            sample.curvature, sample.curvature_norm = self._curvature(gradient)
        self._before, self._last_gradient, self._last_update = weight, gradient, update
        self._last_step = step if single else -2
        return sample

    def _curvature(self, gradient: NDArray[Any]) -> tuple[float, float]:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            change = gradient - self._last_gradient
            moved = np.dot(self._sums(np.square(self._last_update)), self._shares)
            along = np.dot(self._sums(change * self._last_update), self._shares)
            changed = np.dot(self._sums(np.square(change)), self._shares)
            return float(along / moved), float(np.sqrt(changed / moved))

    def _squares(self, entries: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(over="ignore", invalid="ignore"):
            return self._sums(np.square(entries)) * self._shares

    def _sums(self, entries: NDArray[Any]) -> NDArray[Any]:
        """The sum over the sampled entries of each variable."""
        with np.errstate(over="ignore", invalid="ignore"):
            parts = [entries[a:b].sum() for a, b in zip(self._starts, self._starts[1:])]
        return np.array(parts, dtype=np.float64)

    def _empty(self) -> NDArray[Any]:
        return np.zeros(self._starts[-1], dtype=np.float32)

    def _gather(self, sources: Sequence[Any]) -> NDArray[Any]:
        """The sampled entries of all `sources` in one vector; zeros stand for None."""
        entries = self._empty()
        for source, stride, start, end in zip(
            sources, self._strides, self._starts, self._starts[1:]
        ):
            if isinstance(source, SlicesMirror):
                source.add_to(entries[start:end], stride)
            elif source is not None:
                entries[start:end] = _entries(source, stride)
        return entries


def _entries(source: Any, stride: int) -> NDArray[Any]:
    value = source.peek() if isinstance(source, Mirror) else source
    if stride > 1:
        # On the device, so that only the sample travels to the host.
        value = tf.reshape(value, [-1])[::stride]
    return np.asarray(value).reshape(-1)


def _coprime(stride: int, width: int) -> int:
    """The first stride from `stride` on that meets every column of rows of `width` entries."""
    while math.gcd(stride, width) > 1:
        stride += 1
    return stride
