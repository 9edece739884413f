"""What a loss of the user's own does with predictions, found by calling it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Loss = Callable[..., Any]
_EXAMPLES = 4


def takes_logits(loss: Loss, output_shape: tuple[int | None, ...]) -> bool:
    """Whether `loss` applies a softmax or sigmoid to the predictions it is given.

    A cross-entropy of logits falls towards zero without reaching it as the true class's score
    rises (a hinge reaches it, a regression loss rises again, one of probabilities is clipped or
    NaN). Over several classes it also stays the same when a constant is added to all scores of an
    example; for a single one it grows linearly with a wrong score.

    The predictions carry the mark by which Keras finds the logits behind an activation: a loss
    that looks for these, as Keras' own do, sees the same values each time and does not count.

    Args:
        loss: `loss(y_true, y_pred) -> scalar`.
        output_shape: Of the output it is for, examples first.
    """
    units = output_shape[-1] if len(output_shape) > 1 else 1
    if units is None:
        return False
    shape = (_EXAMPLES, *(size or 2 for size in output_shape[1:]))
    for y_true, rising in _targets(shape, units):
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if _behaves_like_logits(loss, y_true, rising):
                return True
    return False


def adds_examples_up(loss: Loss, y_true: NDArray[Any], y_pred: NDArray[Any]) -> bool:
    """Whether twice the examples cost twice as much, as under `reduction="sum"` or `tf.reduce_sum`.

    Args:
        loss: `loss(y_true, y_pred) -> scalar`.
        y_true: Targets of a few examples.
        y_pred: Predictions for them, not all of them right.
    """
    with contextlib.suppress(Exception), np.errstate(all="ignore"):
        once = float(loss(y_true, y_pred))
        twice = float(loss(np.concatenate([y_true] * 2), np.concatenate([y_pred] * 2)))
        return once != 0 and bool(np.isclose(twice, 2 * once, rtol=1e-3))
    return False


def ignored_target(loss: Loss, y_true: NDArray[Any], shape: tuple[int, ...]) -> float | None:
    """The target whose predictions `loss` leaves out, as a mask of missing answers does.

    Args:
        loss: `loss(y_true, y_pred) -> scalar`.
        y_true: Targets of some examples.
        shape: Of predictions for them.
    """
    # Where 0 and 1 are all there is, the ordinary cross-entropy passes over the 0.
    if set(np.unique(y_true).tolist()) <= {0, 1}:
        return None
    unmoved = np.ones(y_true.size, dtype=bool)
    # Beyond 0 and 1 hinges and margins show, which are flat where an answer is good enough.
    for low, high in ((0.2, 0.8), (-3.0, -2.0), (2.0, 3.0)):
        answers = np.random.default_rng(0).uniform(low, high, shape)
        with contextlib.suppress(Exception):
            gradient = _gradient(loss, y_true, answers).reshape(y_true.size, -1)
            # A mask multiplies what is no number out there, too.
            unmoved &= (np.nan_to_num(gradient) == 0).all(axis=1)
    left_out, counted = np.unique(y_true.reshape(-1)[unmoved]), y_true.reshape(-1)[~unmoved]
    if len(left_out) == 1 and len(counted) and left_out[0] not in counted:
        return float(left_out[0])
    return None


def _gradient(loss: Loss, y_true: NDArray[Any], answers: NDArray[Any]) -> NDArray[Any]:
    y_pred = tf.constant(answers, dtype=tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        cost = loss(tf.constant(y_true), y_pred)
    return np.asarray(tape.gradient(cost, y_pred))


def _targets(shape: tuple[int, ...], units: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Targets in each form a loss may take them in, and the direction of their right scores."""
    if units == 1:
        ones = np.ones(shape, dtype=np.float32)
        yield ones, ones
        return
    ids = np.arange(int(np.prod(shape[:-1]))).reshape(shape[:-1]) % units
    one_hot = np.eye(units, dtype=np.float32)[ids]
    yield one_hot, one_hot
    yield ids, one_hot
    yield ids[..., np.newaxis], one_hot


def _behaves_like_logits(loss: Loss, y_true: NDArray[Any], rising: NDArray[Any]) -> bool:
    def at(scores: NDArray[Any]) -> float:
        y_pred = tf.constant(scores, dtype=tf.float32)
        y_pred._keras_logits = tf.zeros_like(y_pred)
        return float(tf.reduce_mean(loss(tf.constant(y_true), y_pred)))

    falling = [at(rising * margin) for margin in (0.0, 4.0, 8.0)]
    if not falling[0] > falling[1] > falling[2] > 0:
        return False
    if rising.shape[-1] > 1:
        shift = np.arange(len(rising)).reshape(-1, *[1] * (rising.ndim - 1))
        return bool(np.isclose(at(4 * rising + shift), falling[1], rtol=1e-3))
    near, middle, far = (at(rising * margin) for margin in (-10.0, -20.0, -40.0))
    return middle > near and bool(np.isclose((far - middle) / 2, middle - near, rtol=0.05))
