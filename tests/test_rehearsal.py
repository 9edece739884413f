"""The rehearsal: it is the training that `fit` would begin, and it leaves no trace."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from lossdoctor.check import check_config
from lossdoctor.record.configuration import DEFAULT_BATCH_SIZE
from lossdoctor.record.rehearsal import STEPS, Stage, flat
from tests.benchmarks.rehearsal import configuration, diverged, run

pytestmark = pytest.mark.train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 6)).astype("float32")
Y = (X[:, 0] + X[:, 1] ** 2).astype("float32")
CLASSES = (Y > 1).astype("int32")
TOKENS = RNG.integers(0, 20, size=(96, 7))


class Subclassed(keras.Model):
    """With everything that can carry state: dropout, statistics, a raw TensorFlow variable."""

    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(8, activation="relu", kernel_regularizer="l2")
        self.norm = layers.BatchNormalization()
        self.drop = layers.Dropout(0.3)
        self.head = layers.Dense(1)
        self.calls = tf.Variable(0)

    def call(self, x, training=None):
        self.calls.assign_add(1)
        self.add_loss(0.01 * keras.ops.mean(x**2))
        return self.head(self.drop(self.norm(self.hidden(x)), training=training))


def sequential():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="tanh", kernel_constraint=keras.constraints.MaxNorm(1.0)),
            layers.Dropout(0.5),
            layers.BatchNormalization(),
            layers.Dense(1),
        ]
    )


def functional():
    inputs = keras.Input((6,))
    hidden = layers.Dense(8, activation="relu")(inputs)
    joined = layers.Concatenate()([hidden, layers.GaussianNoise(0.1)(inputs)])
    return keras.Model(inputs, layers.Dense(1, kernel_regularizer="l2")(joined))


def subclassed():
    model = Subclassed()
    model(X[:1])
    return model


def recurrent():
    return keras.Sequential(
        [
            keras.Input((7,), dtype="int32"),
            layers.Embedding(20, 4, mask_zero=True),
            layers.LSTM(5, dropout=0.2),
            layers.Dense(1),
        ]
    )


MODELS = {
    "sequential": (sequential, X),
    "functional": (functional, X),
    "subclassed": (subclassed, X),
    "recurrent": (recurrent, TOKENS),
}
OPTIMIZERS = {
    "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "adam": lambda rate: keras.optimizers.Adam(rate, clipnorm=1.0),
    "adamw": lambda rate: keras.optimizers.AdamW(rate, use_ema=True),
    "rmsprop": keras.optimizers.RMSprop,
    "nadam": lambda rate: keras.optimizers.Nadam(rate, gradient_accumulation_steps=2),
}


def compiled(name, optimizer="adam", rate=0.01, seed=1):
    keras.utils.set_random_seed(seed)
    model = MODELS[name][0]()
    model.compile(OPTIMIZERS[optimizer](rate), "mse", metrics=["mae"])
    return model


def state_of(model):
    """Everything about a model and the world around it that a rehearsal could touch."""
    raw = vars(model).values()
    everything = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    everything += [v for v in raw if isinstance(v, tf.Variable)]
    return {
        "values": [np.asarray(v).tobytes() for v in everything],
        "config": None if isinstance(model, Subclassed) else model.get_config(),
        "compiled": model.get_compile_config(),
        "optimizer": model.optimizer.get_config(),
        "losses": len(model.losses),
        "loss built": model._compile_loss.built,
        "functions": (model.train_function, model.test_function, model.predict_function),
        "python": random.getstate(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
    }


@pytest.mark.parametrize("rate", [1e-3, 1e3], ids=["calm", "unstable"])
@pytest.mark.parametrize("trained", [False, True], ids=["fresh", "trained"])
@pytest.mark.parametrize("name", MODELS)
def test_leaves_no_trace(name, trained, rate):
    model, x = compiled(name, rate=rate), MODELS[name][1]
    if trained:
        model.optimizer.learning_rate = 1e-3
        model.fit(x, Y, epochs=1, verbose=0)
        model.optimizer.learning_rate = rate
    before = state_of(model)
    report = check_config(model, Y, x=x)
    assert report.record.rehearsal is not None, report.record.not_recorded
    after = state_of(model)
    for part, value in before.items():
        assert after[part] == value, part


@pytest.mark.parametrize("name", MODELS)
def test_training_afterwards_is_bit_for_bit_the_same(name):
    def trained(rehearse):
        model, x = compiled(name), MODELS[name][1]
        check_config(model, Y, x=x, rehearse=rehearse)
        history = model.fit(x, Y, epochs=2, verbose=0).history
        drawn = (layers.Dense(1).name, float(tf.random.uniform(())), random.random())
        return history, [np.asarray(v).tobytes() for v in model.variables], drawn

    keras.backend.clear_session()
    first = trained(rehearse=False)
    keras.backend.clear_session()
    assert trained(rehearse=True) == first


def test_an_exception_leaves_no_trace():
    class Refusing(layers.Layer):
        def call(self, x, training=False):
            if training:
                raise RuntimeError("not in training")
            return x

    model = keras.Sequential([keras.Input((6,)), layers.Dense(4), Refusing(), layers.Dense(1)])
    model.compile("adam", "mse")
    before = state_of(model)
    report = check_config(model, Y, x=X)
    assert report.record.rehearsal is None
    assert "not in training" in report.record.not_recorded["the rehearsal"]
    assert state_of(model) == before


class RunningMeans(keras.callbacks.Callback):
    """The loss as Keras logs it at each step: the mean of the epoch so far."""

    def __init__(self):
        super().__init__()
        self.means = []

    def on_train_batch_end(self, batch, logs=None):
        self.means.append(logs["loss"])


def assert_rehearsed_as_trained(model, y, x, **weights):
    record = check_config(model, y, x=x, shuffle=False, epochs=1, **weights).record
    assert record.rehearsal is not None, record.not_recorded
    losses = record.rehearsal.trials[0].losses
    seen = RunningMeans()
    model.fit(x, y, shuffle=False, epochs=1, verbose=0, callbacks=[seen], **weights)
    rows = np.diff([*range(0, len(X), DEFAULT_BATCH_SIZE), len(X)])
    np.testing.assert_allclose(np.cumsum(losses * rows) / np.cumsum(rows), seen.means, rtol=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_rehearses_what_fit_then_does(name, optimizer):
    assert_rehearsed_as_trained(compiled(name, optimizer), Y, MODELS[name][1])


def test_rehearses_class_and_sample_weights():
    def classifier():
        model = sequential()
        model.compile("sgd", "binary_crossentropy")
        return model

    weights = np.linspace(0, 3, len(X))
    assert_rehearsed_as_trained(classifier(), CLASSES, X, sample_weight=weights)
    assert_rehearsed_as_trained(classifier(), CLASSES, X, class_weight={0: 0.2, 1: 5.0})


def test_rehearses_several_inputs_and_outputs():
    one, two = keras.Input((6,), name="one"), keras.Input((7,), name="two")
    joined = layers.Concatenate()([one, two])
    outputs = {"a": layers.Dense(1, name="a")(joined), "b": layers.Dense(1, name="b")(joined)}
    model = keras.Model([one, two], outputs)
    model.compile("sgd", {"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": 0.5})
    y = {"a": Y, "b": -Y}
    assert_rehearsed_as_trained(model, y, [X, TOKENS.astype("float32")])


def test_rehearses_the_optimizers_state_of_a_trained_model():
    model = compiled("functional", "momentum")
    model.fit(X, Y, epochs=1, verbose=0)
    assert_rehearsed_as_trained(model, Y, X)


def test_rehearses_the_first_batches_of_a_dataset_and_a_clone_of_an_unbuilt_model():
    model = keras.Sequential([layers.Dense(4), layers.Dense(1)])
    model.compile("sgd", "mse")
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    rehearsal = check_config(model, dataset, epochs=2).record.rehearsal
    assert len(rehearsal.trials[0].losses) == 12
    assert not model.built


def test_a_warm_up_is_climbed_to_its_peak():
    warm_up = keras.optimizers.schedules.CosineDecay(
        0.0, 1000, warmup_target=0.05, warmup_steps=500
    )
    model = sequential()
    model.compile(keras.optimizers.SGD(warm_up), "mse")
    record = check_config(model, Y, x=X, epochs=500).record
    assert record.rehearsal.trials[0].rate == pytest.approx(0.05, rel=0.01)
    assert len(record.rehearsal.trials[0].losses) == STEPS
    assert not [f for f in check_config(model, Y, x=X, epochs=500).findings if f.severity > 1]


def linear():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_hessian_vector_products_are_those_of_the_loss():
    batch = (tf.constant(X), tf.constant(Y[:, None]), None)
    design = np.column_stack([X, np.ones(len(X))]).astype(np.float64)
    model = linear()
    stage = Stage(model, model.optimizer, [batch])
    direction = RNG.normal(size=7)
    hessian = 2 / len(X) * design.T @ design
    np.testing.assert_allclose(stage.curve(batch, direction), hessian @ direction, rtol=1e-4)
    residual = design @ flat(model.trainable_variables) - Y
    gradient = 2 / len(X) * design.T @ residual
    np.testing.assert_allclose(stage.gradient(batch), gradient, rtol=1e-4, atol=1e-5)


def test_sharpness_and_calm_rate_frame_the_stable_rate_of_a_quadratic_loss():
    design = np.column_stack([X, np.ones(len(X))]).astype(np.float64)
    sharpness = np.linalg.eigvalsh(2 / len(X) * design.T @ design)[-1]
    model = linear()
    model.optimizer.learning_rate = 10.0
    rehearsal = check_config(model, Y, x=X, batch_size=len(X)).record.rehearsal
    assert rehearsal.sharpness == pytest.approx(sharpness, rel=0.02)
    assert 0.4 * 2 / sharpness < rehearsal.calm_rate < 2 / sharpness
    assert 0 < rehearsal.secant <= 1.01 * sharpness


class OwnStep(keras.Sequential):
    def train_step(self, data):
        return {"loss": 0.0}


@pytest.mark.parametrize(
    ("model", "arguments", "reason"),
    [
        (linear, {"rehearse": False}, "rehearse=False"),
        (linear, {"x": None}, "pass x"),
        (linear, {"x": np.where(X > 1, np.nan, X)}, "not finite before the first step"),
        (lambda: OwnStep([keras.Input((6,)), layers.Dense(1)]), {}, "train_step of its own"),
        (lambda: keras.Sequential([keras.Input((6,)), layers.Flatten()]), {}, "trainable"),
    ],
)
def test_says_why_nothing_was_rehearsed(model, arguments, reason):
    built = model()
    built.compile("sgd", "mse")
    report = check_config(built, Y, **{"x": X, **arguments})
    outcome = next(o for o in report.outcomes if o.rule == "unstable_learning_rate")
    assert outcome.status == "not_applicable"
    assert reason in outcome.reason


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
def test_prediction_and_outcome_agree(number):
    result = run(configuration(1, number))
    assert result["predicted"] == diverged(result, result["losses"])
    if result["proposed"]:
        assert not diverged(result, result["proposed_losses"])
