"""The observer is pure: training gives the same bits with and without the doctor."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lossdoctor.callback import LossDoctor
from tests.models import CompiledStep, assert_same_variables

pytestmark = pytest.mark.train
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 8)).astype("float32")
Y = (X[:, :1] + 0.1 * RNG.normal(size=(200, 1)) > 0).astype("float32")


def mlp(**layers):
    return keras.Sequential(
        [
            *layers.get("first", [keras.Input((8,))]),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dropout(0.3),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1, activation=layers.get("head", "sigmoid")),
        ]
    )


def augmented():
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Reshape((2, 2, 2)),
            keras.layers.RandomFlip(),
            keras.layers.Flatten(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(8, activation="tanh")
        self.drop = keras.layers.Dropout(0.2)
        self.head = keras.layers.Dense(1)

    def call(self, x, training=False):
        return tf.nn.sigmoid(self.head(self.drop(self.hidden(x), training=training)))


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(200, seed=3).batch(32)


def normalized():
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(12, kernel_regularizer="l2"),
            keras.layers.LayerNormalization(),
            keras.layers.Activation("gelu"),
            keras.layers.Dense(6, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def recurrent():
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Reshape((4, 2)),
            keras.layers.LSTM(5, return_sequences=True),
            keras.layers.GRU(4),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def convolutional():
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Reshape((8, 1)),
            keras.layers.SeparableConv1D(4, 3, activation="relu"),
            keras.layers.Conv1D(4, 3, use_bias=False),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


class DrawsWhileTraced(keras.layers.Layer):
    """What a user's Python does while a step is traced shows in every later step."""

    def call(self, x):
        return x + np.random.normal(scale=0.1, size=x.shape[1:])  # noqa: NPY002


class Draws(keras.layers.Layer):
    """The sampling layer of many a variational autoencoder."""

    def call(self, x):
        return x + tf.random.normal(tf.shape(x), stddev=0.1)


