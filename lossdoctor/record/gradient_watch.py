"""What the step shows of its gradients: their norms, the units they reach, their entries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lossdoctor.record.gradients import SlicesMirror, entries
from lossdoctor.record.mirror import Mirror
from lossdoctor.record.unit_watch import UnitWatch

Kept = Mirror | SlicesMirror


class GradientWatch:
    """Sees the gradients of every step.

    What a small step costs is the number of its operations, not their size: gradients with one
    axis (of biases, scales, offsets) are put end to end and handled as one vector.
    """

    def __init__(self, variables: Sequence[Any], units: Sequence[UnitWatch], jit: bool) -> None:
        self.units = units
        self.connected: list[bool] = []
        """Which variables got a gradient at all; empty until a step has shown some."""
        self._jit = jit
        self._sizes = [math.prod(variable.shape) for variable in variables]
        self._alone: list[int] = []
        self._together: list[int] = []
        self._kept: dict[int, Kept] = {}
        self._vector: Mirror | None = None
        # An optimizer builds its loss scale while the step is traced: too late to make a variable.
        self._scale = Mirror(tf.constant(1.0), jit)
        self._scaled = False
        self._touched: Any = None
        self._places: list[int] = []

    # Inside the step -----------------------------------------------------------------------

    def see(self, gradients: Sequence[Any], scale: Any | None) -> tuple[list[Any], Any]:
        """Look at the gradients of a step, one or None a variable, and at its loss scale. Returns
        numbers, and a vector of more, for `norms` to read."""
        self.connected = [gradient is not None for gradient in gradients]
        self._together = [i for i, g in enumerate(gradients) if _has_one_axis(g)]
        self._alone = [i for i in range(len(gradients)) if i not in self._together]
        for i in self._alone:
            if gradients[i] is not None:
                self._kept[i] = self._keep(self._kept.get(i), gradients[i])
        if scale is not None:
            self._scaled = True
            self._scale.write(scale)
        vector = self._end_to_end(gradients)
        if self.units:
            self._touch(gradients, vector)
        return [_half_square(gradients[i]) for i in self._alone], self._squares(vector)

    def _keep(self, kept: Any, tensor: Any) -> Any:
        if kept is None:
            sparse = isinstance(tensor, tf.IndexedSlices)
            with tf.init_scope():
                kept = SlicesMirror(tensor) if sparse else Mirror(tensor, self._jit)
        kept.write(tensor)
        return kept

    def _end_to_end(self, gradients: Sequence[Any]) -> Any:
        if not self._together:
            return tf.zeros([0])
        vector = tf.concat([tf.cast(gradients[i], tf.float32) for i in self._together], 0)
        self._vector = self._keep(self._vector, vector)
        return vector

    def _squares(self, vector: Any) -> Any:
        owner = np.repeat(range(len(self._together)), [self._sizes[i] for i in self._together])
        return tf.math.unsorted_segment_sum(tf.square(vector), owner, len(self._together))

    def _touch(self, gradients: Sequence[Any], vector: Any) -> None:
        starts = np.cumsum([0] + [self._sizes[i] for i in self._together])
        start = dict(zip(self._together, starts.tolist()))
        parts, end, self._places = [vector], int(starts[-1]), []
        for unit in self.units:
            if unit.per_unit and unit.variable in start:
                self._places.append(start[unit.variable])
            else:
                self._places.append(end)
                parts.append(unit.touched(gradients[unit.variable]))
                end += unit.units
        if self._touched is None:
            with tf.init_scope():
                self._touched = tf.Variable(np.zeros(end, np.float32), trainable=False)
        touched = vector if len(parts) == 1 else tf.concat(parts, 0)
        self._touched.assign_add(tf.abs(touched), read_value=False)

    # On the host ---------------------------------------------------------------------------

    def norms(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The norms of all gradients, shape `(rows, variables)`, from what `see` returned for each
        of `rows`, end to end; NaN for variables without any."""
        norms = np.full((len(rows), len(self._sizes)), np.nan)
        if self.connected:
            factors = np.repeat([2.0, 1.0], [len(self._alone), len(self._together)])
            with np.errstate(over="ignore", invalid="ignore"):
                norms[:, self._alone + self._together] = np.sqrt(factors * rows)
        return norms

    def latest(self) -> list[Kept | NDArray[Any] | None]:
        """The latest gradient of each variable, still scaled by `latest_scale`."""
        found: list[Any] = [self._kept.get(i) for i in range(len(self._sizes))]
        if self._vector is not None:
            ends = np.cumsum([self._sizes[i] for i in self._together])
            for i, part in zip(self._together, np.split(self._vector.read(), ends[:-1])):
                found[i] = part
        return found

    @property
    def latest_scale(self) -> float:
        """The loss scale of the latest step; 1 without loss scaling."""
        return float(self._scale.read()) if self._scaled else 1.0

    def dead_units(self) -> NDArray[Any] | None:
        """Share of each layer's units that no gradient reached since the last call."""
        if self._touched is None:
            return None
        dead = self._touched.numpy() == 0
        self._touched.assign(np.zeros(dead.shape, np.float32))
        return np.array([dead[a : a + u.units].mean() for a, u in zip(self._places, self.units)])


def _has_one_axis(gradient: Any) -> bool:
    sparse = isinstance(gradient, tf.IndexedSlices)
    return gradient is not None and not sparse and bool(gradient.shape.rank == 1)


def _half_square(gradient: Any | None) -> Any:
    if gradient is None:
        return tf.constant(np.nan)
    return tf.nn.l2_loss(tf.cast(entries(gradient), tf.float32))
