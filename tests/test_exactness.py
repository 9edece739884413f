"""Every recorded number against an independent computation, for every way to build and train.

A twin with the same initial weights takes the same steps under a plain `GradientTape`, with the
loss written out by hand; NumPy computes from its arrays what the record should hold.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from lossdoctor.callback import LossDoctor
from tests.models import AddsLoss, CompiledStep, OwnLoss, OwnMetric, OwnStep, Subclassed

pytestmark = pytest.mark.train
RNG = np.random.default_rng(1)
ROWS, BATCH, EPOCHS = 40, 8, 2
X = RNG.normal(size=(ROWS, 6)).astype("float32") * [1, 3, 1, 1, 0.1, 1] + 0.2
X = X.astype("float32")
X[:, 3] = np.maximum(X[:, 3], 0)
Y = (X @ RNG.normal(size=(6, 2))).astype("float32")
CLASSES = RNG.integers(0, 3, size=ROWS)
IDS = RNG.integers(0, 9, size=(ROWS, 5))
WEIGHT = np.linspace(0.2, 2, ROWS).astype("float32")


# Losses by hand: (targets, predictions, weight of each example) -> scalar ---------------------


def squared(y, prediction, weight):
    return tf.reduce_mean(tf.reduce_mean((prediction - y) ** 2, axis=-1) * weight)


def two_losses(y, prediction, weight):
    absolute = tf.reduce_mean(tf.abs(prediction["q"] - y["q"]))
    return squared(y["p"], prediction["p"], weight) + 0.3 * absolute


def cross_entropy(y, prediction, weight):
    right = tf.reduce_sum(prediction * tf.one_hot(y, 3), axis=-1)
    return -tf.reduce_mean(tf.math.log(right) * weight)


# Models --------------------------------------------------------------------------------------


def sequential(*middle, units=2, **head):
    return keras.Sequential([keras.Input((6,)), *middle, layers.Dense(units, **head)])


def small():
    return sequential(layers.Dense(4, "relu"))


def dense():
    hidden = layers.Dense(9, "relu", kernel_regularizer="l2")
    model = sequential(hidden)
    kernel, bias = hidden.get_weights()
    bias[:4] = -100
    hidden.set_weights([kernel, bias])
    return model


def classifier():
    return sequential(layers.Dense(5, "gelu"), units=3, activation="softmax")


def several_heads():
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    joined = layers.Concatenate()([layers.Dense(4, "tanh")(a), layers.Dense(3, "elu")(b)])
    heads = {"p": layers.Dense(2, name="p")(joined), "q": layers.Dense(2, name="q")(joined)}
    return keras.Model([a, b], heads)


def shared():
    """One layer used twice, a nested model, and a layer that is frozen."""
    inputs = keras.Input((6,))
    twice = layers.Dense(6, "tanh")
    nested = keras.Sequential([keras.Input((6,)), layers.Dense(5, "relu"), layers.Dense(4)])
    frozen = layers.Dense(4, "tanh", trainable=False)
    return keras.Model(inputs, layers.Dense(2)(frozen(nested(twice(twice(inputs))))))


def own(cls):
    return lambda: cls([keras.Input((6,)), layers.Dense(4, "relu"), layers.Dense(2)])


def recurrent(layer, **settings):
    return lambda: sequential(layers.Reshape((3, 2)), layer(4, **settings))


def embedding():
    return keras.Sequential(
        [keras.Input((5,)), layers.Embedding(20, 3), layers.Flatten(), layers.Dense(2)]
    )


def masked():
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Embedding(20, 3, mask_zero=True),
            layers.LSTM(4),
            layers.Dense(2),
        ]
    )


class TiedEmbedding(keras.Model):
    """A table that is looked up, and read as a whole by the head."""

    def __init__(self):
        super().__init__()
        self.table, self.hidden = layers.Embedding(20, 3), layers.Dense(3)

    def call(self, ids):
        hidden = self.hidden(keras.ops.mean(self.table(ids), axis=1))
        return keras.ops.matmul(hidden, keras.ops.transpose(self.table.embeddings))[:, :2]


def attention():
    inputs = keras.Input((6,))
    x = layers.Reshape((2, 3))(inputs)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 2, use_bias=False)(x, x))
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


def images():
    return sequential(
        layers.Reshape((3, 2, 1)),
        layers.Conv2D(4, 2, padding="same", activation="relu", use_bias=False),
        layers.DepthwiseConv2D(2, padding="same"),
        layers.MaxPooling2D((2, 1)),
        layers.Flatten(),
    )


def sgd(rate=0.02, **settings):
    return lambda: keras.optimizers.SGD(rate, **settings)


def scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.02), initial_scale=2.0**18)


@dataclass(frozen=True, kw_only=True)
class Family:
    """One way to train. `weight` is what each example counts."""

    build: Callable[[], keras.Model] = small
    x: Any = field(default_factory=lambda: X)
    y: Any = field(default_factory=lambda: Y)
    loss: Callable[..., Any] = squared
    weight: Any = field(default_factory=lambda: np.ones(ROWS, "float32"))
    optimizer: Callable[[], Any] = keras.optimizers.SGD
    compile: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    policy: str = "float32"
    rtol: float = 1e-5


FAMILIES = {
    "Sequential, regularized, dead units": Family(build=dense),
    "Adam": Family(build=dense, optimizer=lambda: keras.optimizers.Adam(0.01)),
    "eager": Family(build=dense, compile={"run_eagerly": True}),
    "XLA": Family(build=dense, compile={"jit_compile": True}),
    "several inputs, outputs, losses, loss weights": Family(
        build=several_heads,
        x=[X, X[:, ::-1]],
        y={"p": Y, "q": -Y},
        loss=two_losses,
        compile={"loss": {"p": "mse", "q": "mae"}, "loss_weights": {"p": 1.0, "q": 0.3}},
    ),
    "shared, nested and frozen layers": Family(build=shared),
    "subclassed": Family(build=lambda: Subclassed(2)),
    "add_loss": Family(build=lambda: sequential(layers.Dense(3), AddsLoss())),
    "train_step with compute_loss": Family(build=own(OwnStep)),
    "train_step without compute_loss": Family(build=own(OwnLoss)),
    "train_step without compute_loss, eager": Family(
        build=own(OwnMetric), compile={"run_eagerly": True}
    ),
    "train_step without compute_loss, XLA": Family(
        build=own(OwnLoss), compile={"jit_compile": True}
    ),
    "train_step without compute_loss, steps_per_execution": Family(
        build=own(OwnMetric), compile={"steps_per_execution": 3}
    ),
    "train_step that logs a running mean": Family(build=own(OwnMetric)),
    "train_step that is a tf.function": Family(build=own(CompiledStep)),
    "softmax": Family(
        build=classifier,
        y=CLASSES,
        loss=cross_entropy,
        compile={"loss": "sparse_categorical_crossentropy"},
    ),
    "LSTM": Family(build=recurrent(layers.LSTM)),
    "LSTM unrolled": Family(build=recurrent(layers.LSTM, unroll=True)),
    "GRU": Family(build=recurrent(layers.GRU)),
    "GRU unrolled": Family(build=recurrent(layers.GRU, unroll=True)),
    "Embedding": Family(build=embedding, x=IDS),
    "Embedding, Adam": Family(
        build=embedding, x=IDS, optimizer=lambda: keras.optimizers.Adam(0.01)
    ),
    "Embedding, eager": Family(build=embedding, x=IDS, compile={"run_eagerly": True}),
    "Embedding, XLA": Family(build=embedding, x=IDS, compile={"jit_compile": True}),
    "Embedding with a mask": Family(build=masked, x=IDS),
    "tied Embedding": Family(build=TiedEmbedding, x=IDS),
    "attention": Family(build=attention),
    "Dropout": Family(
        build=lambda: sequential(layers.Dense(9, "relu"), layers.Dropout(0.5, seed=3))
    ),
    "BatchNormalization": Family(
        build=lambda: sequential(
            layers.Dense(4, use_bias=False), layers.BatchNormalization(), layers.ReLU()
        ),
        optimizer=sgd(0.002),
        rtol=1e-3,
    ),
    "Conv2D": Family(build=images),
    "fixed loss scale": Family(optimizer=sgd(loss_scale_factor=64.0)),
    "mixed_float16": Family(policy="mixed_float16", optimizer=scaled, rtol=3e-3),
    "gradient accumulation": Family(optimizer=sgd(gradient_accumulation_steps=3)),
    "clipnorm": Family(optimizer=sgd(clipnorm=0.1)),
    "global_clipnorm": Family(optimizer=sgd(global_clipnorm=0.1)),
    "clipvalue": Family(optimizer=sgd(clipvalue=0.01)),
    "weight EMA": Family(optimizer=sgd(use_ema=True, ema_overwrite_frequency=3)),
    "momentum, decay": Family(optimizer=sgd(momentum=0.9, nesterov=True, weight_decay=0.1)),
    "schedule": Family(
        optimizer=lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.05, 8))
    ),
    "sample_weight": Family(weight=WEIGHT, fit={"sample_weight": WEIGHT}),
    "class_weight": Family(
        build=classifier,
        y=CLASSES,
        loss=cross_entropy,
        compile={"loss": "sparse_categorical_crossentropy"},
        weight=np.array([0.5, 1, 3], "float32")[CLASSES],
        fit={"class_weight": {0: 0.5, 1: 1.0, 2: 3.0}},
    ),
    "ragged last batch": Family(fit={"batch_size": 11}),
    "steps_per_execution": Family(build=dense, compile={"steps_per_execution": 3}),
    "validation": Family(fit={"validation_data": (X[:15] * 2, Y[:15] + 1)}),
}


@dataclass(frozen=True)
class Step:
    """What one step computes: the loss, and one array a variable of each kind."""

    loss: float
    rate: float
    gradient: list[Any]
    before: list[Any]
    after: list[Any]

    @property
    def update(self):
        return [new - old for new, old in zip(self.after, self.before)]

    @property
    def skipped(self):
        return not all(np.isfinite(g).all() for g in self.gradient)


def taped(family, model):
    """The steps of `fit`, one by one."""
    optimizer, variables = family.optimizer(), model.trainable_variables
    optimizer.build(variables)
    values = lambda: [np.asarray(v, dtype=np.float64) for v in variables]
    for batch in batches(family):
        x, y, weight = keras.tree.map_structure(tf.constant, batch)
        before, rate = values(), float(np.asarray(optimizer.learning_rate))
        with tf.GradientTape() as tape:
            prediction = keras.tree.map_structure(
                lambda p: tf.cast(p, "float32"), model(x, training=True)
            )
            loss = tf.add_n([family.loss(y, prediction, weight), *model.losses])
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, variables)
        optimizer.apply(gradients, variables)
        dense = [np.asarray(tf.convert_to_tensor(g), dtype=np.float64) for g in gradients]
        unscaled = [g / float(scaled / loss) for g in dense]
        yield Step(float(loss), rate, unscaled, before, values())


def batches(family):
    size, data = family.fit.get("batch_size", BATCH), (family.x, family.y, family.weight)
    for start in [*range(0, ROWS, size)] * EPOCHS:
        part = slice(start, start + size)
        yield keras.tree.map_structure(operator.itemgetter(part), data)


def norms(arrays):
    with np.errstate(over="ignore", invalid="ignore"):
        return [float(np.sqrt(np.square(a).sum())) for a in arrays]


def flat(arrays):
    return np.concatenate([a.ravel() for a in arrays])


def secant(step, previous):
    """Curvature along the previous step: <dg, dw> / <dw, dw> and |dg| / |dw|."""
    with np.errstate(invalid="ignore", divide="ignore"):
        change, moved = flat(step.gradient) - flat(previous.gradient), flat(previous.update)
        length = moved @ moved
        return change @ moved / length, np.sqrt(change @ change / length)


def check_steps(record, run, family):
    close = lambda found, wanted: np.testing.assert_allclose(found, wanted, rtol=family.rtol)
    steps, skipped = record.steps, np.array([step.skipped for step in run])
    assert steps.total_steps == len(run)
    losses = np.array([step.loss for step in run])
    close(steps.loss, losses)
    close(steps.epoch_loss_std, losses.reshape(EPOCHS, -1).std(axis=1))
    close(steps.learning_rate, [step.rate for step in run])
    np.testing.assert_array_equal(steps.skipped, skipped)
    total = np.array([np.linalg.norm(norms(step.gradient)) for step in run])
    close(steps.gradient_norm[~skipped], total[~skipped])


def check_variables(record, run, family):
    series = record.variables
    np.testing.assert_array_equal(series.step, np.arange(len(run)))
    sampled = [run[i] for i in series.step]
    taken = np.array([not step.skipped for step in sampled])

    def close(found, wanted):
        # Some gradients are zero but for rounding.
        np.testing.assert_allclose(found[taken], np.array(wanted)[taken], family.rtol * 10, 1e-6)

    close(series.gradient_norm, [norms(step.gradient) for step in sampled])
    close(series.weight_norm, [norms(step.after) for step in sampled])
    zeros = [[np.mean(g == 0) for g in step.gradient] for step in sampled]
    close(series.gradient_zero_fraction, zeros)
    close(series.update_norm, [norms(step.update) for step in sampled])
    with np.errstate(all="ignore"):
        secants = np.array([secant(*pair) for pair in zip(run[1:], run)])
    after_step = taken[1:] & taken[:-1]
    for found, wanted in (
        (series.curvature, secants[:, 0]),
        (series.curvature_norm, secants[:, 1]),
    ):
        scale = np.nanmax(np.abs(secants[after_step, 1]))
        np.testing.assert_allclose(
            found[1:][after_step], wanted[after_step], 1e-3 + family.rtol, atol=1e-4 * scale
        )


def check_units(record, run, family):
    """A unit is dead in an epoch that sent no gradient to its bias, or kernel column."""
    units, series = record.units, record.variables
    for column, layer in enumerate(units.layers):
        mine = [i for i, owner in enumerate(series.layers) if owner == layer]
        told = next((i for i in mine if series.roles[i] == "bias"), mine[0])
        touched = [np.abs(s.gradient[told]).reshape(-1, units.units[column]).sum(0) for s in run]
        dead = np.reshape(touched, (EPOCHS, -1, units.units[column])).sum(axis=1) == 0
        np.testing.assert_allclose(units.dead_fraction[:, column], dead.mean(axis=1))


def check_tensor(found, array, rtol=1e-5):
    array = np.asarray(array, dtype=np.float64)
    close = lambda name, wanted: np.testing.assert_allclose(
        getattr(found, name), wanted, rtol, atol=rtol * np.abs(array).max(), err_msg=name
    )
    assert found.rows == found.sampled_rows == len(array)
    for name in ("mean", "std", "min", "max"):
        close(name, getattr(array, name)())
    close("abs_max", np.abs(array).max())
    close("zero_fraction", np.mean(array == 0))
    columns = array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)
    for name in ("mean", "std", "min", "max"):
        close(f"feature_{name}", getattr(columns, name)(axis=0))
    close("feature_zero_fraction", np.mean(columns == 0, axis=0))


def check_data(side, x, y, size):
    for found, arrays in ((side.inputs, x), (side.targets, y)):
        for summary, array in zip(found, keras.tree.flatten(arrays), strict=True):
            check_tensor(summary, array)
    rows = len(keras.tree.flatten(x)[0])
    assert (side.rows, side.batches) == (rows, -(-rows // size))
    assert (side.batch_size, side.last_batch_size) == (size, rows % size or size)


def check_predictions(side, model, x, y, missing):
    outputs = [np.asarray(output, dtype=np.float64) for output in keras.tree.flatten(model(x))]
    for summary, output in zip(side.predictions, outputs, strict=True):
        check_tensor(summary, output)
    # Without a loss known to be theirs, predictions and targets are not held against each other.
    assert bool(side.pairing) != ("the loss" in missing)
    if not side.pairing:
        return
    for pairing, output, target in zip(side.pairing, outputs, keras.tree.flatten(y), strict=True):
        if target.dtype.kind == "f":
            residual = np.square(output - target).mean() / target.var()
            assert pairing.r2 == pytest.approx(1 - residual, rel=1e-4, abs=1e-4)
        else:
            assert pairing.error_rate == pytest.approx(np.mean(output.argmax(1) != target))


@pytest.fixture
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def fitted(family):
    """The model after `fit`, a twin as it was before, and the record."""
    keras.utils.set_random_seed(3)
    model, twin = family.build(), family.build()
    for either in (model, twin):
        either(keras.tree.map_structure(lambda a: a[:1], family.x))
    twin.set_weights(model.get_weights())
    model.compile(family.optimizer(), **{"loss": "mse"} | family.compile)
    doctor = LossDoctor(verbose=0)
    settings = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    model.fit(family.x, family.y, **settings | family.fit, callbacks=[doctor])
    return model, twin, doctor.record


@pytest.mark.parametrize(
    ("name", "policy"), [(n, f.policy) for n, f in FAMILIES.items()], indirect=["policy"]
)
def test_the_record_holds_what_a_plain_tape_and_numpy_compute(name, policy):
    family = FAMILIES[name]
    model, twin, record = fitted(family)
    run = list(taped(family, twin))
    check_steps(record, run, family)
    check_variables(record, run, family)
    check_units(record, run, family)
    sides = [(record.train, family.x, family.y, family.fit.get("batch_size", BATCH))]
    if "validation_data" in family.fit:
        sides += [(record.validation, *family.fit["validation_data"], BATCH)]
    for side, x, y, size in sides:
        check_data(side, x, y, size)
        check_predictions(side, model, x, y, record.not_recorded)
    weights = record.train.sample_weight
    assert (weights is None) == (not {"sample_weight", "class_weight"} & family.fit.keys())
    if weights is not None:
        check_tensor(weights, family.weight)
