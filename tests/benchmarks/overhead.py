"""What the doctor costs: `python -m tests.benchmarks.overhead`.

Trains interleaved pairs of the same model with and without a callback and prints the median and
range of the ratios of step time (later epochs), of the first epoch (tracing included) and of peak
memory. Ratios only: absolute times of one machine say little about another.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lossdoctor.callback import LossDoctor

CALLBACKS = ("lossdoctor", "tensorboard", "naive")


class NaiveGradients(keras.callbacks.Callback):
    """The usual way to see gradients: compute them again with a tape on every batch."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = tf.constant(x), tf.constant(y)

    def on_train_batch_end(self, batch, logs=None):
        with tf.GradientTape() as tape:
            loss = self.model.compute_loss(self.x, self.y, self.model(self.x, training=True))
        for gradient in tape.gradient(loss, self.model.trainable_variables):
            float(tf.norm(gradient))


def transformer():
    inputs = keras.Input((64, 32))
    x = layers.LayerNormalization()(inputs + layers.MultiHeadAttention(4, 8)(inputs, inputs))
    x = layers.LayerNormalization()(x + layers.Dense(32)(layers.Dense(64, activation="relu")(x)))
    return keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(x)))


def sequential(shape, *stack):
    return keras.Sequential([keras.Input(shape), *stack])


def relu(units):
    return layers.Dense(units, activation="relu")


MODELS = {
    # name: (build, input shape, batch size, steps an epoch)
    "tutorial MLP 20-25-1": (lambda: sequential((20,), relu(25), layers.Dense(1)), (20,), 32, 200),
    "MLP 784-512-512-10": (
        lambda: sequential((784,), relu(512), relu(512), layers.Dense(1)),
        (784,),
        128,
        60,
    ),
    "CNN 28x28": (
        lambda: sequential(
            (28, 28, 1),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Flatten(),
            relu(64),
            layers.Dense(1),
        ),
        (28, 28, 1),
        64,
        30,
    ),
    "50 x Dense(64)": (
        lambda: sequential((64,), *(relu(64) for _ in range(50)), layers.Dense(1)),
        (64,),
        32,
        100,
    ),
    "LSTM 100x16": (
        lambda: sequential((100, 16), layers.LSTM(32), layers.Dense(1)),
        (100, 16),
        32,
        15,
    ),
    "Transformer block": (transformer, (64, 32), 32, 30),
    "ResNet50": (
        lambda: keras.Sequential(
            [
                keras.applications.ResNet50(
                    weights=None, include_top=False, input_shape=(64, 64, 3), pooling="avg"
                ),
                layers.Dense(1),
            ]
        ),
        (64, 64, 3),
        8,
        6,
    ),
}


def one_run(name: str, callback: str) -> dict[str, float]:
    """Train once in this process: seconds of the first epoch and of a later step, peak memory."""
    build, shape, batch, steps = MODELS[name]
    keras.utils.set_random_seed(0)
    model = build()
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(batch * steps, *shape)).astype("float32")
    y = x.reshape(len(x), -1)[:, :1]
    folder = tempfile.mkdtemp()
    callbacks = {
        "none": lambda: [],
        "lossdoctor": lambda: [LossDoctor(verbose=0, rules=[])],
        "tensorboard": lambda: [keras.callbacks.TensorBoard(folder, histogram_freq=1)],
        "naive": lambda: [NaiveGradients(x[:batch], y[:batch])],
    }[callback]()
    ends: list[float] = []
    # The clock stands last, so that what the others do at an epoch's end counts.
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter())
    )
    # Whether one of Python's full collections falls into the first epoch is a lottery.
    gc.collect()
    start = time.perf_counter()
    model.fit(x, y, batch_size=batch, epochs=8, verbose=0, callbacks=[*callbacks, clock])
    return {
        "first": ends[0] - start,
        # Other work on the machine only ever adds time: the fastest epoch holds least of it.
        "later": float(np.diff(ends)[1:].min()) / steps,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def _in_process(name: str, callback: str) -> dict[str, float]:
    command = [sys.executable, "-m", __spec__.name, "--one", name, callback]
    output = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(output.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="interleaved pairs per model")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--callbacks", nargs="*", choices=CALLBACKS, default=list(CALLBACKS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one_run(*arguments.one)))
        return
    console = Console()
    table = Table("model", "ms a step", "callback", "step time", "first epoch", "peak memory")
    for name in arguments.models:
        ratios: dict[str, list[dict[str, float]]] = {c: [] for c in arguments.callbacks}
        plain = []
        for _ in track(range(arguments.pairs), name, console=Console(stderr=True)):
            plain.append(_in_process(name, "none"))
            for callback in arguments.callbacks:
                run = _in_process(name, callback)
                ratios[callback].append({k: run[k] / plain[-1][k] for k in run})
        step = statistics.median(p["later"] for p in plain) * 1e3
        for callback, found in ratios.items():
            cells = [_spread([r[key] for r in found]) for key in ("later", "first", "memory")]
            table.add_row(name, f"{step:.2f}", callback, *cells)
    console.print(table)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    main()
