"""The recorder is at home in every way people train with Keras.

Every set-up is trained twice, with and without the doctor: the same bits come out. What was
recorded agrees with what training itself tells: the logged loss is the mean of the batch losses,
the first SGD step moves the weights by learning rate times gradient, and the last recorded weight
norms are those of the trained model. What cannot be recorded is named.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from lossdoctor.callback import LossDoctor
from tests.models import (
    AddsLoss,
    CompiledStep,
    OwnMetric,
    OwnStep,
    Subclassed,
    assert_same_variables,
)

pytestmark = pytest.mark.train
RNG = np.random.default_rng(5)
X = RNG.normal(size=(40, 6)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")
IDS = RNG.integers(0, 20, size=(40, 5))
RATE = 0.05


def stacked(*middle):
    return keras.Sequential([keras.Input((6,)), *middle, layers.Dense(1)])


def several_heads():
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    joined = layers.Concatenate()([layers.Dense(4)(a), layers.Dense(3)(b)])
    heads = {"p": layers.Dense(1, name="p")(joined), "q": layers.Dense(1, name="q")(joined)}
    return keras.Model([a, b], heads)


def own(cls):
    return lambda: cls([keras.Input((6,)), layers.Dense(1)])


def sequence(layer, **settings):
    return lambda: stacked(layers.Reshape((3, 2)), layer(4, **settings))


def embedding():
    return keras.Sequential(
        [keras.Input((5,)), layers.Embedding(20, 3), layers.Flatten(), layers.Dense(1)]
    )


def attention():
    inputs = keras.Input((6,))
    x = layers.Reshape((3, 2))(inputs)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 2)(x, x))
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))


def generator():
    while True:
        for start in range(0, 40, 8):
            yield X[start : start + 8], Y[start : start + 8]


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return X[index * 8 : index * 8 + 8], Y[index * 8 : index * 8 + 8]


def unknown_length():
    return tf.data.Dataset.from_generator(
        lambda: iter([(X[i : i + 8], Y[i : i + 8]) for i in range(0, 40, 8)]),
        output_signature=(tf.TensorSpec((None, 6)), tf.TensorSpec((None, 1))),
    )


def sgd(**settings):
    return lambda: keras.optimizers.SGD(RATE, **settings)


def plateau():
    return [
        keras.callbacks.EarlyStopping(monitor="loss", patience=1, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1),
    ]


DENSE = {"model": lambda: stacked(layers.Dense(4, activation="relu"))}
SETUPS = {
    "several inputs, outputs, losses, weights": {
        "model": several_heads,
        "x": [X, X],
        "y": {"p": Y, "q": Y},
        "compile": {"loss": {"p": "mse", "q": "mae"}, "loss_weights": {"p": 1.0, "q": 0.3}},
    },
    "subclassed": {"model": lambda: Subclassed(1)},
    "add_loss": {"model": lambda: stacked(layers.Dense(3), AddsLoss())},
    "own train_step with compute_loss": {"model": own(OwnStep)},
    "own train_step without compute_loss": {"model": own(OwnMetric), "missing": {"the loss"}},
    "own train_step, a tf.function": {"model": own(CompiledStep), "missing": {"the loss"}},
    "LSTM": {"model": sequence(layers.LSTM)},
    "LSTM unrolled": {"model": sequence(layers.LSTM, unroll=True)},
    "GRU": {"model": sequence(layers.GRU)},
    "GRU unrolled": {"model": sequence(layers.GRU, unroll=True)},
    "embedding": {"model": embedding, "x": IDS},
    "attention": {"model": attention},
    "batch normalization": {"model": lambda: stacked(layers.Dense(4), layers.BatchNormalization())},
    "gradient accumulation": DENSE | {"optimizer": sgd(gradient_accumulation_steps=2)},
    "clipnorm": DENSE | {"optimizer": sgd(clipnorm=1e-3)},
    "global_clipnorm": DENSE | {"optimizer": sgd(global_clipnorm=1e-3)},
    "clipvalue": DENSE | {"optimizer": sgd(clipvalue=1e-4)},
    "weight EMA": DENSE | {"optimizer": sgd(use_ema=True, ema_overwrite_frequency=3)},
    "sample_weight": DENSE | {"fit": {"sample_weight": np.linspace(0.5, 2, 40)}},
    "class_weight": DENSE | {"fit": {"class_weight": {0: 1.0, 1: 3.0}}},
    "ragged last batch": DENSE | {"fit": {"batch_size": 11}},
    "generator": DENSE | {"x": generator, "y": None, "fit": {"steps_per_epoch": 5}},
    "PyDataset": DENSE | {"x": Batches, "y": None},
    "tf.data of unknown length": DENSE | {"x": unknown_length, "y": None},
    "validation_freq": DENSE | {"fit": {"validation_data": (X, Y), "validation_freq": 2}},
    "initial_epoch": DENSE | {"fit": {"initial_epoch": 1}},
    "steps_per_execution": DENSE | {"compile": {"steps_per_execution": 2}},
    "callbacks beside it": DENSE | {"callbacks": plateau},
    "schedule": DENSE
    | {"optimizer": lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(RATE, 9))},
}
PLAIN_SGD = {name for name, setup in SETUPS.items() if "optimizer" not in setup}


def train(setup, doctors):
    keras.utils.set_random_seed(3)
    model = setup["model"]()
    model.compile(setup.get("optimizer", sgd())(), **{"loss": "mse"} | setup.get("compile", {}))
    x, y = setup.get("x", X), setup.get("y", Y)
    settings = {"batch_size": 8} if y is not None else {}
    history = model.fit(
        x() if callable(x) else x,
        y,
        **settings | {"epochs": 3, "shuffle": False, "verbose": 0} | setup.get("fit", {}),
        callbacks=[*doctors, *setup.get("callbacks", list)()],
    )
    return model, history.history


@pytest.mark.filterwarnings("ignore:`shuffle=")
@pytest.mark.filterwarnings("ignore:.*ran out of data")
@pytest.mark.parametrize("name", SETUPS)
def test_training_is_the_same_and_what_is_recorded_is_right(name):
    setup = SETUPS[name]
    plain, logs = train(setup, [])
    doctor = LossDoctor(verbose=0)
    model, seen = train(setup, [doctor])
    assert seen == logs
    assert_same_variables(plain, model)
    record = doctor.record
    # Simple models are fitted only beside runs that learned little.
    assert set(record.not_recorded) - {"simple models"} <= setup.get("missing", set())
    check_steps(record, logs)
    check_variables(record, model, name)
    if "data of every batch" not in record.not_recorded:
        assert record.train.rows == 40
        assert record.train.targets[0].mean == pytest.approx(Y.mean())


def check_steps(record, logs):
    steps, size = record.steps, record.train.batch_size
    batches = -(-40 // size)
    assert steps.total_steps == batches * len(logs["loss"])
    rows = np.minimum(size, 40 - size * np.arange(batches))
    per_epoch = steps.loss.reshape(-1, batches)
    np.testing.assert_allclose((per_epoch * rows).sum(axis=1) / 40, logs["loss"], rtol=1e-5)
    assert np.isfinite(steps.gradient_norm).all()
    assert not steps.skipped.any()


def check_variables(record, model, name):
    series = record.variables
    last = [float(np.linalg.norm(np.asarray(v))) for v in model.trainable_variables]
    if name not in ("weight EMA", "callbacks beside it"):
        np.testing.assert_allclose(series.weight_norm[-1], last, rtol=1e-5)
    total = np.sqrt(np.square(series.gradient_norm).sum(axis=1))
    np.testing.assert_allclose(total, record.steps.gradient_norm[series.step], rtol=1e-6)
    if name in PLAIN_SGD:
        rate = record.steps.learning_rate[series.step][:, None]
        np.testing.assert_allclose(
            series.update_norm, rate * series.gradient_norm, rtol=1e-3, atol=1e-6
        )


def test_gradient_norms_are_those_before_clipping():
    free, clipped = LossDoctor(verbose=0), LossDoctor(verbose=0)
    train(DENSE, [free])
    train(SETUPS["global_clipnorm"], [clipped])
    first, second = (d.record.steps.gradient_norm[0] for d in (free, clipped))
    assert first == pytest.approx(second, rel=1e-6)
    moved = np.linalg.norm(clipped.record.variables.update_norm[0])
    assert moved == pytest.approx(RATE * 1e-3, rel=1e-3)


def test_steps_that_loss_scaling_skips_are_recorded_as_skipped():
    def run(doctors):
        keras.utils.set_random_seed(3)
        keras.config.set_dtype_policy("mixed_float16")
        try:
            model = stacked(layers.Dense(4))
            scaled = keras.optimizers.LossScaleOptimizer(
                keras.optimizers.SGD(RATE), initial_scale=2.0**20
            )
            model.compile(scaled, "mse")
            model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=doctors)
        finally:
            keras.config.set_dtype_policy("float32")
        return model

    doctor = LossDoctor(verbose=0)
    plain, seen = run([]), run([doctor])
    assert_same_variables(plain, seen)
    record = doctor.record
    assert not record.not_recorded
    skipped = record.steps.skipped
    assert skipped[0]
    assert not skipped[-1]
    assert record.non_finite is None
    np.testing.assert_array_equal(record.variables.update_norm[skipped], 0)
    assert np.isfinite(record.steps.gradient_norm[~skipped]).all()
    moved, gradient = (
        np.linalg.norm(getattr(record.variables, name)[~skipped], axis=1)
        for name in ("update_norm", "gradient_norm")
    )
    np.testing.assert_allclose(moved, RATE * gradient, rtol=1e-3)


@pytest.mark.parametrize("same", [True, False])
def test_fits_in_a_row_are_recorded_each_for_itself(same):
    doctor = LossDoctor(verbose=0)
    keras.utils.set_random_seed(3)
    model = DENSE["model"]()
    model.compile(sgd()(), "mse")
    for epochs in (2, 1):
        doctor = doctor if same else LossDoctor(verbose=0)
        history = model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0, callbacks=[doctor])
        assert doctor.record.steps.total_steps == 5 * epochs
        assert set(doctor.record.not_recorded) <= {"simple models"}
        assert doctor.record.steps.loss[:5].mean() == pytest.approx(history.history["loss"][0])
    assert doctor.record.optimizer.iterations == 10


def test_train_on_batch_is_recorded_and_left_unchanged():
    def loop(model):
        for start in range(0, 40, 8):
            losses.append(float(model.train_on_batch(X[start : start + 8], Y[start : start + 8])))

    weights, losses = [], []
    for watched in (False, True):
        keras.utils.set_random_seed(3)
        model = DENSE["model"]()
        model.compile(sgd()(), "mse")
        if watched:
            with LossDoctor(model, verbose=0) as doctor:
                loop(model)
        else:
            loop(model)
        weights.append(model.get_weights())
    assert losses[:5] == losses[5:]
    for a, b in zip(*weights):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(doctor.record.steps.loss, losses[5:], rtol=1e-6)
