"""A `train_step` of the user's own, as people write it: what can be told of it, and what not."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from lossdoctor.callback import LossDoctor
from tests.models import OwnLoss, OwnStep, step_by_hand

pytestmark = pytest.mark.train
RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 6)).astype("float32")
Y = (X @ RNG.normal(size=(6, 1)) + 0.1 * RNG.normal(size=(256, 1))).astype("float32")


def network(inputs, *units):
    hidden = [layers.Dense(n, "relu") for n in units[:-1]]
    return keras.Sequential([keras.Input((inputs,)), *hidden, layers.Dense(units[-1])])


def stacked(cls):
    model = cls([keras.Input((6,)), layers.Dense(16, "relu"), layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01))
    return model


def fitted(model, *data):
    doctor = LossDoctor(verbose=0)
    model.fit(*data, epochs=12, batch_size=32, verbose=0, callbacks=[doctor])
    return doctor


def reason(doctor, rule):
    (outcome,) = (o for o in doctor.report.outcomes if o.rule == rule)
    assert outcome.status == "not_applicable"
    return outcome.reason


class Adversarial(keras.Model):
    """A generator and a discriminator, which learn against each other."""

    def __init__(self, *, optimizers, logs):
        super().__init__()
        self.generator, self.discriminator = network(3, 16, 6), network(6, 16, 1)
        self.named = logs
        self.compile(keras.optimizers.Adam(1e-3))
        self.own = [keras.optimizers.Adam(1e-3) for _ in range(optimizers - 1)]
        self.optimizer.build(self.trainable_variables)

    def call(self, x):
        return self.generator(x)

    def learn(self, optimizer, part, loss, right, noise, x):
        with tf.GradientTape() as tape:
            fake, real = self.discriminator(self.generator(noise)), self.discriminator(x)
            value = loss(right[0] * tf.ones_like(fake), fake)
            if right[1] is not None:
                value += loss(right[1] * tf.ones_like(real), real)
        variables = part.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables))
        return value

    def train_step(self, data):
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        noise = tf.random.normal([tf.shape(data)[0], 3], seed=1)
        second = self.own[0] if self.own else self.optimizer
        told = self.learn(second, self.discriminator, loss, (0.0, 1.0), noise, data)
        fooled = self.learn(self.optimizer, self.generator, loss, (1.0, None), noise, data)
        return dict(zip(self.named, (told, fooled)))


@pytest.mark.parametrize("optimizers", [1, 2])
@pytest.mark.parametrize("logs", [("d_loss", "g_loss"), ("d_loss", "loss")])
def test_of_two_losses_in_a_step_no_cause_is_named(optimizers, logs):
    keras.utils.set_random_seed(0)
    doctor = fitted(Adversarial(optimizers=optimizers, logs=logs), X)
    assert not doctor.report.findings
    assert doctor.record.steps is None
    assert doctor.record.variables is None
    assert set(logs) == set(doctor.record.history.logs)
    assert doctor.record.train.inputs[0].std == pytest.approx(X.std(), rel=1e-5)
    assert "applies gradients 2 times a step" in reason(doctor, "vanishing_gradients")


class Distiller(keras.Model):
    """A student that learns from a teacher, which nobody froze."""

    def __init__(self, teacher):
        super().__init__()
        self.teacher, self.student = teacher, network(6, 4, 1)

    def call(self, x):
        return self.student(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            answers = self.student(x, training=True)
            loss = tf.reduce_mean((answers - y) ** 2 + (answers - self.teacher(x)) ** 2)
        variables = self.student.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return {"loss": loss}


def test_only_the_variables_that_the_step_trains_are_judged():
    keras.utils.set_random_seed(0)
    teacher = network(6, 8, 1)
    teacher.compile("adam", "mse")
    teacher.fit(X, Y, epochs=5, verbose=0)
    model = Distiller(teacher)
    model.compile(keras.optimizers.SGD(0.02))
    doctor = fitted(model, X, Y)
    assert not doctor.report.findings
    series = doctor.record.variables
    assert series.paths == tuple(v.path for v in model.student.trainable_variables)
    assert all(series.connected)
    assert len(doctor.record.units.layers) == 2
    np.testing.assert_allclose(series.update_norm, 0.02 * series.gradient_norm, rtol=1e-3)


class Autoencoder(keras.Model):
    """Logs several losses, each the running mean of a metric, and has no `call`."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = network(6, 16, 4), network(2, 16, 6)
        self.total = keras.metrics.Mean(name="total_loss")
        self.divergence = keras.metrics.Mean(name="divergence")
        self.seed = keras.random.SeedGenerator(1)

    @property
    def metrics(self):
        return [self.total, self.divergence]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_variance = tf.split(self.encoder(data), 2, axis=1)
            noise = keras.random.normal(tf.shape(mean), seed=self.seed)
            decoded = self.decoder(mean + tf.exp(log_variance / 2) * noise)
            divergence = (mean**2 + tf.exp(log_variance) - 1 - log_variance) / 2
            divergence = tf.reduce_mean(tf.reduce_sum(divergence, axis=1))
            loss = tf.reduce_mean(tf.reduce_sum((decoded - data) ** 2, axis=1)) + divergence
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        self.total.update_state(loss)
        self.divergence.update_state(divergence)
        return {"loss": self.total.result(), "divergence": self.divergence.result()}


