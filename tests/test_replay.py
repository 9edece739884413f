"""Where the first number that was not finite arose, in trainings made to break in one place."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lossdoctor.callback import LossDoctor

pytestmark = pytest.mark.train
RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 5)).astype("float32")
Y = X @ RNG.normal(size=(5, 1)).astype("float32")


class Ratio(keras.layers.Layer):
    def call(self, x):
        return x / keras.ops.sum(keras.ops.abs(x), axis=-1, keepdims=True)


class OwnCall(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(4, use_bias=False, name="hidden")
        self.head = keras.layers.Dense(1, name="head")

    def call(self, x):
        return self.head(tf.math.log(tf.abs(self.hidden(x * tf.cast(x[:, :1] < 50, x.dtype)))))


def sequential(*layers):
    return keras.Sequential([keras.Input((5,)), *layers, keras.layers.Dense(1)])


def masked():
    """Scores that are minus infinity on purpose, and a softmax that makes zeros of them."""
    return sequential(
        keras.layers.Lambda(lambda x: tf.where(x > 0.5, x * 0 - np.inf, x), name="mask"),
        keras.layers.Softmax(),
        keras.layers.Dense(4, name="between"),
        keras.layers.Lambda(lambda x: x / tf.reduce_sum(x * 0, axis=-1, keepdims=True), name="bad"),
    )


def logarithm():
    return sequential(
        keras.layers.Dropout(0.2),
        keras.layers.BatchNormalization(),
        keras.layers.Lambda(tf.math.log, name="log"),
    )


def graph_operation():
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(4, activation="relu", name="hidden")(inputs)
    return keras.Model(inputs, keras.layers.Dense(1)(keras.ops.log(hidden)))


def fit(model, x=X, y=Y, *, weight=None, rate=0.01, epochs=2, **compiled):
    model.compile(keras.optimizers.SGD(rate), "mse", **compiled)
    doctor = LossDoctor(verbose=0)
    model.fit(
        x, y, sample_weight=weight, batch_size=8, shuffle=False, epochs=epochs, verbose=0,
        callbacks=[doctor],
    )  # fmt: skip
    return doctor


def zero_row(at):
    x = X.copy()
    x[at] = 0
    return x


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    ("build", "x", "layer", "step"),
    [
        (logarithm, X, "log", 0),
        (lambda: sequential(Ratio(name="ratio")), zero_row(90), "ratio", 11),
        (masked, X, "bad", 0),
    ],
)
def test_the_first_layer_with_an_output_that_is_not_finite_is_named(build, x, layer, step, eager):
    doctor = fit(build(), x, run_eagerly=eager)
    origin = doctor.record.non_finite
    assert (origin.source, origin.layer, origin.step) == ("forward", layer, step)
    (finding,) = (f for f in doctor.report.findings if f.rule == "non_finite_loss")
    assert f"'{layer}'" in finding.message
    assert finding.layers == (layer,)


def test_an_operation_of_the_graph_is_named_like_a_layer():
    origin = fit(graph_operation()).record.non_finite
    assert (origin.source, origin.layer) == ("forward", "log")


def test_what_arises_between_the_layers_of_a_model_with_its_own_call_says_so():
    x = X.copy()
    x[20, 0] = 100
    origin = fit(OwnCall(), x).record.non_finite
    assert (origin.source, origin.layer, origin.step) == ("forward", None, 2)
    assert "between 'hidden' and 'head'" in origin.detail


@pytest.mark.parametrize(
    ("part", "value"), [("inputs", np.nan), ("targets", np.inf), ("sample_weight", np.nan)]
)
def test_the_part_of_the_batch_that_was_not_finite_is_named(part, value):
    parts = {"inputs": X.copy(), "targets": Y.copy(), "sample_weight": np.ones(96, "float32")}
    parts[part][93] = value
    doctor = fit(sequential(), parts["inputs"], parts["targets"], weight=parts["sample_weight"])
    origin = doctor.record.non_finite
    assert (origin.source, origin.step, origin.epoch) == (part, 11, 0)
    assert origin.detail == "in 1 of its 8 examples"


def test_a_gradient_that_is_not_finite_names_its_variable():
    root = keras.layers.Lambda(lambda z: tf.sqrt(tf.abs(z)))
    model = sequential(keras.layers.Dense(4, use_bias=False, name="first"), root)
    origin = fit(model, zero_row(50)).record.non_finite
    assert (origin.source, origin.step, origin.layer) == ("gradients", 6, None)
    assert "first/kernel" in origin.variable


def test_a_loss_that_is_not_finite_for_finite_predictions_is_no_layers_fault():
    model = sequential()
    model.compile("sgd", lambda y, p: tf.reduce_mean(tf.sqrt(p - y - 100)))
    doctor = LossDoctor(verbose=0)
    model.fit(X, Y, verbose=0, callbacks=[doctor])
    origin = doctor.record.non_finite
    assert (origin.source, origin.layer, origin.step, origin.detail) == ("loss", None, 0, "")


def test_a_rate_that_makes_the_loss_overflow_is_no_layers_fault():
    origin = fit(sequential(keras.layers.Dense(8)), rate=50.0, epochs=9).record.non_finite
    assert origin.source in ("loss", "forward", "gradients")
    assert origin.layer is None or origin.source == "forward"


def test_the_batch_is_run_again_with_the_weights_that_a_jump_left():
    """One larger batch between two sampled steps leaves weights with which `exp` overflows on the
    next, ordinary one; with those from before the jump it does not."""
    x = np.tile(X, (6, 1))
    x[8 * 45 : 8 * 46] *= 5
    keras.utils.set_random_seed(0)
    model = sequential(keras.layers.Dense(4), keras.layers.Lambda(tf.exp, name="exp"))
    origin = fit(model, x, np.tile(Y, (6, 1)), rate=1e-4, epochs=1).record.non_finite
    assert (origin.source, origin.layer, origin.step, origin.detail) == ("forward", "exp", 46, "")


@pytest.mark.parametrize("build", [logarithm, masked])
def test_looking_back_changes_nothing(build):
    def trained(callbacks):
        keras.utils.set_random_seed(1)
        model = build()
        model.compile("adam", "mse")
        history = model.fit(X, Y, epochs=2, verbose=0, callbacks=callbacks).history
        return model, history

    plain, logs = trained([])
    seen, seen_logs = trained([LossDoctor(verbose=0)])
    np.testing.assert_equal(seen_logs, logs)
    for a, b in zip(
        seen.variables + seen.optimizer.variables, plain.variables + plain.optimizer.variables
    ):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=b.path)
    assert not any("call" in layer.__dict__ for layer in seen.layers)