def drawing():
    return keras.Sequential(
        [
            keras.Input((8,)),
            DrawsWhileTraced(),
            Draws(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def compiled_step():
    return CompiledStep([keras.Input((8,)), Draws(), keras.layers.Dense(1, activation="sigmoid")])


NEEDLESS = {"simple models"}
"""Fitted only beside runs that learned little."""
SGD = {"optimizer": lambda: keras.optimizers.SGD(0.05, momentum=0.9)}
SETUPS = {
    "graph": {},
    "eager": {"compile": {"run_eagerly": True}},
    "steps_per_execution": {
        "compile": {"steps_per_execution": 8},
        "missing": {"update norms", "curvature"},
    },
    "augmentation": {"model": augmented},
    "unbuilt": {"model": lambda: mlp(first=[])},
    "subclassed": {"model": Subclassed},
    "momentum": {"compile": {"optimizer": lambda: keras.optimizers.SGD(0.1, momentum=0.9)}},
    "regression": {"loss": "mse", "model": lambda: mlp(head="linear"), "compile": SGD},
    "normalized": {"model": normalized, "compile": SGD},
    "recurrent": {"model": recurrent, "compile": SGD},
    "convolutional": {"model": convolutional, "compile": SGD},
    "clipped momentum": {
        "compile": {"optimizer": lambda: keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=0.1)}
    },
    "nesterov": {
        "compile": {"optimizer": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)}
    },
    "rmsprop": {"model": normalized, "compile": {"optimizer": "rmsprop"}},
    "weight decay": {"compile": {"optimizer": lambda: keras.optimizers.AdamW(0.01)}},
    "schedule": {
        "compile": {
            "optimizer": lambda: keras.optimizers.SGD(
                keras.optimizers.schedules.CosineDecay(0.1, 20)
            )
        }
    },
    "clipped": {"compile": {"optimizer": lambda: keras.optimizers.Adam(clipnorm=0.1)}},
    "ema": {"compile": {"optimizer": lambda: keras.optimizers.Adam(use_ema=True)}},
    "accumulation": {
        "compile": {"optimizer": lambda: keras.optimizers.SGD(gradient_accumulation_steps=3)}
    },
    "class_weight": {"fit": {"class_weight": {0: 1.0, 1: 3.0}}},
    "tf.data": {"data": dataset},
    "random numbers of NumPy and TensorFlow": {"model": drawing},
    "train_step that is a tf.function": {"model": compiled_step, "missing": {"the loss"}},
    **{
        name: {"compile": {"optimizer": getattr(keras.optimizers, name)}}
        for name in (
            *("Adadelta", "Adafactor", "Adagrad", "Adamax", "Ftrl", "Lamb", "Lion", "Muon"),
            *("Nadam", "LossScaleOptimizer"),
        )
    },
}
SETUPS["LossScaleOptimizer"]["compile"]["optimizer"] = lambda: keras.optimizers.LossScaleOptimizer(
    keras.optimizers.SGD(0.1), dynamic_growth_steps=4
)


def train(setup, doctor):
    keras.utils.set_random_seed(7)
    model = setup.get("model", mlp)()
    compile_with = {"optimizer": "adam", **setup.get("compile", {})}
    if callable(compile_with["optimizer"]):
        compile_with["optimizer"] = compile_with["optimizer"]()
    loss = setup.get("loss", "binary_crossentropy")
    model.compile(loss=loss, metrics=["accuracy"], **compile_with)
    data = (setup["data"](),) if "data" in setup else (X, Y)
    callbacks = [LossDoctor(verbose=0)] if doctor else []
    with_validation = {"validation_data": (X[:50], Y[:50]), "epochs": 3, "verbose": 0}
    history = model.fit(*data, callbacks=callbacks, **with_validation, **setup.get("fit", {}))
    afterwards = (np.random.random(), float(tf.random.uniform([])))  # noqa: NPY002
    if doctor:
        assert set(callbacks[0].record.not_recorded) <= NEEDLESS | setup.get("missing", set())
    return model, history.history, afterwards


@pytest.mark.parametrize("name", SETUPS)
def test_weights_optimizer_state_logs_and_random_streams_are_bit_identical(name):
    plain, plain_logs, plain_random = train(SETUPS[name], doctor=False)
    seen, seen_logs, seen_random = train(SETUPS[name], doctor=True)
    assert seen_logs == plain_logs
    assert seen_random == plain_random
    assert_same_variables(plain, seen)
    assert_same_variables(plain.optimizer, seen.optimizer)


@pytest.mark.parametrize("model", [mlp, recurrent, augmented, Subclassed])
def test_xla_agrees_within_a_millionth(model):
    setup = {"model": model, "compile": {"jit_compile": True}}
    plain, plain_logs, _ = train(setup, doctor=False)
    seen, seen_logs, _ = train(setup, doctor=True)
    np.testing.assert_allclose(seen_logs["loss"], plain_logs["loss"], rtol=1e-6)
    for owner, other in ((plain, seen), (plain.optimizer, seen.optimizer)):
        for a, b in zip(owner.variables, other.variables, strict=True):
            distance = np.linalg.norm(np.asarray(a) - np.asarray(b))
            assert distance <= 1e-6 * np.linalg.norm(np.asarray(a)), a.path


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_model_carries_no_trace_after_fit_or_an_exception(error):
    class Breaks(keras.layers.Layer):
        def call(self, x, training=False):
            if training:
                raise error("broken on purpose")
            return x

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    before, config = set(model.__dict__), model.get_config()
    model.fit(X, Y, verbose=0, callbacks=[LossDoctor(verbose=0)])
    assert set(model.__dict__) - before <= {"history", "_eval_epoch_iterator"}
    assert "apply" not in model.optimizer.__dict__
    assert model.get_config() == config
    assert "compute_loss" not in model.__dict__

    broken = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1), Breaks()])
    broken.compile("sgd", "mse", run_eagerly=True)
    doctor = LossDoctor(verbose=0)
    with pytest.raises(BaseException, match="broken on purpose"):
        broken.fit(X, Y, verbose=0, callbacks=[doctor])
    assert "compute_loss" not in broken.__dict__
    assert "apply" not in broken.optimizer.__dict__
    assert doctor.record.fit.stopped.startswith(("exception", "interrupted"))
