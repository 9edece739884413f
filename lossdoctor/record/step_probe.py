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

from lossdoctor.record.gradients import entries, sampled_entries
from lossdoctor.record.mirror import peek
from lossdoctor.record.replicas import own_copy
from lossdoctor.record.ring import Ring

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
_PLAIN: dict[str, Any] = {
    "autograph": False,
    # TensorFlow's graph optimizer passes these by: it takes longer than it saves.
    "experimental_attributes": {"_tf_data_function": True},
}
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
    """

    def __init__(self, variables: Sequence[Any]) -> None:
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
        self._places = tf.constant(_blocks(self._sampled, rows))
        self._padding = rows * _BLOCK - self._sampled
        self._weights, self._update, self._gradients = (
            tf.Variable(np.zeros(self._places.shape, np.float32), trainable=False) for _ in range(3)
        )
        self._wanted = tf.Variable(np.float32(DENSE_STEPS), trainable=False)
        self._limit = tf.Variable(np.float32(-np.inf), trainable=False)
        width = 6 + 6 * len(sizes)
        self._ring = Ring(int(np.clip(_RING_ENTRIES // width, 64, _MOST_ROWS)), width)
        self._held: list[Any] = []
        self.held_at: int | None = None
        """Before which step the weights were last held."""
        # TensorFlow traces a first step twice; these it traces once for both.
        self._looking = tf.function(self._look, **_PLAIN)
        self._idle = tf.function(lambda *tensors: None, **_PLAIN)
        self._known = -1
        self._last: Look | None = None

    # On the host, between steps ------------------------------------------------------------

    def start(self) -> None:
        """Note the weights before the first step."""
        self._weights.assign(self._sampled_of([peek(variable) for variable in self._variables]))
        self._known = 0

    def ask(self, steps: int) -> None:
        """Look at the next `steps` steps."""
        self._wanted.assign(steps)
        self._limit.assign(-np.inf)

    def hold(self, step: int) -> None:
        """Keep the weights as they are before `step`: it writes new ones beside them."""
        self._held = [peek(variable) for variable in self._variables]
        self.held_at = step

    def held(self) -> list[NDArray[Any]]:
        """The weights when last held, one array a variable."""
        return [np.asarray(value) for value in self._held]

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
            self._look_unless(tf.logical_and(loss <= self._limit, sound), given)

    def _look_unless(self, calm: Any, given: Sequence[Any]) -> None:
        """`tf.cond` spreads its branches over the step, an operation an input in every step, and
        lets TensorFlow's rewriting look from one into the other. `If` is one operation, but of one
        device: beside a GPU, what has no kernel there would end the training.
        """
        if not tf.is_symbolic_tensor(calm):
            if not calm:
                self._look(*given)
            return
        if tf.config.list_logical_devices("GPU"):
            tf.cond(calm, lambda: None, lambda: self._look(*given))
            return
        looking = self._looking.get_concrete_function(*given)
        idle = self._idle.get_concrete_function(*map(_spec, looking.inputs))
        leaves = tf.nest.flatten(given, expand_composites=True)
        inputs = [leaf for leaf in leaves if leaf is not None] + looking.captured_inputs
        tf.raw_ops.If(cond=calm, input=inputs, Tout=[], then_branch=idle, else_branch=looking)

    def _look(
        self,
        step: Any,
        loss: Any,
        data: Sequence[Sequence[Any]],
        gradients: Sequence[Any],
        scale: Any | None,
    ) -> None:
        left = self._wanted - 1
        self._wanted.assign(left, read_value=False)
        self._limit.assign(
            tf.where(left > 0, -np.inf, loss + (JUMP - 1) * tf.abs(loss)), read_value=False
        )
        gradient = self._sampled_of(gradients)
        if scale is not None:
            gradient = gradient / scale
        weights = self._sampled_of([peek(variable) for variable in self._variables])
        change, update = gradient - self._gradients, weights - self._weights
        columns = [
            tf.square(weights),
            tf.square(update),
            tf.cast(tf.equal(gradient, 0.0), tf.float32),
            change * self._update,
            tf.square(change),
        ]
        rows = tf.reduce_sum(tf.stack(columns, axis=1), axis=2)
        sums = tf.math.unsorted_segment_sum(rows, self._owner, len(self._sampled))
        for variable, value in zip(
            (self._weights, self._update, self._gradients), (weights, update, gradient)
        ):
            variable.assign(value, read_value=False)
        row = [
            tf.bitcast(step, tf.float32),
            tf.stack([*(total(leaves) for leaves in data), 1.0 if scale is None else scale]),
            tf.stack([_square(gradient) for gradient in gradients]),
            tf.reshape(tf.transpose(sums), [-1]),
        ]
        self._ring.write(tf.concat(row, 0), self._ring.number)

    def _sampled_of(self, tensors: Sequence[Any]) -> Any:
        """The sampled entries in rows, each of one variable and filled up with zeros."""
        places = zip(tensors, self._strides, self._sampled.tolist())
        parts = [sampled_entries(*place) for place in places]
        return tf.gather(tf.concat([*parts, [0.0]], 0), self._places)

    # On the host, once in a while ----------------------------------------------------------

    def drain(self) -> list[Look]:
        """The looks since the last call."""
        return [self._read(row) for row in self._ring.drain()[1]]

    def _read(self, row: NDArray[Any]) -> Look:
        numbers, columns = row[:6], row[6:].reshape(6, -1)
        squares, weight, update, zeros, along, changed = columns
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


def _spec(tensor: Any) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, tensor.dtype)


def _square(gradient: Any | None) -> Any:
    """Half the square of the norm of `gradient`."""
    if gradient is None:
        return tf.constant(0.0)
    return tf.nn.l2_loss(tf.cast(entries(gradient), tf.float32))


def total(leaves: Sequence[Any]) -> Any:
    """The sum over tensors: finite exactly when all their entries are (short of overflow)."""
    return tf.add_n([tf.cast(tf.reduce_sum(leaf), tf.float32) for leaf in leaves] or [0.0])


def _blocks(counts: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Where the entries of each variable stand in one vector, `_BLOCK` a row; a zero is its end."""
    places = np.full((rows.sum(), _BLOCK), counts.sum(), dtype=np.int32)
    starts, firsts = np.cumsum(counts) - counts, np.cumsum(rows) - rows
    for count, start, first, height in zip(counts, starts, firsts, rows):
        places[first : first + height].reshape(-1)[:count] = np.arange(start, start + count)
    return places


def _coprime(stride: int, width: int) -> int:
    """The first stride from `stride` on that meets every column of rows of `width` entries."""
    while math.gcd(stride, width) > 1:
        stride += 1
    return stride
