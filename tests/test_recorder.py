"""What the recorder notes beside the numbers of `test_exactness`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lossdoctor.callback import LossDoctor
from lossdoctor.check import check_config

pytestmark = pytest.mark.train
RNG = np.random.default_rng(1)
X = RNG.normal(size=(96, 6)).astype("float32")
Y = (X @ RNG.normal(size=(6, 2))).astype("float32")


def dense_model():
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(9, activation="relu", kernel_regularizer="l2"),
            keras.layers.Dense(2),
        ]
    )


def recurrent_model():
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Reshape((3, 2)),
            keras.layers.LSTM(5),
            keras.layers.Dense(2),
        ]
    )


def test_data_statistics_equal_numpy_in_training_and_validation():
    keras.utils.set_random_seed(0)
    model = dense_model()
    model.compile(keras.optimizers.SGD(1e-7), "mse")
    doctor = LossDoctor(verbose=0)
    x, y = X.copy() * [1, 10, 100, 1, 1, 1] + 5, Y.copy()
    model.fit(
        x[:64], y[:64], validation_data=(x[64:], y[64:]), epochs=2, verbose=0, callbacks=[doctor]
    )
    for side, part in ((doctor.record.train, slice(64)), (doctor.record.validation, slice(64, 96))):
        (inputs,), (targets,) = side.inputs, side.targets
        assert side.rows == inputs.rows == len(x[part])
        np.testing.assert_allclose(inputs.feature_mean, x[part].mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(inputs.feature_std, x[part].std(axis=0), rtol=1e-5)
        np.testing.assert_allclose(inputs.feature_max, x[part].max(axis=0), rtol=1e-6)
        assert targets.min == pytest.approx(y[part].min())
        assert targets.std == pytest.approx(y[part].std(), rel=1e-5)
    predicted = model.predict(x[:64], verbose=0)
    assert doctor.record.train.predictions[0].mean == pytest.approx(predicted.mean(), rel=1e-4)
    residual = np.square(predicted - y[:64]).mean()
    assert doctor.record.train.pairing[0].r2 == pytest.approx(
        1 - residual / y[:64].var(), rel=1e-3, abs=1e-4
    )


def test_of_a_long_pass_every_example_is_counted():
    keras.utils.set_random_seed(0)
    model = dense_model()
    model.compile(keras.optimizers.SGD(1e-7), "mse", jit_compile=False)
    doctor = LossDoctor(verbose=0)
    x, y = np.tile(X, (7, 1)), np.tile(Y, (7, 1))
    rows = 2 * 300 + 1
    model.fit(
        x[:rows], y[:rows], batch_size=2, validation_data=(x, y), verbose=0, callbacks=[doctor]
    )
    train, validation = doctor.record.train, doctor.record.validation
    assert (train.rows, train.batches, train.batch_size) == (rows, 301, 2)
    assert (validation.rows, validation.batches) == (len(x), len(x) // 2)
    # Of the batches after the 256th each eighth is looked at.
    assert 512 < train.inputs[0].rows <= 512 + 2 * 6
    assert 512 < validation.inputs[0].rows <= 512 + 2 * 10


def test_dead_units_are_those_no_example_reaches():
    keras.utils.set_random_seed(0)
    model = dense_model()
    bias = np.zeros(9, dtype="float32")
    bias[:4] = -100
    kernel = model.layers[0].get_weights()[0]
    model.layers[0].set_weights([kernel, bias])
    model.compile("sgd", "mse")
    doctor = LossDoctor(verbose=0)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[doctor])
    units = doctor.record.units
    assert units.layers == ("dense", "dense_1") or len(units.layers) == 2
    np.testing.assert_allclose(units.dead_fraction[:, 0], 4 / 9)
    np.testing.assert_allclose(units.dead_fraction[:, 1], 0)


@pytest.mark.parametrize(
    ("where", "source"), [("x", "inputs"), ("y", "targets"), ("weight", "sample_weight")]
)
def test_the_origin_of_the_first_nan_is_named(where, source):
    x, y, weight = X.copy(), Y.copy(), np.ones(96, dtype="float32")
    {"x": x, "y": y, "weight": weight}[where][70] = np.nan
    model = dense_model()
    model.compile("sgd", "mse")
    doctor = LossDoctor(verbose=0)
    model.fit(x, y, sample_weight=weight, shuffle=False, verbose=0, callbacks=[doctor])
    origin = doctor.record.non_finite
    assert (origin.source, origin.epoch, origin.step) == (source, 0, 2)


def test_long_runs_keep_a_bounded_record(tmp_path):
    sizes = []
    for epochs in (40, 400):
        keras.utils.set_random_seed(0)
        model = dense_model()
        model.compile("sgd", "mse")
        doctor = LossDoctor(verbose=0)
        model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=[doctor])
        assert doctor.record.steps.total_steps == 24 * epochs
        assert len(doctor.record.steps.step) <= 2 * 4096
        assert len(doctor.record.variables.step) <= 2 * 192
        doctor.record.save(tmp_path / "run.lossdoctor")
        sizes.append((tmp_path / "run.lossdoctor").stat().st_size)
    # What grows is the history: one number per epoch and log.
    assert sizes[1] < 400_000 + 400 * 8 * 16


def test_the_context_manager_records_train_on_batch():
    keras.utils.set_random_seed(0)
    model = dense_model()
    model.compile("sgd", "mse")
    with LossDoctor(model, verbose=0) as doctor:
        for i in range(5):
            model.train_on_batch(X[i * 16 : (i + 1) * 16], Y[i * 16 : (i + 1) * 16])
    assert doctor.record.steps.total_steps == 5
    assert "compute_loss" not in model.__dict__


def test_a_recorder_that_cannot_attach_leaves_training_alone():
    class Forbids(keras.Sequential):
        def make_train_function(self, force=False):
            if force:
                raise RuntimeError("no tampering")
            return super().make_train_function(force)

    model = Forbids([keras.Input((6,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="no tampering"):
        history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[LossDoctor(verbose=0)])
    assert len(history.history["loss"]) == 2
    assert "compute_loss" not in model.__dict__


def test_the_other_callbacks_of_the_run_are_recorded_with_their_settings():
    model = dense_model()
    model.compile("sgd", "mse")
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=7)
    for callbacks in ([LossDoctor(verbose=0), stop], [stop, LossDoctor(verbose=0)]):
        model.fit(X, Y, validation_split=0.2, epochs=2, verbose=0, callbacks=callbacks)
        (doctor,) = (c for c in callbacks if isinstance(c, LossDoctor))
        (found,) = (c for c in doctor.record.fit.callbacks if c.class_name == "EarlyStopping")
        assert found.config["patience"] == 7
        assert found.config["monitor"] == "val_loss"


@pytest.mark.parametrize("labels", [np.arange(96) % 3 + 1, np.eye(3)[np.arange(96) % 3]])
def test_a_fit_that_raises_leaves_a_report_that_explains_it(labels):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    doctor = LossDoctor(verbose=0)
    with pytest.raises(Exception, match=r"rank|label value|logits"):
        model.fit(X, labels, verbose=0, callbacks=[doctor])
    assert doctor.report.findings[0].rule in ("labels_out_of_range", "loss_label_encoding")
    assert "compute_loss" not in model.__dict__


IDS = np.arange(96) % 3
UNFIT = {
    "input_shape": (X[:, :4], IDS, {}),
    "input_shape of validation": (X, IDS, {"validation_data": (X[:, :4], IDS)}),
    "input_shape without batches": (tf.data.Dataset.from_tensor_slices((X, IDS)), None, {}),
    "target_rank of validation": (X, IDS, {"validation_data": (X, np.eye(3)[IDS])}),
    "missing_targets": (X, None, {}),
}


@pytest.mark.parametrize(("rule", "data"), UNFIT.items(), ids=list(UNFIT))
def test_a_fit_that_raises_before_it_reached_the_loss_leaves_a_report_as_well(rule, data):
    x, y, options = data
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    doctor = LossDoctor(verbose=0)
    with pytest.raises(ValueError):
        model.fit(x, y, verbose=0, callbacks=[doctor], **options)
    assert doctor.report.findings[0].rule == rule.split()[0]
    assert "compute_loss" not in model.__dict__


def test_a_loss_without_a_gradient_is_named_though_keras_raises_at_the_first_step():
    def error_rate(y_true, y_pred):
        return 1.0 - tf.reduce_mean(tf.cast(tf.round(y_pred) == y_true, tf.float32))

    def model():
        made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])
        made.compile("adam", error_rate)
        return made

    x, y = RNG.normal(size=(64, 4)), np.arange(64)[:, None] % 2
    before = check_config(model(), y, x=x)
    doctor = LossDoctor(verbose=0)
    with pytest.raises(ValueError, match="No gradients provided"):
        model().fit(x, y, callbacks=[doctor])
    for report in (before, doctor.report):
        assert report.findings[0].rule == "stalled_updates"
        assert "Keras raises" in report.findings[0].message


def summed(y_true, y_pred):
    return tf.reduce_sum(tf.square(tf.cast(y_true, y_pred.dtype) - y_pred))


@pytest.mark.parametrize("loss", [keras.losses.MeanSquaredError(reduction="sum"), summed])
def test_a_loss_that_adds_examples_up_is_held_against_a_batch_of_them(loss):
    x = RNG.normal(size=(640, 4)).astype("float32")
    y = x[:, :1] + 1.0
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e-6), loss)
    doctor = LossDoctor(verbose=0)
    model.fit(x, y, batch_size=64, epochs=1, verbose=0, callbacks=[doctor])
    (recorded,) = doctor.record.losses
    assert recorded.baseline == pytest.approx(64 * y.var(), rel=0.02)
    (pairing,) = doctor.record.train.pairing
    assert pairing.loss == pytest.approx(doctor.record.history.logs["loss"][-1], rel=0.02)


def masked(y_true, y_pred):
    known = tf.cast(tf.not_equal(y_true, -1.0), tf.float32)
    errors = known * tf.square(y_true - y_pred)
    return tf.math.divide_no_nan(tf.reduce_sum(errors), tf.reduce_sum(known))


def test_rows_that_the_loss_masks_say_nothing_about_what_can_be_learned():
    keras.utils.set_random_seed(0)
    x = RNG.normal(size=(800, 4)).astype("float32")
    y = (np.tanh(x[:, :1] + x[:, 1:2]) / 4 + 0.5).astype("float32")
    y[RNG.random(len(y)) < 0.7] = -1.0

    def model():
        hidden = keras.layers.Dense(16, activation="relu")
        made = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(1)])
        made.compile(keras.optimizers.Adam(0.01), masked)
        return made

    before = check_config(model(), y, x=x)
    doctor = LossDoctor(verbose=0)
    trained = model()
    trained.fit(x, y, batch_size=32, epochs=15, verbose=0, callbacks=[doctor])
    assert [before.verdict[:14], doctor.report.verdict[:14]] == ["Nothing to fix"] * 2
    assert doctor.record.losses[0].ignored_target == -1.0
    known = y[:, 0] > -1
    predicted = trained.predict(x[known], verbose=0)[:, 0]
    r2 = 1 - np.square(y[known, 0] - predicted).mean() / y[known, 0].var()
    assert doctor.record.train.pairing[0].r2 == pytest.approx(r2, abs=1e-4)
    # Rows out of order are found behind the mask, too.
    mixed = check_config(model(), y[RNG.permutation(len(y))], x=x)
    assert "uninformative_inputs" in [finding.rule for finding in mixed.findings]


def test_variables_carry_the_name_of_the_users_layer_not_of_its_inner_cell():
    keras.utils.set_random_seed(0)
    model = recurrent_model()
    model.compile("sgd", "mse")
    doctor = LossDoctor(verbose=0)
    model.fit(X, Y, verbose=0, callbacks=[doctor])
    names = [layer.name for layer in model.layers if layer.trainable_variables]
    assert list(dict.fromkeys(doctor.record.variables.layers)) == names


def test_a_model_with_nothing_to_train_is_recorded_and_diagnosed():
    model = dense_model()
    model.trainable = False
    model.compile("sgd", "mse")
    doctor = LossDoctor(verbose=0)
    model.fit(X, Y, verbose=0, callbacks=[doctor])
    assert doctor.report.findings[0].rule == "frozen_model"
    assert not [outcome for outcome in doctor.report.outcomes if outcome.status == "failed"]


@pytest.mark.parametrize("metrics", [[], ["mae"]])
def test_a_step_is_traced_once_where_keras_traces_it_twice(metrics, monkeypatch):
    traced = []
    gradient = tf.GradientTape.gradient

    def counted(*args, **kwargs):
        if tf.inside_function():
            traced.append(1)
        return gradient(*args, **kwargs)

    monkeypatch.setattr(tf.GradientTape, "gradient", counted)

    def traces(callbacks):
        traced.clear()
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("adam", "mse", metrics=metrics)
        model.fit(np.ones((32, 4)), np.ones((32, 1)), verbose=0, callbacks=callbacks)
        return len(traced)

    assert traces([]) == 2
    assert traces([LossDoctor(verbose=0, rules=[])]) == 1


def test_of_a_large_model_a_sample_of_the_entries_is_compared(monkeypatch):
    monkeypatch.setattr("lossdoctor.record.step_probe.SAMPLED_ENTRIES", 2**12)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(3000, activation="relu"), keras.layers.Dense(2)]
    )
    model.compile(keras.optimizers.SGD(0.001), "mse")
    doctor = LossDoctor(verbose=0)
    model.fit(X, Y, batch_size=96, epochs=3, verbose=0, callbacks=[doctor])
    series = doctor.record.variables
    weights = [np.linalg.norm(w) for w in model.get_weights()]
    np.testing.assert_allclose(series.weight_norm[-1], weights, rtol=0.05)
    np.testing.assert_allclose(series.update_norm, 0.001 * series.gradient_norm, rtol=0.1)


@pytest.mark.parametrize("beside", ["CPU", "GPU"])
def test_a_step_whose_loss_jumps_is_looked_at_wherever_it_is(beside, monkeypatch):
    if beside == "GPU":
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda *kind: ["a GPU"])
    x = np.ones((80, 6), np.float32)
    y = np.ones((80, 2), np.float32)
    y[50] = 1e3
    model = dense_model()
    model.compile(keras.optimizers.SGD(1e-5), "mse")
    doctor = LossDoctor(verbose=0)
    model.fit(x, y, batch_size=1, shuffle=False, verbose=0, callbacks=[doctor])
    norms = doctor.record.steps.gradient_norm
    assert list(np.flatnonzero(np.isfinite(norms))) == [*range(35), 50, 64, 65, 66]
    assert norms[50] > 100 * norms[34]


def test_a_gradient_that_is_not_finite_behind_a_finite_loss_is_caught_at_its_step():
    x = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)
    x[50] = 0
    inputs = keras.Input((6,))
    hidden = keras.ops.sqrt(keras.ops.abs(keras.layers.Dense(4, use_bias=False)(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    model.compile(keras.optimizers.SGD(1e-4), "mse")
    doctor = LossDoctor(verbose=0)
    model.fit(x, np.zeros((80, 2)), batch_size=1, shuffle=False, verbose=0, callbacks=[doctor])
    origin = doctor.record.non_finite
    assert (origin.step, origin.source) == (50, "gradients")
    assert origin.variable == model.layers[1].kernel.path
    assert np.isfinite(doctor.record.steps.loss[:51]).all()