def test_the_loss_of_each_batch_is_found_behind_a_running_mean():
    keras.utils.set_random_seed(0)
    model = Autoencoder()
    model.compile(keras.optimizers.Adam(1e-3))
    doctor = fitted(model, X)
    assert not doctor.report.findings
    per_epoch = doctor.record.steps.loss.reshape(12, -1)
    assert per_epoch.std(axis=1).min() > 0
    np.testing.assert_allclose(per_epoch.mean(axis=1), doctor.record.history.logs["loss"], 1e-5)
    assert not {"update_state", "result"} & model.total.__dict__.keys()


class Compiled(OwnLoss):
    """Trains in a function of its own."""

    @tf.function
    def learn(self, x, y):
        return OwnLoss.train_step(self, (x, y))["loss"]

    def train_step(self, data):
        return {"loss": self.learn(*data)}


class ByHand(OwnStep):
    """Updates its weights without the optimizer."""

    def train_step(self, data):
        x, y = data
        return self.logs(x, step_by_hand(self, x, y))


@pytest.mark.parametrize(("cls", "why"), [(Compiled, "inside the run"), (ByHand, "no gradients")])
def test_gradients_out_of_sight_are_named_and_the_losses_recorded(cls, why):
    keras.utils.set_random_seed(0)
    model = stacked(cls)
    model.compile(None if cls is ByHand else keras.optimizers.Adam(0.01), "mse")
    doctor = fitted(model, X, Y)
    assert not doctor.report.findings
    assert doctor.record.steps.loss[-1] < doctor.record.steps.loss[0]
    assert doctor.record.variables is None
    assert why in reason(doctor, "vanishing_gradients")


class Silent(OwnLoss):
    """Logs no loss."""

    def logs(self, x, loss):
        return {"distance": loss}


def test_a_step_that_logs_no_loss_says_so():
    keras.utils.set_random_seed(0)
    doctor = fitted(stacked(Silent), X, Y)
    assert not doctor.report.findings
    assert doctor.record.steps is None
    assert "nor logs the loss" in doctor.record.not_recorded["batch losses"]
    assert "distance" in doctor.record.history.logs


