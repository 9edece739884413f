"""Models with a `call`, a loss or a `train_step` of their own, for tests that train."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class Subclassed(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.units = units
        self.hidden, self.head = layers.Dense(5, activation="tanh"), layers.Dense(units)

    def get_config(self):
        return {"units": self.units}

    def call(self, x):
        return self.head(self.hidden(x))


class AddsLoss(layers.Layer):
    def call(self, x):
        self.add_loss(0.1 * keras.ops.mean(keras.ops.square(x)))
        return x


class OwnStep(keras.Sequential):
    """A train_step of its own that goes through `compute_loss`."""

    def loss_of(self, x, y, prediction):
        return self.compute_loss(x, y, prediction)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.loss_of(x, y, self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return self.logs(x, loss)

    def logs(self, x, loss):
        self._loss_tracker.update_state(loss, sample_weight=keras.ops.shape(x)[0])
        return {"loss": self._loss_tracker.result()}


class OwnLoss(OwnStep):
    """A train_step of its own that computes its loss itself, and logs that of the batch."""

    def loss_of(self, x, y, prediction):
        return tf.reduce_mean(tf.square(prediction - y))

    def logs(self, x, loss):
        return {"loss": loss}


class OwnMetric(OwnLoss):
    """Computes its loss itself, and logs its mean over the epoch."""

    def __init__(self, layers):
        super().__init__(layers)
        self.average = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.average]

    def logs(self, x, loss):
        self.average.update_state(loss, sample_weight=keras.ops.shape(x)[0])
        return {"loss": self.average.result()}


class CompiledStep(OwnMetric):
    """Its train_step is a `tf.function`, which AutoGraph translates, and draws random numbers."""

    @tf.function(reduce_retracing=True)
    def train_step(self, data):
        x, y = data
        if tf.random.normal([]) > 100:
            x = -x
        return OwnMetric.train_step(self, (x, y))


def step_by_hand(model, x, y):
    """One step of gradient descent without the optimizer; returns the loss."""
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=True))
    variables = model.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables)):
        variable.assign_sub(0.01 * gradient)
    return loss


def assert_same_variables(one, other):
    """Of two models, or two optimizers: bit for bit."""
    for a, b in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=b.path)
