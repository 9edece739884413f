"""Train on one device and on two replicas, with and without the doctor: a process of its own,
since TensorFlow splits its devices only before it has started. Prints JSON."""

import dataclasses
import json

import keras
import numpy as np
import tensorflow as tf

from lossdoctor.callback import LossDoctor

RNG = np.random.default_rng(2)
X = RNG.normal(size=(96, 6)).astype("float32")
Y = X[:, :2] ** 2


def train(strategy, callbacks, x=X):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(7, activation="relu", kernel_regularizer="l2"),
                keras.layers.Dense(2),
            ]
        )
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    settings = {"validation_data": (X[:32], Y[:32]), "shuffle": False, "verbose": 0}
    model.fit(x, Y, batch_size=32, epochs=3, callbacks=callbacks, **settings)
    return [np.asarray(v).tolist() for v in model.trainable_variables]


def summary(record):
    series, inputs = record.variables, record.train.inputs[0]
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
        "validation x": [record.validation.inputs[0].mean, record.validation.inputs[0].std],
        "predictions": [record.train.predictions[0].mean, record.train.predictions[0].std],
        "rows": [record.train.rows, record.train.batch_size, record.validation.rows],
    }


if __name__ == "__main__":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    one, two = LossDoctor(verbose=0), LossDoctor(verbose=0)
    train(tf.distribute.get_strategy(), [one])
    # The second step's batch ends with row 63: the second replica's half of it is not finite.
    broken, bad = LossDoctor(verbose=0), np.where(np.arange(len(X))[:, None] == 60, np.nan, X)
    train(mirrored, [broken], bad)
    found = {
        "plain": train(mirrored, []),
        "observed": train(mirrored, [two]),
        "one device": summary(one.record),
        "two replicas": summary(two.record),
        "origin": dataclasses.asdict(broken.record.non_finite),
        "not recorded": [k for k in two.record.not_recorded if k != "simple models"],
    }
    print(json.dumps(found))
