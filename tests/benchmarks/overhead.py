"""What the doctor costs: `python -m tests.benchmarks.overhead`.

Trains pairs of the same model with and without a callback and prints ratios: of step time, the
median and quartiles over later epochs which both train in turn in one process; of the first epoch
(tracing included), median and range over processes; of peak memory, the median over processes.
Ratios only: absolute times of one machine say little about another.
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
import threading
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lossdoctor.callback import LossDoctor

EPOCHS = 24
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
        100,
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
        100,
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
        100,
    ),
    "Transformer block": (transformer, (64, 32), 32, 100),
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


def prepare(name: str):
    """A compiled model with its data."""
    build, shape, batch, steps = MODELS[name]
    keras.utils.set_random_seed(0)
    model = build()
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(batch * steps, *shape)).astype("float32")
    return model, x, x.reshape(len(x), -1)[:, :1], batch


def made(callback: str, x, y, batch):
    """The callbacks to measure."""
    if callback == "lossdoctor":
        return [LossDoctor(verbose=0, rules=[])]
    if callback == "tensorboard":
        return [keras.callbacks.TensorBoard(tempfile.mkdtemp(), histogram_freq=1)]
    return [NaiveGradients(x[:batch], y[:batch])] if callback == "naive" else []


def one_run(name: str, callback: str) -> dict[str, float]:
    """Train once in this process: seconds of the first epoch, peak memory."""
    model, x, y, batch = prepare(name)
    ends: list[float] = []
    # The clock stands last, so that what the others do at an epoch's end counts.
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter())
    )
    callbacks = [*made(callback, x, y, batch), clock]
    # Whether one of Python's full collections falls into the first epoch is a lottery.
    gc.collect()
    start = time.perf_counter()
    model.fit(x, y, batch_size=batch, epochs=8, verbose=0, callbacks=callbacks)
    return {
        "first": ends[0] - start,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


class Turn:
    """Lets two trainings alternate, an epoch each, and takes their times."""

    def __init__(self, mine: threading.Semaphore, other: threading.Semaphore):
        self.mine, self.other = mine, other
        self.times: list[float] = []

    def begin(self, epoch, logs):
        self.mine.acquire()
        self.start = time.perf_counter()

    def end(self, epoch, logs):
        self.times.append(time.perf_counter() - self.start)
        self.other.release()

    def around(self, callbacks):
        """`callbacks`, timed."""
        first = keras.callbacks.LambdaCallback(on_epoch_begin=self.begin)
        return [first, *callbacks, keras.callbacks.LambdaCallback(on_epoch_end=self.end)]


def turns(name: str, callback: str) -> dict[str, list[float]]:
    """Train two models alike in one process, epoch by epoch in turn, one of them with `callback`:
    seconds of their later epochs. What else the machine does hits both."""
    mine, other = threading.Semaphore(1), threading.Semaphore(0)
    sides = [("none", Turn(mine, other)), (callback, Turn(other, mine))]
    prepared = [prepare(name) for _ in sides]

    def fit(model, x, y, batch, side, turn):
        callbacks = turn.around(made(side, x, y, batch))
        try:
            model.fit(x, y, batch_size=batch, epochs=EPOCHS, verbose=0, callbacks=callbacks)
        finally:
            turn.other.release(EPOCHS)

    threads = [
        threading.Thread(target=fit, args=(*parts, *side), daemon=True)
        for parts, side in zip(prepared, sides)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {side: turn.times[2:] for side, turn in sides}


def _in_process(task: str, name: str, callback: str) -> dict[str, Any]:
    command = [sys.executable, "-m", __spec__.name, task, name, callback]
    output = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(output.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="pairs of processes per model")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--callbacks", nargs="*", choices=CALLBACKS, default=list(CALLBACKS))
    for task in ("--one", "--turns"):
        parser.add_argument(task, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one or arguments.turns:
        print(json.dumps(one_run(*arguments.one) if arguments.one else turns(*arguments.turns)))
        return
    console = Console()
    for name in arguments.models:
        table = Table("model", "ms a step", "callback", "step time", "first epoch", "peak memory")
        steps = MODELS[name][-1]
        ratios: dict[str, dict[str, list[float]]] = {}
        plain: list[float] = []
        for _ in track(range(arguments.pairs), name, console=Console(stderr=True)):
            alone = _in_process("--one", name, "none")
            for callback in arguments.callbacks:
                found = ratios.setdefault(callback, {"later": [], "first": [], "memory": []})
                run = _in_process("--one", name, callback)
                for key in ("first", "memory"):
                    found[key].append(run[key] / alone[key])
                epochs = _in_process("--turns", name, callback)
                found["later"] += list(np.divide(epochs[callback], epochs["none"]))
                plain += epochs["none"]
        step = statistics.median(plain) / steps * 1e3
        for callback, found in ratios.items():
            later, first, memory = found["later"], found["first"], found["memory"]
            low, high = np.quantile(later, [0.25, 0.75])
            cells = [
                f"{statistics.median(later):.2f} ({low:.2f}-{high:.2f})",
                f"{statistics.median(first):.2f} ({min(first):.2f}-{max(first):.2f})",
                f"{statistics.median(memory):.2f}",
            ]
            table.add_row(name, f"{step:.2f}", callback, *cells)
        console.print(table)


if __name__ == "__main__":
    main()
