"""Look closely at some steps from inside them: gradients, weights, updates, the data's sums.

A step in which nobody looks pays for one operation. All numbers of a look go into one row of a
ring, which the host reads once in a while.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lossdoctor.record.branch import Branch
from lossdoctor.record.gradients import entries, sampled_entries
from lossdoctor.record.mirror import Mirror
from lossdoctor.record.replicas import own_copy
from lossdoctor.record.ring import Ring
from lossdoctor.record.step_variable import StepVariable, read, write

DENSE_STEPS = 32
"""Every step up to this one is looked at."""
BURST = 3
"""So many steps in a row tell the update of the last two, and the curvature along one."""
JUMP = 3.0
"""A batch whose loss is this many times that of the batch last looked at is looked at, too."""
SAMPLED_ENTRIES = 2**15
"""Models with more parameters are compared on about this many of them, evenly spread."""
_WHOLE, _FEWEST = 1024, 512
"""Variables up to this size are compared entry by entry in models of any size; of larger ones at
least so many entries."""
_BLOCK = 32
_RING_ENTRIES, _MOST_ROWS = 2**19, 4096


@dataclasses.dataclass(kw_only=True)
class Look:
    """What a look at one step gave.

    `data` are the sums of inputs, targets and predictions, finite exactly when all they add up is.
    `gradient`, `weight` and `update` are norms, shape `(variables,)`, `zeros` shares of the
    gradients' entries. Variables that are not `connected` have no gradient: it is NaN. `follows`:
    the step before was looked at, too; else `update` is NaN. The curvature is NaN unless the two
    before were.
    """

    step: int
    data: NDArray[Any]
    connected: NDArray[Any]
    gradient: NDArray[Any]
    weight: NDArray[Any]
    update: NDArray[Any]
    zeros: NDArray[Any]
    follows: bool
    curvature: float = math.nan
    curvature_norm: float = math.nan

    @property
    def finite(self) -> NDArray[Any]:
        """Whether inputs, targets, predictions and all gradients are."""
        gradients = np.isfinite(self.gradient) | ~self.connected
        return np.append(np.isfinite(self.data), gradients.all())

    @property
    def norm(self) -> float:
        """The norm of all gradients together; NaN where there are none."""
        if not self.connected.any():
            return math.nan
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.sqrt(np.square(self.gradient[self.connected]).sum()))


class StepProbe:
    """Looks at steps on request, and where the loss jumps or a number is not finite.

    Args:
        variables: What is trained.
        jit: Whether XLA compiles the step.
    """

    def __init__(self, variables: Sequence[Any], jit: bool) -> None:
        self._variables = [own_copy(variable.value) for variable in variables]
        sizes = [math.prod(variable.shape) for variable in variables]
        stride = sum(sizes) // SAMPLED_ENTRIES | 1
        self._strides = [
            1 if size <= _WHOLE else _coprime(min(stride, size // _FEWEST), variable.shape[-1])
            for size, variable in zip(sizes, variables)
        ]
        sampled = [-(-size // stride) for size, stride in zip(sizes, self._strides)]
        self._sampled = np.array(sampled, dtype=np.int64)
        self._shares = np.array(sizes) / np.maximum(self._sampled, 1)
        self._connected: list[bool] = []
        # Sums over rows of a matrix are vectorized, those over segments of a vector are not.
        rows = -(-self._sampled // _BLOCK)
        self._owner = tf.constant(np.repeat(np.arange(len(sizes), dtype=np.int32), rows))
        self._padding = rows * _BLOCK - self._sampled
        # Sampled entries of gradients, weights and updates at the last look.
        self._last_seen = StepVariable(np.zeros([3, rows.sum(), _BLOCK], np.float32))
        self._until = StepVariable(np.int64(DENSE_STEPS))
        # Above which loss to look: every loss is above NaN; -infinity asks for a burst.
        self._limit, self._asking = StepVariable(np.float32(np.nan)), tf.constant(-np.inf)
        width = 6 + 6 * len(sizes)
        self._ring = Ring(int(np.clip(_RING_ENTRIES // width, 64, _MOST_ROWS)), width)
        self._kept, self._kept_at = [Mirror(v, jit) for v in variables], StepVariable(np.int64(0))
        self._first: list[Any] | None = None
        self._looking, self._keeping = Branch(self._look), Branch(self._keep)
        self._known = -1
        self._last: Look | None = None

    # On the host, between steps ------------------------------------------------------------

    def start(self) -> None:
        """Note the weights before the first step."""
        self._first = self._current()
        # In NumPy: each kind of operation costs TensorFlow a while when first called.
        parts = []
        for value, stride, padding in zip(self._first, self._strides, self._padding):
            sampled = np.asarray(value, dtype=np.float32).reshape(-1)[::stride]
            parts.append(np.pad(sampled, (0, padding)))
        weights = np.concatenate(parts).reshape(-1, _BLOCK)
        missing = np.zeros_like(weights)
        self._last_seen.assign(np.stack([missing, weights, missing]))
        self._known = 0

    def forget_start(self) -> None:
        """The first step is over: a later one's weights are kept."""
        self._first = None

    def ask(self) -> None:
        """Look at the next `BURST` steps."""
        self._limit.assign(self._asking)

    def kept(self) -> tuple[int, list[NDArray[Any]]] | None:
        """A late step with finite weights before it, and these; None if there was none."""
        step = int(self._kept_at.peek())
        if step:
            return step, [mirror.read() for mirror in self._kept]
        return None if self._first is None else (0, [np.asarray(value) for value in self._first])

    @property
    def rows(self) -> int:
        """How many looks are kept for `drain`."""
        return self._ring.rows

    # Inside the step -----------------------------------------------------------------------

    def see(
        self,
        step: Any,
        loss: Any,
        sound: Any,
        data: Sequence[Sequence[Any]],
        gradients: Sequence[Any],
        scale: Any | None,
        *,
        always: bool,
    ) -> None:
        """Look at the running step, if it is to be looked at.

        Args:
            step: Its number.
            loss: Its loss.
            sound: Whether nothing else is known to be not finite.
            data: Tensors of inputs, targets and predictions.
            gradients: One a variable, None for some.
            scale: What the gradients are multiplied by; None for 1.
            always: Look in any case.
        """
        self._connected = [gradient is not None for gradient in gradients]
        given = (step, loss, list(data), list(gradients), scale)
        if always:
            self._look(*given)
        else:
            limit = read(self._limit.handle, tf.float32)
            self._looking.take_unless(tf.logical_and(loss <= limit, sound), *given)

    def _look(
        self,
        step: Any,
        loss: Any,
        data: Sequence[Sequence[Any]],
        gradients: Sequence[Any],
        scale: Any | None,
    ) -> None:
        limit, until = self._limit.handle, self._until.handle
        before = read(limit, tf.float32)
        end = tf.where(tf.equal(before, self._asking), step + BURST, read(until, tf.int64))
        left = end - step
        write(until, end)
        write(limit, tf.where(left > 1, np.nan, loss + (JUMP - 1) * tf.abs(loss)))
        current = self._current()
        gradient, weights = self._sampled_of(gradients, current)
        if scale is not None:
            gradient = gradient / scale
        seen = self._last_seen.handle
        gradient_before, weights_before, update_before = tf.unstack(read(seen, tf.float32), num=3)
        change, update = gradient - gradient_before, weights - weights_before
        write(seen, tf.stack([gradient, weights, update]))
        zero = tf.cast(tf.equal(gradient, 0.0), tf.float32)
        products = tf.stack([weights, update, zero, update_before, change], axis=1) * tf.stack(
            [weights, update, zero, change, change], axis=1
        )
        sums = tf.math.unsorted_segment_sum(
            tf.reduce_sum(products, axis=2), self._owner, len(self._sampled)
        )
        scalars = [*map(total, data), 1.0 if scale is None else scale, *map(_square, gradients)]
        row = [tf.bitcast(step, tf.float32), tf.stack(scalars), tf.reshape(sums, [-1])]
        self._ring.write(tf.concat(row, 0))
        later = tf.logical_or(tf.equal((left - 1) // 2, 0), loss <= before)
        broken = tf.logical_not(tf.math.is_finite(tf.reduce_sum(weights)))
        self._keeping.take_unless(tf.logical_or(later, broken), step + 1, current)

    def _keep(self, step: Any, weights: Sequence[Any]) -> None:
        write(self._kept_at.handle, step)
        for mirror, weight in zip(self._kept, weights):
            mirror.write(weight)

    def _current(self) -> list[Any]:
        return [read(variable.handle, variable.dtype) for variable in self._variables]

    def _sampled_of(self, gradients: Sequence[Any], weights: Sequence[Any]) -> tuple[Any, Any]:
        """The sampled entries of both, in rows that are each of one variable and filled up with
        zeros."""
        zeros = {padding: tf.zeros([padding]) for padding in set(self._padding.tolist()) - {0}}
        places = [*zip(self._strides, self._sampled.tolist(), self._padding.tolist())] * 2
        parts = []
        for tensor, (stride, count, padding) in zip([*gradients, *weights], places):
            parts.append(sampled_entries(tensor, stride, count))
            parts += [zeros[padding]] if padding else []
        found, known = tf.unstack(tf.reshape(tf.concat(parts, 0), [2, -1, _BLOCK]))
        return found, known

    # On the host, once in a while ----------------------------------------------------------

    def drain(self) -> list[Look]:
        """The looks since the last call."""
        return [self._read(row) for row in self._ring.drain()[1]]

    def _read(self, row: NDArray[Any]) -> Look:
        end = 6 + len(self._sampled)
        numbers, squares = row[:6], row[6:end]
        weight, update, zeros, along, changed = row[end:].reshape(-1, 5).T
        step, last = int(numbers[:2].astype(np.float32).view(np.int64)[0]), self._last
        connected = np.array(self._connected, dtype=bool)
        follows = step == self._known
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            look = Look(
                step=step,
                data=numbers[2:5].copy(),  # A view would keep every row of the ring alive.
                connected=connected,
                gradient=np.where(connected, np.sqrt(2 * squares) / numbers[5], np.nan),
                weight=np.sqrt(weight * self._shares),
                update=np.sqrt(update * self._shares) if follows else np.full_like(update, np.nan),
                zeros=(zeros - self._padding) / np.maximum(self._sampled, 1),
                follows=follows,
            )
            if follows and last is not None:
                moved = np.square(last.update).sum()
                look.curvature = float((along * self._shares).sum() / moved)
                look.curvature_norm = float(np.sqrt((changed * self._shares).sum() / moved))
        self._known, self._last = step + 1, look
        return look


def _square(gradient: Any | None) -> Any:
    """Half the square of the norm of `gradient`."""
    if gradient is None:
        return tf.constant(0.0)
    return tf.nn.l2_loss(tf.cast(entries(gradient), tf.float32))


def total(leaves: Sequence[Any]) -> Any:
    """The sum over tensors: finite exactly when all their entries are (short of overflow)."""
    return tf.add_n([tf.cast(tf.reduce_sum(leaf), tf.float32) for leaf in leaves] or [0.0])


def _coprime(stride: int, width: int) -> int:
    """The first stride from `stride` on that meets every column of rows of `width` entries."""
    while math.gcd(stride, width) > 1:
        stride += 1
    return stride
