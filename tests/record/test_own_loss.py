"""Losses of the user's own: which of them take logits, told by how they behave."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from lossdoctor.callback import LossDoctor
from lossdoctor.record.compiled import snapshot_losses
from lossdoctor.record.own_loss import ignored_target
from lossdoctor.record.snapshot import snapshot_model

ops = keras.ops


def sigmoid_cross_entropy(y, p):
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(y, p.dtype), p))


def weighted_cross_entropy(y, p):
    return tf.nn.weighted_cross_entropy_with_logits(tf.cast(y, p.dtype), p, pos_weight=3.0)


def by_hand(y, p):
    return ops.softplus(p) - ops.cast(y, p.dtype) * p


def softmax_cross_entropy(y, p):
    return tf.nn.softmax_cross_entropy_with_logits(labels=tf.cast(y, p.dtype), logits=p)


def sparse_cross_entropy(y, p):
    y = tf.cast(tf.reshape(y, [-1]), tf.int64)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=p)


def focal(y, p):
    probabilities = ops.softmax(p)
    return -ops.sum(y * (1 - probabilities) ** 2 * ops.log(probabilities + 1e-9), axis=-1)


class Wrapped(keras.losses.Loss):
    def call(self, y, p):
        return softmax_cross_entropy(y, p)


def of_probabilities(y, p):
    p = ops.clip(p, 1e-7, 1 - 1e-7)
    return -ops.mean(y * ops.log(p) + (1 - y) * ops.log(1 - p), axis=-1)


def unclipped(y, p):
    return -ops.sum(y * ops.log(p), axis=-1)


def squared(y, p):
    return ops.mean((y - p) ** 2, axis=-1)


def log_cosh(y, p):
    return ops.mean(ops.log(ops.cosh(y - p)), axis=-1)


def hinge(y, p):
    return ops.mean(ops.maximum(0.0, 1 - (2 * y - 1) * p), axis=-1)


def margin(y, p):
    right = ops.sum(y * p, axis=-1)
    return ops.maximum(0.0, 1 + ops.max((1 - y) * p, axis=-1) - right)


def correlation(y, p):
    y, p = (v - ops.mean(v, axis=-1, keepdims=True) for v in (y, p))
    return -ops.sum(y * p, axis=-1) / ops.sqrt(ops.sum(y**2, axis=-1) * ops.sum(p**2, axis=-1))


def looks_for_logits(y, p):
    return keras.losses.categorical_crossentropy(y, p, from_logits=True)


def compiled(loss, units, activation="linear"):
    head = keras.layers.Dense(units, activation=activation, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((2,)), head])
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize(
    ("loss", "units", "expected"),
    [
        (sigmoid_cross_entropy, 1, True),
        (weighted_cross_entropy, 1, True),
        (by_hand, 1, True),
        (softmax_cross_entropy, 3, True),
        (sparse_cross_entropy, 3, True),
        (focal, 3, True),
        (Wrapped(), 3, True),
        (of_probabilities, 1, False),
        (of_probabilities, 3, False),
        (unclipped, 3, False),
        (squared, 1, False),
        (squared, 3, False),
        (log_cosh, 1, False),
        (hinge, 1, False),
        (margin, 3, False),
        (correlation, 3, False),
        (looks_for_logits, 3, False),
        (functools.partial(keras.losses.categorical_crossentropy, from_logits=True), 3, False),
        (lambda y, p: 1 / 0, 3, False),
    ],
)
def test_only_losses_that_squash_their_predictions_take_logits(loss, units, expected):
    model = compiled(loss, units)
    (record,) = snapshot_losses(model, snapshot_model(model).outputs)
    assert record.custom
    assert record.with_logits is expected


@pytest.mark.train
@pytest.mark.parametrize(
    ("loss", "activation", "found"),
    [
        (softmax_cross_entropy, "softmax", True),
        (looks_for_logits, "softmax", False),
        (softmax_cross_entropy, "linear", False),
    ],
)
def test_a_head_squashed_twice_by_the_users_own_loss_is_found(loss, activation, found):
    x = np.random.default_rng(0).normal(size=(96, 2)).astype("float32")
    y = np.eye(3, dtype="float32")[np.digitize(x[:, 0], [-0.5, 0.5])]
    model = compiled(loss, 3, activation)
    model.optimizer.learning_rate = 0.3
    doctor = LossDoctor(verbose=0)
    model.fit(x, y, epochs=20, verbose=0, callbacks=[doctor])
    assert ("double_softmax" in {f.rule for f in doctor.report.findings}) is found
    floor_of_two_softmaxes = np.log(1 + 2 / np.e)
    assert (model.evaluate(x, y, verbose=0) > floor_of_two_softmaxes) == found


@pytest.mark.train
def test_metrics_of_the_users_own_do_not_align_ranks():
    def own(y, p):
        return ops.mean(ops.abs(y - p))

    x = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
    y = x[:, 0]
    model = compiled("mse", 1)
    model.layers[0].kernel.assign([[0.0], [1.0]])
    model.compile("sgd", "mse", metrics=[own, "mae"])
    doctor = LossDoctor(verbose=0)
    history = model.fit(x, y, batch_size=40, verbose=0, callbacks=[doctor]).history
    assert [m.aligns_ranks for m in doctor.record.metrics] == [False, True]
    assert history["mae"][0] == pytest.approx(np.abs(y - x[:, 1]).mean(), rel=1e-4)
    every_pair = np.abs(y - x[:, 1:]).mean()
    assert history["own"][0] == pytest.approx(every_pair, rel=1e-4)


def one_hot_cross_entropy(y, p):
    return -tf.reduce_mean(tf.reduce_sum(tf.cast(y, p.dtype) * tf.math.log(p), axis=-1))


def padded_cross_entropy(y, p):
    known = tf.cast(tf.not_equal(y, 0), tf.float32)
    losses = keras.losses.sparse_categorical_crossentropy(y, p)
    return tf.reduce_sum(losses * known) / tf.reduce_sum(known)


def missing_labels(y, p):
    y = tf.cast(y, p.dtype)
    return tf.reduce_mean(tf.where(y < 0, 0.0, tf.square(y - p)))


def mean_squared(y, p):
    return tf.reduce_mean(tf.square(tf.cast(y, p.dtype) - p))


def margin(y, p):
    return tf.reduce_mean(tf.nn.relu(0.1 - tf.cast(y, p.dtype) * p))


TAGS = np.array([[1, 2, 3, 0], [2, 1, 0, 0]])
LABELS = np.array([[1, -1, 0], [0, 1, -1]])


@pytest.mark.parametrize(
    ("loss", "targets", "shape", "ignored"),
    [
        (padded_cross_entropy, TAGS, (2, 4, 4), 0.0),
        (missing_labels, LABELS, (2, 3), -1.0),
        (mean_squared, LABELS, (2, 3), None),
        (one_hot_cross_entropy, np.eye(3), (3, 3), None),
        (margin, np.array([[1.0], [-1.0]]), (2, 1), None),
        (lambda y, p: 1 / 0, LABELS, (2, 3), None),
    ],
)
def test_a_target_that_a_loss_masks_is_found_by_its_gradient(loss, targets, shape, ignored):
    assert ignored_target(loss, targets, shape) == ignored
