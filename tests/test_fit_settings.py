"""What `fit` was called with is recorded, and the remedies' code fits it."""

import numpy as np
import pytest

from lossdoctor import LossDoctor, check_config

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

X = np.random.default_rng(0).normal(size=(64, 3)) * 1000
Y = (X[:, 0] > 0).astype("float32")


def run(**arguments):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    doctor = LossDoctor(verbose=0)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[doctor], **arguments)
    return doctor


def test_fit_settings_are_recorded():
    doctor = run(validation_split=0.25, shuffle=False, class_weight={0: 1.0, 1: 2.0})
    assert doctor.record.fit.validation_split == 0.25
    assert doctor.record.fit.shuffle is False
    assert doctor.record.fit.class_weight is True
    plain = run().record.fit
    assert (plain.validation_split, plain.shuffle, plain.class_weight) == (None, True, False)


def test_code_names_no_validation_arrays_where_validation_split_takes_them_from_x():
    (scaling,) = (f for f in run(validation_split=0.25).report.findings if "scaled" in f.rule)
    names = {"X": X, "np": np}
    exec(scaling.remedies[0].code, names)
    assert names["X"].std(axis=0) == pytest.approx(np.ones(3), rel=1e-4)
    (scaling,) = (f for f in run(validation_data=(X, Y)).report.findings if "scaled" in f.rule)
    assert "X_val" in scaling.remedies[0].code


def fit_dataset(model, x, y, batch_size=32, **arguments):
    keras.utils.set_random_seed(0)
    doctor = LossDoctor(verbose=0)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)
    model.fit(data, epochs=3, verbose=0, callbacks=[doctor], **arguments)
    return doctor.report, data


def run_code(finding, **names):
    names |= {"np": np, "tf": tf, "keras": keras}
    exec(finding.remedies[0].code, names)
    return names


def test_the_scales_of_a_dataset_are_changed_by_its_map():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    report, data = fit_dataset(model, X, 5000 + Y, validation_data=(X, Y))
    inputs = next(f for f in report.findings if f.rule == "unscaled_inputs")
    changed = run_code(inputs, train_ds=data, val_ds=data)
    for name in ("train_ds", "val_ds"):
        rows = np.concatenate([x for x, _ in changed[name]])
        assert rows.std(axis=0) == pytest.approx(np.ones(3), rel=1e-4)
    targets = next(f for f in report.findings if f.rule == "unscaled_targets")
    changed = run_code(targets, train_ds=data, val_ds=data)
    scaled = np.concatenate([y for _, y in changed["train_ds"]])
    assert [scaled.mean(), scaled.std()] == pytest.approx([0, 1], abs=1e-3)


def test_the_pixels_of_a_dataset_are_divided_by_its_map_or_in_the_model():
    images = np.random.default_rng(0).integers(0, 256, (64, 6, 6, 1)).astype("uint8")
    flat = [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(8, "relu")]
    model = keras.Sequential([*flat, keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    report, data = fit_dataset(model, images, Y)
    scaling = next(f for f in report.findings if f.rule == "unscaled_inputs")
    (batch, *_) = next(iter(run_code(scaling, train_ds=data)["train_ds"]))
    assert batch.numpy() == pytest.approx(images[:32] / 255)
    assert "val_ds" not in scaling.remedies[0].code
    assert "keras.layers.Rescaling(1 / 255)" in scaling.remedies[1].code


def test_a_sorted_dataset_is_shuffled_whole():
    order = np.argsort(Y)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    report, data = fit_dataset(model, X[order] / 1000, Y[order], batch_size=4)
    ordered = next(f for f in report.findings if f.rule == "ordered_data")
    mixed = run_code(ordered, train_ds=data)["train_ds"]
    labels = [y.numpy() for _, y in mixed]
    assert len(np.concatenate(labels)) == 64
    assert np.mean([len(set(batch)) == 1 for batch in labels]) < 0.5


def test_other_code_says_which_arrays_it_means():
    labels = np.where(np.arange(64) % 2, 3.0, Y)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    report, _ = fit_dataset(model, X / 1000, labels)
    codes = [r.code for f in report.findings for r in f.remedies if " y" in r.code]
    assert codes
    assert all(c.startswith("# X, y: the arrays that the dataset is made from") for c in codes)


def test_a_dataset_given_to_check_config_gets_code_for_datasets_too():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    for given, expected in ((data, "train_ds.map"), (data.as_numpy_iterator(), "generator")):
        (scaling,) = (f for f in check_config(model, given).findings if "scaled" in f.rule)
        assert expected in scaling.remedies[0].code
