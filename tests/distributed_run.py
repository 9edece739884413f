"""Train on one device and on two replicas, with and without the doctor: a process of its own,
since TensorFlow splits its devices only before it has started. Prints JSON."""

import dataclasses
import json

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from lossdoctor.callback import LossDoctor

RNG = np.random.default_rng(2)
X = RNG.normal(size=(96, 6)).astype("float32")
Y = X[:, :2] ** 2
WEIGHT = np.linspace(0.2, 2, 86).astype("float32")
IDS = RNG.integers(0, 9, size=(96, 5))


def stacked(*middle):
    return keras.Sequential([keras.Input((6,)), *middle, layers.Dense(2)])


def dense():
    return stacked(layers.Dense(7, activation="relu", kernel_regularizer="l2"))


def normalized():
    # Unless synchronized, each replica normalizes by the half it sees: other numbers than one's.
    hidden = layers.Dense(7, use_bias=False)
    return stacked(hidden, layers.BatchNormalization(synchronized=True), layers.ReLU())


def embedding():
    return keras.Sequential(
        [keras.Input((5,)), layers.Embedding(9, 3), layers.Flatten(), layers.Dense(2)]
    )


FAMILIES = {
    "dense": {},
    "sample weights, ragged last batch": {"sample_weight": WEIGHT, "rows": 86},
    "BatchNormalization": {"build": normalized},
    "Embedding": {"build": embedding, "x": IDS},
}


def train(strategy, callbacks, *, build=dense, x=X, rows=96, **settings):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = build()
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    settings |= {"validation_data": (x[:32], Y[:32]), "shuffle": False, "verbose": 0}
    model.fit(x[:rows], Y[:rows], batch_size=32, epochs=3, callbacks=callbacks, **settings)
    return [np.asarray(v).tolist() for v in model.trainable_variables]


def summary(record):
    series, inputs, weights = record.variables, record.train.inputs[0], record.train.sample_weight
    return {
        "loss": record.steps.loss.tolist(),
        "gradient": series.gradient_norm.tolist(),
        "global gradient": record.steps.gradient_norm.tolist(),
        "weight": series.weight_norm.tolist(),
        "update": series.update_norm.tolist(),
        "zeros": series.gradient_zero_fraction.tolist(),
        "curvature": series.curvature[1:].tolist(),
        "curvature norm": series.curvature_norm[1:].tolist(),
        "dead units": record.units.dead_fraction.tolist(),
        "x": [inputs.mean, inputs.std, inputs.min, inputs.max, *inputs.feature_mean],
        "y": [record.train.targets[0].mean, record.train.targets[0].std],
        "sample weight": [weights.mean, weights.std] if weights else [],
        "validation x": [record.validation.inputs[0].mean, record.validation.inputs[0].std],
        "predictions": [record.train.predictions[0].mean, record.train.predictions[0].std],
        "rows": [record.train.rows, record.train.batch_size, record.train.last_batch_size],
        "validation rows": [record.validation.rows],
    }


def compared(mirrored, **family):
    """The same training without the doctor and with it, on one device and on two replicas."""
    one, two = LossDoctor(verbose=0), LossDoctor(verbose=0)
    train(tf.distribute.get_strategy(), [one], **family)
    return {
        "plain": train(mirrored, [], **family),
        "observed": train(mirrored, [two], **family),
        "one device": summary(one.record),
        "two replicas": summary(two.record),
        "not recorded": [k for k in two.record.not_recorded if k != "simple models"],
    }


if __name__ == "__main__":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    # The second step's batch ends with row 63: the second replica's half of it is not finite.
    broken, bad = LossDoctor(verbose=0), np.where(np.arange(len(X))[:, None] == 60, np.nan, X)
    train(mirrored, [broken], x=bad)
    found = {name: compared(mirrored, **family) for name, family in FAMILIES.items()}
    print(json.dumps(found | {"origin": dataclasses.asdict(broken.record.non_finite)}))