BROKEN = {
    "non_finite_data": (0.01, np.where(np.arange(256)[:, None] == 99, np.nan, X)),
    "unscaled_inputs": (0.01, X * 1000),
    "high_learning_rate": (30.0, X),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_the_cause_is_named_without_compute_loss(rule):
    rate, x = BROKEN[rule]
    keras.utils.set_random_seed(0)
    model = stacked(OwnLoss)
    model.compile(keras.optimizers.SGD(rate))
    assert fitted(model, x, Y).report.findings[0].rule == rule


def test_a_compiled_loss_that_the_step_leaves_alone_is_not_judged():
    """Predicted numbers under a loss for classes, had it been used."""
    keras.utils.set_random_seed(0)
    model = stacked(OwnLoss)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    doctor = fitted(model, X, Y)
    assert not doctor.report.findings
    assert not doctor.record.losses


class AsDocumented(keras.Sequential):
    """The train_step of Keras' guide: the compiled loss, applied by hand."""

    def predicted(self, x):
        return self(x, training=True)

    def trained_on(self, loss):
        return loss

    def update(self, metric, loss, y, prediction):
        metric.update_state(*([loss] if metric.name == "loss" else [y, prediction]))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            prediction = self.predicted(x)
            loss = self.trained_on(self.compute_loss(y=y, y_pred=prediction))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        for metric in self.metrics:
            self.update(metric, loss, y, prediction)
        return {metric.name: metric.result() for metric in self.metrics}


class Adds(AsDocumented):
    def trained_on(self, loss):
        return loss + 3.0


class Squashes(AsDocumented):
    def predicted(self, x):
        return tf.tanh(self(x, training=True))


class TrainsTheHead(AsDocumented):
    def train_step(self, data):
        trained = self.layers[-1].trainable_variables
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        self.optimizer.apply(tape.gradient(loss, trained), trained)
        self._loss_tracker.update_state(loss)
        return {"loss": self._loss_tracker.result()}


def test_layers_that_the_step_leaves_out_are_named():
    keras.utils.set_random_seed(0)
    model = stacked(TrainsTheHead)
    model.compile(keras.optimizers.Adam(0.003), "mse")
    finding = fitted(model, X, np.sin(3 * Y)).report.findings[0]
    assert finding.rule == "frozen_model"
    assert finding.layers == (model.layers[0].name,)
    assert "87% of the trainable parameters" in finding.message


class Forgets(AsDocumented):
    def update(self, metric, loss, y, prediction):
        if metric.name != "loss":
            super().update(metric, loss, y, prediction)


@pytest.mark.parametrize(
    ("cls", "rate", "loss", "rule"),
    [
        (AsDocumented, 0.01, "mse", None),
        (AsDocumented, 1e-6, "mse", "low_learning_rate"),
        (AsDocumented, 0.01, "binary_crossentropy", "missing_final_activation"),
        (Adds, 1e-6, "mse", None),
        (Squashes, 1e-6, "mse", None),
        (Forgets, 0.01, "mse", "metric_task"),
    ],
)
def test_a_step_that_trains_on_the_compiled_loss_is_judged_like_keras_own(cls, rate, loss, rule):
    keras.utils.set_random_seed(0)
    model = stacked(cls)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["mae"])
    y = Y if loss == "mse" else (Y > 0).astype("float32")
    doctor = fitted(model, X, y)
    assert doctor.record.model.applies_compiled_loss is (cls is AsDocumented)
    problems = doctor.report.problems
    assert (problems[0].rule if problems else None) == rule


def test_units_dead_from_the_start_are_named_without_compute_loss():
    keras.utils.set_random_seed(0)
    model = stacked(OwnLoss)
    model.layers[0].bias.assign(-100 * np.ones(16))
    assert fitted(model, X, Y).report.findings[0].rule == "dead_units"


class Compares(keras.Model):
    """Squared differences by hand."""

    def __init__(self, *args, prepare, **kwargs):
        super().__init__(*args, **kwargs)
        self.prepare = prepare

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.prepare(y) - self(x, training=True)))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return {"loss": loss}


@pytest.mark.parametrize(
    ("prepare", "pairs"),
    [
        (lambda y: y, True),
        (lambda y: 2.0 * tf.cast(y, tf.float32) - 1.0, True),
        (lambda y: y[:, None], False),
        (lambda y: tf.reshape(y, [-1, 1]), False),
        (lambda y: y[:, None] + 0.0 * tf.reduce_mean(y - y[:, None]), False),
    ],
)
def test_a_list_of_targets_against_a_column_of_predictions_is_seen_in_the_step(prepare, pairs):
    inputs = keras.Input((6,))
    hidden = layers.Dense(16, "relu")(inputs)
    model = Compares(inputs, layers.Dense(1)(hidden), prepare=prepare)
    model.compile(keras.optimizers.Adam(0.01))
    doctor = fitted(model, X, Y[:, 0])
    found = [finding for finding in doctor.report.findings if finding.rule == "target_rank"]
    assert len(found) == pairs
    assert all("Your train_step" in finding.message for finding in found)
