"""Ctrl-C, wherever in `fit` it strikes: the model is left as it would be without the doctor, even
while the exception (and with it all that `fit` held) is still there."""

import contextlib
import linecache
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import lossdoctor
from lossdoctor.callback import LossDoctor

pytestmark = pytest.mark.train
RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 5)).astype("float32")
Y = X @ RNG.normal(size=(5, 1)).astype("float32")
BROKEN = Y.copy()
BROKEN[-1] = np.nan
WATCHED = (
    str(Path(keras.__file__).parent / "src" / "backend" / "tensorflow" / "trainer.py"),
    str(Path(lossdoctor.__file__).parent / "record"),
    str(Path(lossdoctor.__file__).parent / "callback.py"),
)
"""Where the interrupts strike: between two lines of these files."""


class Strike:
    """Counts lines, and sends the signal of Ctrl-C before one of them."""

    def __init__(self, line=None):
        self.line = line
        self.lines = []

    def __call__(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(WATCHED):
            return None
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        # An interrupt just before Python leaves a `with` skips its end: TensorFlow would go on
        # taping for the rest of the process, with or without the doctor.
        if event == "line" and "GradientTape" not in text:
            self.lines.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
            if len(self.lines) - 1 == self.line:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return self

    @contextlib.contextmanager
    def watching(self):
        before = sys.gettrace()
        sys.settrace(self)
        try:
            yield
        finally:
            sys.settrace(before)


class Weights(keras.callbacks.Callback):
    """Keeps the weights after every step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.model.get_weights())


@pytest.fixture(autouse=True)
def interruptible():
    """A process in the background may be told to ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(4, activation="relu"),
            keras.layers.Dropout(0.3, seed=1),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(X, Y, verbose=0)
    return model


def fit(model, initial, y, callbacks):
    for variable, value in zip(model.variables, initial):
        variable.assign(value)
    model.fit(
        X, y, batch_size=8, epochs=2, verbose=0, validation_data=(X[:4], Y[:4]), shuffle=False,
        callbacks=callbacks,
    )  # fmt: skip


def attributes(model):
    """What the doctor may have put on a model or its optimizer."""
    own = {name for name in model.__dict__ if name not in ("_eval_epoch_iterator", "history")}
    called = [value for layer in model.layers for value in vars(layer).values() if callable(value)]
    return own, model.train_function, model.test_function, set(model.optimizer.__dict__), called


def same(weights, others):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(weights, others))


@pytest.mark.parametrize("y", [Y, BROKEN], ids=["sound", "a NaN that is looked into"])
def test_no_line_at_which_an_interrupt_leaves_a_trace(model, y):
    initial, steps = [np.asarray(v) for v in model.variables], Weights()
    steps.seen.append(model.get_weights())
    fit(model, initial, y, [steps])
    before = attributes(model)
    dry = Strike()
    with dry.watching():
        fit(model, initial, y, [LossDoctor(verbose=0)])
    own = [i for i, line in enumerate(dry.lines) if not line.startswith("trainer.py")]
    keras_lines = [i for i, line in enumerate(dry.lines) if line.startswith("trainer.py")]
    for line in [*keras_lines[:: len(keras_lines) // 16], *own[:: len(own) // 20]]:
        doctor, strike = LossDoctor(verbose=0), Strike(line)
        try:
            with strike.watching():
                fit(model, initial, y, [doctor])
        except KeyboardInterrupt:
            assert_no_trace(model, before, steps.seen, strike.lines[-1])
        else:  # Python swallows what strikes a finalizer
            assert_no_trace(model, before, steps.seen, strike.lines[-1])


def assert_no_trace(model, before, trajectory, where):
    assert attributes(model) == before, where
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, where
    assert any(same(model.get_weights(), weights) for weights in trajectory), where
